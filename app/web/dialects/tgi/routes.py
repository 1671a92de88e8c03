"""Text Generation Inference: /generate with `inputs`, /generate_stream, POST / and /info.

Its clients are text_generation and huggingface_hub's InferenceClient.
"""

from typing import Any

from flask import Blueprint, Response, g

from app.engine import PARAMETERS, ModelInfo, Params

from ...body import fields as schema
from ...body.reply import reply
from ...docs import openapi
from ...errors import Problem, bad_value
from ...run import run as streaming
from ...service import service
from .. import shared as words
from ..shared import Fields
from . import reply as tgi_frames
from .reply import Asked

tgi = Blueprint("tgi", __name__)

NAMES = {
    "max_tokens": ("max_new_tokens",),
    "temperature": ("temperature",),
    "top_k": ("top_k",),
    "top_p": ("top_p",),
    "typical_p": ("typical_p",),
    "repetition_penalty": ("repetition_penalty",),
    "frequency_penalty": ("frequency_penalty",),
    "stop": ("stop", "stop_sequences"),
    "seed": ("seed",),
    "n": ("best_of",),
    "logprobs": ("top_n_tokens",),
}
POSITIVE = ("best_of", "max_new_tokens", "repetition_penalty", "temperature", "top_k", "truncate")
SHARES = ("top_p", "typical_p")  # of the odds: all or nothing is none

TYPES = {422: "validation", 424: "generation", 429: "overloaded"}

ROWS = {row.name: row for row in PARAMETERS}

BODY = {
    "inputs": openapi.TEXT,
    "parameters": words.maybe({"type": "object", "properties": words.described(NAMES)}),
}


def render(problem: Problem) -> tuple[int, Any]:
    status = {400: 422, 500: 424}.get(problem.status, problem.status)
    return status, {"error": problem.message, "error_type": TYPES.get(status, problem.type)}


# ---- continue


def generate(fields: Fields) -> Response:
    """POST /generate with inputs: one object."""
    g.render_problem = render
    return reply(_whole(_asked(fields)))


@tgi.post("/generate_stream")
@openapi.takes(BODY, required=("inputs",))
@openapi.gives("text/event-stream")
def generate_stream() -> Response:
    """Continue a text token by token, as TGI's clients ask for it."""
    return _stream(words.read())


@tgi.post("/")
@openapi.takes(BODY | {"stream": words.maybe(openapi.FLAG)}, required=("inputs",))
@openapi.gives("application/json", "text/event-stream")
def either() -> Response:
    """Continue a text, whole in a list or token by token, as TGI's clients ask for it."""
    g.render_problem = render
    fields = words.read()
    if schema.take(fields, "stream", bool, False):
        return _stream(fields)
    return reply([_whole(_asked(fields))])


def _whole(asked: Asked) -> dict[str, Any]:
    run = streaming.start(asked.ids, asked.params, asked.info.name)
    return tgi_frames.whole(streaming.collect(run), asked)


def _stream(fields: Fields) -> Response:
    g.render_problem = render
    asked = _asked(fields)
    _refuse(asked.params.n > 1, "best_of", "`best_of` != 1 is not supported when streaming tokens")
    _refuse(
        asked.prefill,
        "decoder_input_details",
        "`decoder_input_details` == true is not supported when streaming tokens",
    )
    run = streaming.start(asked.ids, asked.params, asked.info.name)
    return words.streamed(run, tgi_frames.stream(run, asked))


# ---- reading


def _asked(fields: Fields) -> Asked:
    inputs = schema.take(fields, "inputs", str, "")
    _refuse(inputs == "", "inputs", "`inputs` must be non-empty: there is nothing to continue")
    asked = schema.take(fields, "parameters", dict, {})
    words.refuse_grammars(asked)
    _check(asked)
    info = service().model()
    ids = words.tokens_of(words.text(fields, "inputs"), info)
    ids = list(ids[-schema.take(asked, "truncate", int, info.n_positions) :])
    prefill = schema.take(asked, "decoder_input_details", bool, False)
    return Asked(
        ids=ids,
        params=_params(asked, len(ids), info, prefill),
        info=info,
        front=inputs if schema.take(asked, "return_full_text", bool, False) else "",
        details=schema.take(asked, "details", bool, False) or prefill,
        prefill=prefill,
        top=asked.get("top_n_tokens") is not None,
    )


def _params(asked: Fields, n_prompt: int, info: ModelInfo, prefill: bool) -> Params:
    room = info.n_positions - n_prompt
    wanted = schema.take(asked, "max_new_tokens", int, max(room, 1))
    _refuse(
        wanted > room,
        "max_new_tokens",
        f"`inputs` tokens + `max_new_tokens` must be <= {info.n_positions}. "
        f"Given: {n_prompt} `inputs` tokens and {wanted} `max_new_tokens`",
    )
    is_drawn = _is_drawn(asked)
    _refuse(
        not is_drawn and schema.take(asked, "best_of", int, 1) > 1,
        "best_of",
        "you must use sampling when `best_of` is > 1",
    )
    defaults = {
        "max_tokens": wanted,
        "top_k": 0,
        "logprobs": 0,
        "include_stop": True,  # its texts end with what stopped them
        "prompt_logprobs": 0 if prefill else None,
    }
    if is_drawn:
        return words.params(asked, NAMES, defaults | {"temperature": 1.0})
    return words.params(dict(asked) | {"temperature": 0}, NAMES, defaults)


def _is_drawn(asked: Fields) -> bool:
    """TGI takes the likeliest token unless told to draw, or how to: a temperature of 1 is not
    telling how."""
    neutral = {"temperature": 1, "top_k": 0, "top_p": 1, "typical_p": 1}
    return schema.take(asked, "do_sample", bool, False) or any(
        asked.get(name) not in (None, value) for name, value in neutral.items()
    )


def _check(asked: Fields) -> None:
    for name in POSITIVE:
        value = asked.get(name)
        is_bad = isinstance(value, int | float) and not value > 0
        _refuse(is_bad, name, f"`{name}` must be strictly positive")
    for name in SHARES:
        value = asked.get(name)
        is_bad = isinstance(value, int | float) and not 0 < value < 1
        _refuse(is_bad, name, f"`{name}` must be > 0.0 and < 1.0")


def _refuse(when: bool, field: str, message: str) -> None:
    if when:
        raise bad_value(field, message)


# ---- tell


@tgi.get("/info")
def info() -> Response:
    """The model and its limits, as TGI's clients ask for them."""
    engine, model = service().engine.info(), service().model()
    return reply(
        {
            "model_id": model.name,
            "model_sha": None,
            "model_dtype": model.precision,
            "model_device_type": model.device,
            "model_pipeline_tag": "text-generation",
            "max_concurrent_requests": engine.max_running + engine.max_queue,
            "max_best_of": ROWS["n"].high,
            "max_stop_sequences": ROWS["stop"].max_items,
            "max_input_tokens": model.n_positions - 1,
            "max_total_tokens": model.n_positions,
            "validation_workers": 1,
            "max_client_batch_size": 1,
            "router": "continuo",
            "version": openapi.VERSION,
            "sha": None,
            "docker_label": None,
            "backend": model.backend,
            "precision": model.precision,
            "cache": {"precision": model.cache_precision, "bytes": model.cache_bytes},
        }
    )


def tokenize(fields: Fields) -> Response:
    """POST /tokenize with inputs."""
    g.render_problem = render
    text = words.text(fields, "inputs")
    made = service().engine.tokenize(text)
    return reply(
        [
            {"id": id, "text": text[start:end], "start": start, "stop": end}
            for id, (start, end) in zip(made.ids, made.offsets, strict=True)
        ]
    )
