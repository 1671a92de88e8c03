"""Memory and note: what the model reads besides the text.

The memory always comes first, the note some lines above the end. If the window is too small, the
beginning of the text is left out, so that memory and note stay in it until max_tokens are written.
If more is written than the window holds, the memory still stays.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from app.engine import Params

from ..body.fields import bounded, take
from ..errors import bad_value
from ..service import service

FIELDS = ("memory", "note", "note_depth")
DEPTH = 3  # lines of the text below the note, by default
MAX_DEPTH = 1000


def put_in(
    fields: Mapping[str, Any], prompts: list[str], params: Params, model: str | None
) -> tuple[list[str], Params]:
    """The prompts with memory and note in them, and params by which the memory stays in place
    however much is written."""
    memory, note = (
        _on_lines(bounded(name, take(fields, name, str, ""))) for name in ("memory", "note")
    )
    depth = take(fields, "note_depth", int, DEPTH)
    if not 0 <= depth <= MAX_DEPTH:
        raise bad_value(
            "note_depth", f"note_depth must be from 0 to {MAX_DEPTH}; got {depth}.",
            value=depth, low=0, high=MAX_DEPTH,
        )  # fmt: skip
    if not memory and not note:
        return prompts, params
    n_memory = _count(memory, model)
    room = _room(params, model)
    left = max(room // 2, room - n_memory - _count(note, model))  # at least half is for the text
    seen = [_end_of(prompt, left, model) for prompt in prompts]
    places = [line_above(text, depth) for text in seen]
    prompts = [memory + t[:at] + note + t[at:] for t, at in zip(seen, places, strict=True)]
    return prompts, msgspec.structs.replace(params, keep=max(params.keep, n_memory))


def _end_of(text: str, n_tokens: int, model: str | None) -> str:
    offsets = service().engine.tokenize(text, model).offsets
    return text[offsets[-n_tokens][0] :] if len(offsets) > n_tokens else text


def _on_lines(text: str) -> str:
    return text if text == "" or text.endswith("\n") else text + "\n"


def _count(text: str, model: str | None) -> int:
    return len(service().engine.tokenize(text, model).ids) if text else 0


def _room(params: Params, model: str | None) -> int:
    """How many tokens the prompt may have and leave room for the continuation."""
    window = service().model(model).n_positions
    return max(window // 2, window - (params.max_tokens or 0) - params.finish_sentence)


def line_above(text: str, depth: int) -> int:
    """Where the last `depth` lines begin; 0 if the text has fewer."""
    at = len(text)
    for _ in range(depth):
        at = text.rfind("\n", 0, at)
        if at < 0:
            return 0
    return at if depth == 0 else at + 1
