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
from ..options import WebOptions
from ..service import service

FIELDS = ("memory", "note", "note_depth")
DEPTH = 3  # lines of the text below the note, by default
MAX_DEPTH = 1000


class Context(msgspec.Struct, frozen=True):
    memory: str = ""
    note: str = ""
    note_depth: int = DEPTH


def read(fields: Mapping[str, Any], options: WebOptions) -> Context:
    memory, note = (bounded(name, take(fields, name, str, ""), options) for name in FIELDS[:2])
    depth = take(fields, "note_depth", int, DEPTH)
    if not 0 <= depth <= MAX_DEPTH:
        raise bad_value(
            "note_depth", f"note_depth must be from 0 to {MAX_DEPTH}; got {depth}.",
            value=depth, low=0, high=MAX_DEPTH,
        )  # fmt: skip
    return Context(memory, note, depth)


def prompt_in(context: Context, text: str, params: Params, model: str | None) -> str:
    """The prompt for the model: the text, with memory and note in it."""
    if not context.memory and not context.note:
        return text
    memory, note = _on_lines(context.memory), _on_lines(context.note)
    room = _room(params, model)
    taken = _count(memory, model) + _count(note, model)
    left = max(room // 2, room - taken)  # at least half of the room is for the text
    offsets = service().engine.tokenize(text, model).offsets
    seen = text[offsets[-left][0] :] if len(offsets) > left else text
    at = line_above(seen, context.note_depth)
    return memory + seen[:at] + note + seen[at:]


def keeping(context: Context, params: Params, model: str | None) -> Params:
    """The memory stays where it is however much is written."""
    n_memory = _count(_on_lines(context.memory), model)
    return msgspec.structs.replace(params, keep=max(params.keep, n_memory))


def _on_lines(text: str) -> str:
    return text if text == "" or text.endswith("\n") else text + "\n"


def _count(text: str, model: str | None) -> int:
    return len(service().engine.tokenize(text, model).ids) if text else 0


def _room(params: Params, model: str | None) -> int:
    """How many tokens the prompt may have and leave room for the continuation."""
    models = service().engine.info().models
    window = next((one.n_positions for one in models if one.name == model), models[0].n_positions)
    return max(window // 2, window - (params.max_tokens or 0) - params.finish_sentence)


def line_above(text: str, depth: int) -> int:
    """Where the last `depth` lines begin; 0 if the text has fewer."""
    at = len(text)
    for _ in range(depth):
        at = text.rfind("\n", 0, at)
        if at < 0:
            return 0
    return at if depth == 0 else at + 1
