"""The routes of the native API: POST /generate in all its formats, and those around it."""

from collections.abc import Iterable
from typing import Any

from flask import Blueprint, Response, g, request, stream_template

from app.engine import MAX_ID, PARAMETERS

from .. import addresses
from ..body import fields as body
from ..body.read import read_fields, read_json
from ..body.reply import reply
from ..docs import openapi
from ..errors import Problem, bad_value
from ..run.lists import collect_all
from ..run.run import Run, start
from ..run.stream import each, respond
from ..service import service
from . import frames, scores
from . import reply as replies
from .context import DEPTH, MAX_DEPTH
from .request import GenerateRequest, read
from .spans import utf16_places

native = Blueprint("native", __name__)

MAX_TOP = next(int(row.high or 0) for row in PARAMETERS if row.name == "logprobs")

JSON, SSE, NDJSON = "application/json", "text/event-stream", "application/x-ndjson"
TEXT, HTML = "text/plain", "text/html"
FORMATS = (JSON, SSE, NDJSON, TEXT, HTML)


# ---- continue


GENERATE = {
    "prompt": {"anyOf": [openapi.TEXT, openapi.TEXTS], "description": "What to continue."},
    "model": openapi.TEXT | {"description": "One of /models."},
    "stream": openapi.FLAG
    | {"description": "Stream events, unless Accept asks for another format."},
    "include_prompt": openapi.FLAG | {"description": "Put the prompt in front of the text."},
    "memory": openapi.TEXT
    | {"description": "What the model always reads first, however long the text."},
    "note": openapi.TEXT | {"description": "What it reads note_depth lines above the end."},
    "note_depth": openapi.COUNT | {"maximum": MAX_DEPTH, "default": DEPTH},
} | openapi.parameters()


@native.post("/generate")
@openapi.takes(GENERATE, required=("prompt",), forms=True)
@openapi.gives(*FORMATS)
@openapi.replies(replies.Reply, replies.Results)
def generate() -> Response:
    """Continue a text.

    The answer is JSON; with "stream": true or by Accept it is streamed: as events (queue, start,
    token, done, error), as lines of JSON that name the event in "event", as plain text, or as a
    page. A list of prompts gives {"results": [...]}, one for each, in order.

    {"id", "model", "prompt", "text", "seed", "finish_reason", "usage", "timings", "warnings",
     "continuations": [{"index", "text", "finish_reason", "stop", "tokens", "seed", "logprobs"}],
     "truncated", "dropped_tokens", "context_start", "prompt_logprobs"}

    logprobs are [{"id", "text", "bytes", "logprob", "start", "end", "top"}], where start and end
    count UTF-16 units. finish_reason is length, stop, end_of_text, deadline or cancelled. The last
    token event of a continuation has id null, the rest of the text, and its finish_reason.
    """
    format = request.accept_mimetypes.best_match(FORMATS, default=JSON)
    g.wants_html = format == HTML
    fields = read_fields()
    if (other := addresses.owner(fields)) is not None:
        return other(fields)
    wanted = read(fields)
    if wanted.stream and format == JSON:
        format = SSE
    if format != JSON:
        return _stream(wanted, format)
    runs = collect_all(wanted.prompts, wanted.params, wanted.model)
    results = [replies.whole(run, wanted.include_prompt or False) for run in runs]
    return reply(replies.Results(results) if wanted.is_list else results[0])


def _stream(wanted: GenerateRequest, format: str) -> Response:
    if wanted.is_list:
        raise bad_value(
            "prompt", "A list of prompts cannot be streamed; stream its prompts one by one."
        )
    if wanted.params.n > 1 and format in (TEXT, HTML):
        raise bad_value(
            "n", f"{format} carries one continuation; n must be 1.", value=wanted.params.n
        )
    run = start(wanted.prompts[0], wanted.params, wanted.model)
    return respond(run, _frames(run, wanted, format), f"{format}; charset=utf-8")


def _frames(run: Run, wanted: GenerateRequest, format: str) -> Iterable[str | bytes]:
    if format == SSE:
        return each(run, frames.Events(run))
    if format == NDJSON:
        return each(run, frames.Lines(run))
    if format == TEXT:
        color = request.args.get("color") in ("1", "true")
        with_prompt = color if wanted.include_prompt is None else wanted.include_prompt
        return frames.plain(run, with_prompt, color)
    return stream_template("continuation.html", run=run, pieces=frames.texts(run))


@native.delete("/generate/<id>")
@openapi.replies(replies.Cancelled)
def cancel(id: str) -> Response:
    """End a continuation, by the id in its start event; it may run in any worker."""
    if not service().engine.cancel(id):
        raise Problem(404, "not_found", "No continuation with this id is running.", field="id")
    return reply(replies.Cancelled(id))


# ---- measure


@native.post("/score")
@openapi.takes(
    {
        "prompt": openapi.TEXT,
        "text": openapi.TEXT,
        "continuations": openapi.TEXTS,
        "top": openapi.COUNT | {"maximum": MAX_TOP},
        "model": openapi.TEXT,
    }
)
@openapi.replies(replies.Scores)
def score() -> Response:
    """How likely the model finds one text, or several, after a prompt.

    {"results": [{"logprob", "bits", "bits_per_char", "tokens"}]}, tokens as logprobs of /generate.
    """
    fields = read_json()
    body.refuse_unknown(fields, ("prompt", "text", "continuations", "top", "model"))
    texts = _texts_to_score(fields)
    top = body.take(fields, "top", int, 0)
    if not 0 <= top <= MAX_TOP:
        raise bad_value("top", f"top must be from 0 to {MAX_TOP}; got {top}.", low=0, high=MAX_TOP)
    prompt = body.bounded("prompt", body.take(fields, "prompt", str, ""))
    model = body.take(fields, "model", str, None)
    field = "text" if "text" in fields else "continuations"
    scored = scores.score(prompt, texts, field, top, model)
    return reply(replies.Scores([replies.score(s, t) for s, t in zip(scored, texts, strict=True)]))


def _texts_to_score(fields: dict[str, Any]) -> list[str]:
    if ("text" in fields) == ("continuations" in fields):
        raise bad_value("text", "Give either text, or continuations as a list of texts.")
    if "text" in fields:
        return [body.bounded("text", body.take(fields, "text", str, ""))]
    texts = body.texts("continuations", fields["continuations"])
    return [body.bounded("continuations", text) for text in texts]


@native.post("/tokenize")
@openapi.takes({"text": openapi.TEXT, "model": openapi.TEXT}, required=("text",), forms=True)
@openapi.replies(replies.Tokens)
def tokenize() -> Response:
    """A text's tokens, and where they are in it.

    {"count", "tokens", "offsets"}: ids, and the start and end of each in UTF-16 units.
    """
    fields = read_fields()
    if "prompt" in fields and request.mimetype == TEXT:
        fields["text"] = fields.pop("prompt")
    if (other := addresses.owner(fields)) is not None:
        return other(fields)
    body.refuse_unknown(fields, ("text", "model"))
    if "text" not in fields:
        raise bad_value("text", "text is missing.")
    text = body.bounded("text", body.take(fields, "text", str, ""))
    made = service().engine.tokenize(text, body.take(fields, "model", str, None))
    place = utf16_places(text)
    offsets = [[place[start], place[end]] for start, end in made.offsets]
    return reply(replies.Tokens(len(made.ids), made.ids, offsets))


@native.post("/detokenize")
@openapi.takes({"tokens": openapi.IDS, "model": openapi.TEXT}, required=("tokens",))
@openapi.replies(replies.Detokenized)
def detokenize() -> Response:
    """The text of a list of tokens."""
    fields = read_json()
    body.refuse_unknown(fields, ("tokens", "model"))
    ids = fields.get("tokens")
    if not isinstance(ids, list) or not all(type(id) is int and 0 <= id <= MAX_ID for id in ids):
        raise bad_value("tokens", "tokens must be a list of token ids.")
    text = service().engine.detokenize(ids, body.take(fields, "model", str, None))
    return reply(replies.Detokenized(text, text, text))


# ---- tell


@native.get("/models")
@openapi.replies(replies.Models)
def models() -> Response:
    """The models that are served."""
    return reply(replies.models(service().engine.info().models))


@native.get("/parameters")
@openapi.replies(replies.Parameters)
def parameters() -> Response:
    """The parameters of /generate: type, default, bounds, and the value that switches each off."""
    return reply(replies.Parameters(PARAMETERS))
