"""llama.cpp's server: /completion, /props and /slots, as mikupad and SillyTavern use them."""

from flask import Blueprint, Response, g, request

from ...body import fields as body
from ...body.read import read_json
from ...body.reply import reply
from ...docs import openapi
from ...errors import Problem
from ...health import Health, readyz
from ...run.lists import collect_all
from ...run.run import start
from ...run.stream import each, respond
from ...service import service
from .. import shared
from ..shared import Fields
from .reply import (
    DefaultSettings,
    Final,
    Parts,
    Piece,
    Props,
    Slot,
    Tokens,
    render,
    settings,
    whole,
)
from .request import DEFAULTS, NAMES, SAMPLERS, read

llamacpp = Blueprint("llamacpp", __name__)


@llamacpp.post("/completion")
@llamacpp.post("/completions")
@openapi.takes(
    {
        "prompt": {"description": "A text, its token ids, or both mixed; or a list of texts."},
        "stream": shared.maybe(openapi.FLAG),
        "response_fields": shared.maybe(openapi.TEXTS),
    }
    | shared.described(NAMES),
    required=("prompt",),
)
@openapi.gives("application/json", "text/event-stream")
@openapi.replies(Final, list[Final], dict)  # the last: by response_fields
def completion() -> Response:
    """Continue a text, for llama.cpp's clients."""
    wanted = read(read_json())
    if wanted.stream:
        run = start(wanted.prompts[0], wanted.params, wanted.info.name)
        return respond(run, each(run, Parts(run, wanted)))
    runs = collect_all(wanted.prompts, wanted.params, wanted.info.name)
    replies = [whole(run, wanted, index) for index, run in enumerate(runs)]
    return reply(replies if wanted.is_list else replies[0])


@llamacpp.get("/props")
@openapi.replies(Props)
def props() -> Response:
    """The model's window and the defaults, for llama.cpp's clients."""
    info = service().model()
    defaults = shared.params({}, NAMES, DEFAULTS | {"max_tokens": info.n_positions})
    return reply(
        Props(
            DefaultSettings(info.n_positions, settings(defaults, list(SAMPLERS))),
            total_slots=service().engine.info().max_running_in_all,
            model_path=info.name,
            build_info=f"continuo {openapi.VERSION}",
        )
    )


@llamacpp.get("/slots")
@openapi.replies(list[Slot])
def slots() -> Response:
    """How many continuations may run at once, and which slots are taken; without any text."""
    engine = service().engine
    total, running = engine.info().max_running_in_all, engine.stats().running
    if request.args.get("fail_on_no_slot") == "1" and running >= total:
        raise Problem(503, "unavailable", "No slot is free.", retry_after=1.0)
    window = service().model().n_positions
    return reply([Slot(i, window, i < running) for i in range(total)])


@llamacpp.get("/v1/health")
@openapi.replies(Health)
def health() -> Response:
    """The same as /health."""
    return readyz()


def tokenize(fields: Fields) -> Response:
    """POST /tokenize with content."""
    g.render_problem = render
    ids = service().engine.tokenize(shared.text(fields, "content")).ids
    if not body.take(fields, "with_pieces", bool, False):
        return reply(Tokens([*ids]))
    pairs = zip(ids, service().engine.pieces(ids), strict=True)
    return reply(Tokens([Piece(id, shared.piece(piece)) for id, piece in pairs]))
