"""Text Generation Inference: /generate with `inputs`, /generate_stream, POST / and /info.

Its clients are text_generation and huggingface_hub's InferenceClient.
"""

from flask import Blueprint, Response, g

from app.engine import PARAMETERS

from ...body.fields import take
from ...body.read import read_json
from ...body.reply import reply
from ...docs import openapi
from ...health import Health, livez
from ...run.lists import collect_all
from ...run.run import start
from ...run.stream import each, respond
from ...service import service
from .. import shared
from ..shared import Fields
from .reply import Cache, Generated, Info, Messages, Place, render, whole
from .request import NAMES, TgiRequest, read

tgi = Blueprint("tgi", __name__)

ROWS = {row.name: row for row in PARAMETERS}

BODY = {
    "inputs": openapi.TEXT,
    "parameters": shared.maybe({"type": "object", "properties": shared.described(NAMES)}),
}


def generate(fields: Fields) -> Response:
    """POST /generate with inputs."""
    g.render_problem = render
    return reply(_whole(read(fields)))


@tgi.post("/generate_stream")
@openapi.takes(BODY, required=("inputs",))
@openapi.gives("text/event-stream")
def generate_stream() -> Response:
    """Continue a text token by token, for TGI's clients."""
    return _stream(read_json(), is_full=False)


@tgi.post("/")
@tgi.post("/invocations")
@openapi.takes(BODY | {"stream": shared.maybe(openapi.FLAG)}, required=("inputs",))
@openapi.gives("application/json", "text/event-stream")
@openapi.replies(list[Generated])
def either() -> Response:
    """Continue a text, whole in a list or token by token, for TGI's clients.

    The text begins with the prompt, unless return_full_text is false.
    """
    fields = read_json()
    if take(fields, "stream", bool, False):
        return _stream(fields, is_full=True)
    return reply([_whole(read(fields, is_full=True))])


def _whole(wanted: TgiRequest) -> Generated:
    (run,) = collect_all([wanted.ids], wanted.params, wanted.info.name)
    return whole(run, wanted)


def _stream(fields: Fields, is_full: bool) -> Response:
    wanted = read(fields, is_full, stream=True)
    run = start(wanted.ids, wanted.params, wanted.info.name)
    return respond(run, each(run, Messages(run, wanted)))


# ---- tell


@tgi.get("/ping")
@openapi.replies(Health)
def ping() -> Response:
    """The same as /livez."""
    return livez()


@tgi.get("/info")
@openapi.replies(Info)
def info() -> Response:
    """The model and its limits, for TGI's clients."""
    engine, model = service().engine.info(), service().model()
    return reply(
        Info(
            model_id=model.name,
            model_dtype=model.precision,
            model_device_type=model.device,
            max_concurrent_requests=engine.max_running_in_all + engine.max_queue_in_all,
            max_best_of=int(ROWS["n"].high or 1),
            max_stop_sequences=ROWS["stop"].max_items or 0,
            max_input_tokens=model.n_positions - 1,
            max_total_tokens=model.n_positions,
            version=openapi.VERSION,
            backend=model.backend,
            precision=model.precision,
            cache=Cache(model.cache_precision, model.cache_bytes),
            card=model.card,
        )
    )


def tokenize(fields: Fields) -> Response:
    """POST /tokenize with inputs."""
    g.render_problem = render
    text = shared.text(fields, "inputs")
    made = service().engine.tokenize(text)
    pairs = zip(made.ids, made.offsets, strict=True)
    return reply([Place(id, text[start:end], start, end) for id, (start, end) in pairs])
