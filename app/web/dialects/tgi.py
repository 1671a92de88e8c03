"""Text Generation Inference: /generate with `inputs`, /generate_stream, POST / and /info.

Its clients are text_generation and huggingface_hub's InferenceClient.
"""

import math
from collections.abc import Iterator
from typing import Any

import msgspec
from flask import Blueprint, Response, g

from app.engine import PARAMETERS, Ended, Failed, ModelInfo, Params, PromptToken, Token

from .. import formats, openapi, schema, streaming
from ..errors import Problem, bad_value, failed
from ..service import service
from ..streaming import Choice, Run
from . import words
from .words import Fields

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

TYPES = {424: "generation", 429: "overloaded"}

ROWS = {row.name: row for row in PARAMETERS}

REASONS = {"length": "length", "deadline": "length", "end_of_text": "eos_token"}

BODY = {
    "inputs": openapi.TEXT,
    "parameters": words.maybe({"type": "object", "properties": words.described(NAMES)}),
}


def render(problem: Problem) -> tuple[int, Any]:
    status = {400: 422, 500: 424}.get(problem.status, problem.status)
    kind = TYPES.get(status, "validation" if status < 500 else problem.type)
    return status, {"error": problem.message, "error_type": kind}


class Asked(msgspec.Struct):
    """What was asked for, in any of the three places."""

    ids: list[int]
    params: Params
    info: ModelInfo
    front: str  # the prompt, where the full text is wanted
    details: bool
    prefill: bool  # with the prompt's tokens
    top: bool  # with alternatives


# ---- continue


def generate(fields: Fields) -> Response:
    """POST /generate with inputs: one object."""
    g.render_problem = render
    return words.reply(_whole(_asked(fields)))


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
    return words.reply([_whole(_asked(fields))])


def _whole(asked: Asked) -> dict[str, Any]:
    run = streaming.collect(streaming.start(asked.ids, asked.params, asked.info.name))
    ranked = sorted(run.choices, key=words.mean_logprob, reverse=True)
    said: dict[str, Any] = {"generated_text": asked.front + ranked[0].text}
    if asked.details:
        said["details"] = _details(ranked[0], run, asked)
        if len(ranked) > 1:
            said["details"]["best_of_sequences"] = [
                {"generated_text": asked.front + choice.text} | _details(choice, run, asked)
                for choice in ranked[1:]
            ]
    return said


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
    return streaming.respond(run, _frames(run, asked), "text/event-stream; charset=utf-8")


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


# ---- saying


def _details(choice: Choice, run: Run, asked: Asked) -> dict[str, Any]:
    tokens = [_entry(token, asked) for token in choice.tokens]
    if choice.reason == "end_of_text":
        tokens.append(_end(asked))
    said = _summary(choice.reason, len(tokens), choice) | {"prefill": [], "tokens": tokens}
    if asked.prefill and run.started is not None:
        said["prefill"] = [_prefill(token) for token in run.started.prompt or ()]
    if asked.top:
        said["top_tokens"] = [_top(token, asked) for token in choice.tokens]
    return said


def _summary(reason: str | None, count: int, choice: Choice) -> dict[str, Any]:
    return {
        "finish_reason": REASONS.get(reason or "", "stop_sequence"),
        "generated_tokens": count,
        "seed": choice.seed,
    }


def _entry(token: Token, asked: Asked, text: str | None = None) -> dict[str, Any]:
    return {
        "id": token.id,
        "text": words.plain(token.bytes) if text is None else text,
        "logprob": formats.finite(token.logprob),
        "special": token.id in asked.info.eos_token_ids,
    }


def _end(asked: Asked, text: str = "") -> dict[str, Any]:
    """The token that ended the text: TGI counts it and shows it, in a text of its own."""
    return {"id": asked.info.eos_token_ids[0], "text": text, "logprob": None, "special": True}


def _prefill(token: PromptToken) -> dict[str, Any]:
    text, logprob = words.plain(token.bytes), formats.finite(token.logprob)
    return {"id": token.id, "text": text, "logprob": logprob}


def _top(token: Token, asked: Asked) -> list[dict[str, Any]]:
    return [
        {
            "id": top.id,
            "text": words.plain(top.bytes),
            "logprob": formats.finite(top.logprob),
            "special": top.id in asked.info.eos_token_ids,
        }
        for top in token.top
    ]


def _frames(run: Run, asked: Asked) -> Iterator[bytes]:
    """The last event has a token and the whole text: a token that may be the last one waits."""
    held: Token | None = None
    index = 0
    for event in run.events():
        match event:
            case None:
                yield words.PING
            case Token():
                if held is not None:
                    yield _frame(index, _entry(held, asked, held.text), held, asked)
                index, held = index + 1, event
                if not asked.params.stop and index < (asked.params.max_tokens or math.inf):
                    yield _frame(index, _entry(held, asked, held.text), held, asked)
                    held = None
            case Ended():
                if held is not None and event.reason == "end_of_text":
                    yield _frame(index, _entry(held, asked, held.text), held, asked)
                    held = None
                yield _last(index, held, event, run, asked)
            case Failed():
                message = failed(event).message
                yield words.data({"error": message, "error_type": "generation"})


def _frame(
    index: int, entry: dict[str, Any], token: Token | None, asked: Asked, **end: Any
) -> bytes:
    said: dict[str, Any] = {"index": index, "token": entry}
    if asked.top:
        said["top_tokens"] = [] if token is None else _top(token, asked)
    return words.data(said | {"generated_text": None, "details": None} | end)


def _last(index: int, held: Token | None, event: Ended, run: Run, asked: Asked) -> bytes:
    choice = run.choices[0]
    if held is not None:
        entry = _entry(held, asked, held.text + event.text)
    else:
        index, entry = index + 1, _end(asked, event.text)
    summary = _summary(event.reason, index, choice)
    return _frame(
        index,
        entry,
        held,
        asked,
        generated_text=asked.front + choice.text,
        details=summary | {"input_length": len(asked.ids)},
    )


# ---- tell


@tgi.get("/info")
def info() -> Response:
    """The model and its limits, as TGI's clients ask for them."""
    engine, model = service().engine.info(), service().model()
    return words.reply(
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
    return words.reply(
        [
            {"id": id, "text": text[start:end], "start": start, "stop": end}
            for id, (start, end) in zip(made.ids, made.offsets, strict=True)
        ]
    )
