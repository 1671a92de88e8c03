"""KoboldAI's /api/v1 and koboldcpp's /api/extra, as SillyTavern, Lite and mikupad use them.

A client may name its request by a genkey: to abort it from anywhere, and to look how far it is from
the web worker that runs it.
"""

from collections import OrderedDict
from typing import Any

import msgspec
from flask import Blueprint, Response, current_app, g, request

from app.engine import PARAMETERS, InvalidParams, ModelInfo, Params

from ...body import fields as schema
from ...body.reply import reply
from ...docs import openapi
from ...errors import Problem
from ...run import run as streaming
from ...run.run import Run
from ...service import service
from .. import shared as words
from ..shared import Fields
from . import reply as kobold_frames

kobold = Blueprint("kobold", __name__, url_prefix="/api")

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
N_TOP = 5  # alternatives told when logprobs are asked for

FEWEST = 8  # tokens of context, whatever is asked

STOP_REASONS = {"length": 0, "deadline": 0, "end_of_text": 1, "stop": 2}  # -1: none yet

BODY = {
    "prompt": openapi.TEXT,
    "memory": words.maybe(openapi.TEXT),
    "genkey": words.maybe(openapi.TEXT),
    "max_context_length": words.maybe({"type": "integer"}),
} | words.described(NAMES)
KEY = {"genkey": words.maybe(openapi.TEXT)}


# ---- continue


@kobold.post("/v1/generate")
@kobold.post("/latest/generate")
@openapi.takes(BODY, required=("prompt",))
def generate() -> Response:
    """Continue a text, as KoboldAI's clients ask for it."""
    run = _start(words.read())
    streaming.collect(run)
    return reply({"results": [kobold_frames.result(choice, run) for choice in run.choices]})


@kobold.post("/extra/generate/stream")
@openapi.takes(BODY, required=("prompt",))
@openapi.gives("text/event-stream")
def stream() -> Response:
    """Continue a text token by token, as koboldcpp's clients ask for it."""
    run = _start(words.read() | {"n": 1})
    return words.streamed(run, kobold_frames.stream(run))


@kobold.post("/extra/generate/check")
@openapi.takes(KEY)
def check() -> Response:
    """How far a request has come; of the key's last one."""
    run = _asked_for()
    return reply({"results": [{"text": "" if run is None else run.text}]})


@kobold.get("/extra/generate/check")
def check_any() -> Response:
    """Nothing: without a key nobody's text is shown."""
    return reply({"results": [{"text": ""}]})


@kobold.post("/extra/abort")
@openapi.takes(KEY)
def abort() -> Response:
    """End a request by its key, whichever worker runs it."""
    key = _genkey(words.read_if_any())
    is_done = key is not None and service().engine.cancel(key)
    return reply({"success": str(is_done).lower(), "done": "true"})


@kobold.post("/extra/last_logprobs")
@openapi.takes(KEY)
def last_logprobs() -> Response:
    """The probabilities of what a key's last request wrote."""
    run = _asked_for()
    said = None if run is None else kobold_frames.logprobs(run.choices[0], run)
    return reply({"logprobs": said})


# ---- by key


def _genkey(fields: Fields) -> str | None:
    """The engine's id of a request. Its clients choose from few: whoever comes with another API
    key, or from another address, means another request by the same."""
    key = schema.take(fields, "genkey", str, "")
    return f"{g.get('key', '')}:{request.remote_addr}:{key}"[:200] if key else None


class Recent(OrderedDict[str, Run]):
    """The latest runs of this process; those with a genkey can be asked for."""

    MOST = 64

    def add(self, run: Run) -> None:
        self[run.id] = run
        self.move_to_end(run.id)
        if len(self) > self.MOST:
            self.popitem(last=False)

    def last(self) -> Run | None:
        return next(reversed(self.values()), None)


def _recent() -> Recent:
    return current_app.extensions.setdefault("continuo.kobold", Recent())


def _asked_for() -> Run | None:
    key = _genkey(words.read_if_any())
    return None if key is None else _recent().get(key)


# ---- reading


def _start(fields: Fields) -> Run:
    words.refuse_grammars(fields)
    info = service().model()
    params = _params(fields, info)
    try:
        run = streaming.start(_context(fields, params, info), params, info.name, _genkey(fields))
    except InvalidParams as error:
        if error.field != "id":
            raise
        message = "A request with this genkey is still running."
        raise Problem(503, "service_unavailable", message, retry_after=1.0) from None
    _recent().add(run)
    return run


def _params(fields: Fields, info: ModelInfo) -> Params:
    params = words.params(_clamped(fields), NAMES, DEFAULTS)
    no_end = ("use_default_badwordsids", "ban_eos_token")
    is_endless = any(schema.take(fields, name, bool, False) for name in no_end)
    with_logprobs = schema.take(fields, "logprobs", bool, False)
    return msgspec.structs.replace(
        params,
        banned=params.banned + (info.eos_token_ids if is_endless else []),
        include_stop=not schema.take(fields, "trim_stop", bool, True),
        logprobs=N_TOP if with_logprobs else None,
    )


def _clamped(fields: Fields) -> Fields:
    """Its clients are made for larger models: what is out of bounds goes to the bound."""
    said = dict(fields)
    for ours, (theirs, *_) in NAMES.items():
        value = said.get(theirs)
        if ours in BOUNDS and isinstance(value, int | float) and not isinstance(value, bool):
            low, high = BOUNDS[ours]
            said[theirs] = min(max(value, low), high)
    return said


def _context(fields: Fields, params: Params, info: ModelInfo) -> list[int]:
    """Memory and prompt as tokens, with room in the window for what is to come.

    What is too long is cut: the prompt at its beginning; memory stays, up to half.
    """
    memory = schema.bounded("memory", schema.take(fields, "memory", str, ""), service().options)
    made = service().engine.tokenize(memory + words.text(fields, "prompt"), info.name)
    asked = schema.take(fields, "max_context_length", int, info.n_positions)
    most = max(FEWEST, min(asked, info.n_positions))
    room = max(most // 2, most - (params.max_tokens or 0))
    if len(made.ids) <= room:
        return made.ids
    n_memory = sum(start < len(memory) for start, _ in made.offsets)
    kept = made.ids[:n_memory][-(room // 2) :]
    return kept + made.ids[n_memory:][-(room - len(kept)) :]


# ---- how it goes


@kobold.get("/extra/perf")
def perf() -> Response:
    """How busy the engine is, and how this process's last request of this kind went."""
    stats, run = service().engine.stats(), _recent().last()
    return reply(
        {
            "total_gens": stats.requests,
            "queue": stats.waiting,
            "idle": int(stats.running == 0),
            "uptime": stats.uptime_s,
        }
        | _last(run)
    )


def _last(run: Run | None) -> dict[str, Any]:
    """Times in seconds: of the prompt, and of each token."""
    said = {"last_process": 0.0, "last_eval": 0.0, "last_token_count": 0, "last_seed": -1}
    if run is None or run.timings is None:
        return said | {"stop_reason": -1}
    choice, speed = run.choices[0], run.timings.tokens_per_s
    return {
        "last_process": run.timings.prefill_ms / 1000,
        "last_eval": 1 / speed if speed else 0.0,
        "last_token_count": len(choice.tokens),
        "last_seed": choice.seed,
        "stop_reason": STOP_REASONS.get(choice.reason or "", -1),
    }
