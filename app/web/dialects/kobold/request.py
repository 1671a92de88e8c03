"""What a body asks of KoboldAI's /generate and koboldcpp's /generate/stream.

These clients are made for larger models, so values out of bounds are set to the bound.
"""

import contextlib
from typing import Any

import msgspec
from flask import g, request

from app.engine import PARAMETERS, ModelInfo, Params

from ...body.fields import bounded, take
from ...service import service
from .. import shared
from ..shared import Fields

NAMES = {
    "max_tokens": ("max_length",),
    "temperature": ("temperature",),
    "top_k": ("top_k",),
    "top_p": ("top_p",),
    "min_p": ("min_p",),
    "typical_p": ("typical",),
    "repetition_penalty": ("rep_pen",),
    "presence_penalty": ("presence_penalty",),
    "penalty_range": ("rep_pen_range",),
    "logit_bias": ("logit_bias",),
    "banned": ("banned_tokens",),
    "stop": ("stop_sequence",),
    "ignore_eos": ("bypass_eos",),
    "seed": ("sampler_seed",),
    "n": ("n",),
    "banned_phrases": ("banned_strings",),
    **shared.MODERN,
}
DEFAULTS: dict[str, Any] = {
    "max_tokens": 180,
    "temperature": 0.7,
    "top_k": 100,
    "top_p": 0.92,
    "penalty_range": 320,
}
BOUNDS = {
    row.name: (row.low, row.high)
    for row in PARAMETERS
    if row.low is not None and row.high is not None and row.name != "seed"
}
MOST = {row.name: row.max_items for row in PARAMETERS if row.max_items is not None}
N_TOP = 5  # alternatives reported when logprobs are requested

FEWEST = 8  # tokens of context, whatever is requested
SPARE = 16  # tokens of the model's window that koboldcpp leaves free of what max_length may ask


class KoboldRequest(msgspec.Struct):
    ids: list[int]
    params: Params
    info: ModelInfo
    genkey: str | None


def read(fields: Fields) -> KoboldRequest:
    shared.refuse_grammars(fields)
    info = service().model()
    fields = _clamped(fields, info)
    params = _params(fields, info)
    ids, n_memory = _context(fields, params, info)
    params = msgspec.structs.replace(params, keep=n_memory)
    return KoboldRequest(ids, params, info, genkey(fields))


def genkey(fields: Fields) -> str | None:
    """The engine's id of a request. Clients pick genkeys from a tiny range, so scope each by API
    key and address."""
    key = take(fields, "genkey", str, "")
    return f"{g.get('key', '')}:{request.remote_addr}:{key}"[:200] if key else None


def _params(fields: Fields, info: ModelInfo) -> Params:
    params = shared.params(fields, NAMES, DEFAULTS)
    no_end = ("use_default_badwordsids", "ban_eos_token")
    is_endless = any(take(fields, name, bool, False) for name in no_end)
    return msgspec.structs.replace(
        params,
        banned=params.banned + (info.eos_token_ids if is_endless else []),
        include_stop=not take(fields, "trim_stop", bool, True),
        logprobs=N_TOP if _wants_logprobs(fields) else None,
    )


def _wants_logprobs(fields: Fields) -> bool:
    """mikupad sends a number; koboldcpp takes that as true."""
    value = fields.get("logprobs")
    if isinstance(value, int | float):
        return value > 0
    return take(fields, "logprobs", bool, False)


def _clamped(fields: Fields, info: ModelInfo) -> dict[str, Any]:
    near = dict(fields)
    bounds = BOUNDS | {"max_tokens": (0, max(FEWEST, info.n_positions - SPARE))}
    for ours, (theirs, *_) in NAMES.items():
        value = near.get(theirs)
        if ours in bounds and isinstance(value, str):
            with contextlib.suppress(ValueError):  # what is not a number is refused later
                value = near[theirs] = float(value)
        if ours in bounds and isinstance(value, int | float) and not isinstance(value, bool):
            low, high = bounds[ours]
            near[theirs] = min(max(value, low), high) if value == value else value
    stops = near.get("stop_sequence")
    if isinstance(stops, list):
        near["stop_sequence"] = stops[: MOST["stop"]]
    bans = near.get("banned_tokens")
    if isinstance(bans, list):  # koboldcpp bans phrases too; the engine bans tokens
        near["banned_tokens"] = [ban for ban in bans if _is_token(ban, info)][: MOST["banned"]]
    return near


def _is_token(ban: Any, info: ModelInfo) -> bool:
    return not isinstance(ban, str) or len(shared.tokens_of(ban[:100], info)) == 1


def _context(fields: Fields, params: Params, info: ModelInfo) -> tuple[list[int], int]:
    """Memory and prompt as tokens, with room in the window for the continuation; and how many of
    them are memory.

    If they are too long, the prompt loses its beginning; memory keeps up to half of the room.
    """
    memory = bounded("memory", take(fields, "memory", str, ""))
    made = service().engine.tokenize(memory + shared.text(fields, "prompt"), info.name)
    wanted = take(fields, "max_context_length", int, info.n_positions)
    most = max(FEWEST, min(wanted, info.n_positions))
    room = max(most // 2, most - (params.max_tokens or 0))
    n_memory = sum(start < len(memory) for start, _ in made.offsets)
    if len(made.ids) <= room:
        return made.ids, n_memory
    kept = made.ids[:n_memory][-(room // 2) :]
    return kept + made.ids[n_memory:][-(room - len(kept)) :], len(kept)
