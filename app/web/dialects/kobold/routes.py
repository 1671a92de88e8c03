"""KoboldAI's /api/v1 and koboldcpp's /api/extra, as SillyTavern, Lite and mikupad use them.

A client may name its request by a genkey, to abort it from any worker, and to follow it in the
worker that runs it.
"""

from flask import Blueprint, Response, current_app, request

from app.engine import InvalidParams

from ...body.read import read_json
from ...body.reply import reply
from ...docs import openapi
from ...errors import Problem
from ...run.lists import bound_reply, collect
from ...run.run import Run, start
from ...run.stream import each, respond
from ...service import service
from .. import shared
from .recent import Recent
from .reply import (
    Aborted,
    LastLogprobs,
    Messages,
    Perf,
    Progress,
    ProgressResults,
    Results,
    logprobs,
    results,
)
from .request import NAMES, KoboldRequest, genkey, read

kobold = Blueprint("kobold", __name__, url_prefix="/api")

STOP_REASONS = {"length": 0, "deadline": 0, "end_of_text": 1, "stop": 2}  # -1: none yet

BODY = {
    "prompt": openapi.TEXT,
    "memory": shared.maybe(openapi.TEXT),
    "genkey": shared.maybe(openapi.TEXT),
    "max_context_length": shared.maybe({"type": "integer"}),
} | shared.described(NAMES)
KEY = {"genkey": shared.maybe(openapi.TEXT)}


# ---- continue


@kobold.post("/v1/generate")
@kobold.post("/latest/generate")
@openapi.takes(BODY, required=("prompt",))
@openapi.replies(Results)
def generate() -> Response:
    """Continue a text, for KoboldAI's clients."""
    wanted = read(read_json())
    bound_reply(1, wanted.params)
    return reply(results(collect(_start(wanted))))


@kobold.post("/extra/generate/stream")
@openapi.takes(BODY, required=("prompt",))
@openapi.gives("text/event-stream")
def stream() -> Response:
    """Continue a text token by token, for koboldcpp's clients."""
    run = _start(read(read_json() | {"n": 1}))
    return respond(run, each(run, Messages(run)))


def _start(wanted: KoboldRequest) -> Run:
    try:
        run = start(wanted.ids, wanted.params, wanted.info.name, wanted.genkey)
    except InvalidParams as error:
        if error.field != "id":
            raise
        message = "A request with this genkey is still running."
        raise Problem(503, "service_unavailable", message, retry_after=1.0) from None
    _recent().add(run)
    return run


# ---- by key


@kobold.post("/extra/generate/check")
@openapi.takes(KEY)
@openapi.replies(ProgressResults)
def check() -> Response:
    """The text of a running request so far. After its end, only its own answer has the text.

    Any client at the same address with the same API key can ask by the same genkey.
    """
    key, address = _key_and_address()
    run = None if key is None else _recent().running(key, address)
    return reply(ProgressResults([Progress("" if run is None else run.text)]))


@kobold.post("/extra/abort")
@openapi.takes(KEY)
@openapi.replies(Aborted)
def abort() -> Response:
    """End a request by its key; it may run in any worker."""
    key, _ = _key_and_address()
    is_done = key is not None and service().engine.cancel(key)
    return reply(Aborted(str(is_done).lower()))


@kobold.post("/extra/last_logprobs")
@openapi.takes(KEY)
@openapi.replies(LastLogprobs)
def last_logprobs() -> Response:
    """The probabilities of a key's last request: once, within a minute of its end."""
    key, address = _key_and_address()
    run = None if key is None else _recent().take(key, address)
    return reply(LastLogprobs(None if run is None else logprobs(run.choices[0], run)))


def _key_and_address() -> tuple[str | None, str]:
    return genkey(shared.read_if_any()), request.remote_addr or ""


def _recent() -> Recent:
    return current_app.extensions.setdefault("continuo.kobold", Recent())


# ---- how it goes


@kobold.get("/extra/perf")
@openapi.replies(Perf)
def perf() -> Response:
    """How busy the engine is, and the timings of this process's last request of this kind."""
    stats, run = service().engine.stats(), _recent().last()
    perf = Perf(stats.requests, stats.waiting, int(stats.running == 0), stats.uptime_s)
    if run is not None and run.timings is not None:
        choice, speed = run.choices[0], run.timings.tokens_per_s
        perf.last_process = run.timings.prefill_ms / 1000
        perf.last_eval = 1 / speed if speed else 0.0
        perf.last_token_count, perf.last_seed = len(choice.ids), choice.seed
        perf.stop_reason = STOP_REASONS.get(choice.reason or "", -1)
    return reply(perf)
