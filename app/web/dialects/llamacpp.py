"""llama.cpp's server: /completion, /props and /slots, as mikupad and SillyTavern use them."""

import math
from collections.abc import Iterator
from typing import Any

import msgspec
from flask import Blueprint, Response, g, request

from app.engine import (
    PARAMETERS,
    Ended,
    Failed,
    Finished,
    ModelInfo,
    Params,
    Token,
    TopToken,
)

from .. import formats, openapi, schema, streaming
from ..errors import Problem, bad_value, failed
from ..service import service
from ..streaming import Prompt, Run
from . import words
from .words import Fields

llamacpp = Blueprint("llamacpp", __name__)

NAMES = {
    "max_tokens": ("n_predict", "max_tokens"),
    "temperature": ("temperature",),
    "top_k": ("top_k",),
    "top_p": ("top_p",),
    "min_p": ("min_p",),
    "typical_p": ("typical_p",),
    "repetition_penalty": ("repeat_penalty",),
    "presence_penalty": ("presence_penalty",),
    "frequency_penalty": ("frequency_penalty",),
    "penalty_range": ("repeat_last_n",),
    "stop": ("stop",),
    "seed": ("seed",),
    "logprobs": ("n_probs",),
}
DEFAULTS = {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05, "penalty_range": 64}

# What each of `samplers` stands for; one that is not in the list does not take part.
SAMPLERS: dict[str, dict[str, float]] = {
    "penalties": {"repetition_penalty": 1, "presence_penalty": 0, "frequency_penalty": 0},
    "top_k": {"top_k": 0},
    "typ_p": {"typical_p": 1},
    "top_p": {"top_p": 1},
    "min_p": {"min_p": 0},
    "temperature": {"temperature": 1},
}

MAX_BIASES = next(row.max_items or 0 for row in PARAMETERS if row.name == "logit_bias")

STOP_TYPES = {"length": "limit", "deadline": "limit", "stop": "word", "end_of_text": "eos"}

TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "unavailable_error",
    503: "unavailable_error",
}


def render(problem: Problem) -> tuple[int, Any]:
    status = 400 if problem.status == 422 else problem.status
    kind = "server_error" if status >= 500 else "invalid_request_error"
    said = {"code": status, "message": problem.message, "type": TYPES.get(status, kind)}
    return status, {"error": said}


class Asked(msgspec.Struct):
    """What POST /completion was asked for."""

    params: Params
    info: ModelInfo
    ids: bool  # tell the tokens' ids
    as_odds: bool  # as probabilities in place of logarithms


# ---- continue


@llamacpp.post("/completion")
@llamacpp.post("/completions")
@openapi.takes(
    {
        "prompt": {"description": "A text, its token ids, or both mixed; or a list of texts."},
        "stream": words.maybe(openapi.FLAG),
    }
    | words.described(NAMES),
    required=("prompt",),
)
@openapi.gives("application/json", "text/event-stream")
def completion() -> Response:
    """Continue a text, as llama.cpp's clients ask for it."""
    fields = words.read()
    words.refuse_grammars(fields)
    info = words.model(fields)
    asked = _asked(fields, info)
    prompts, is_list = _prompts(fields, info)
    if not schema.take(fields, "stream", bool, False):
        runs = streaming.collect_all(prompts, asked.params, info.name)
        said = [
            _final(run, asked, run.text, run.choices[0].tokens, i) for i, run in enumerate(runs)
        ]
        return words.reply(said if is_list else said[0])
    if len(prompts) > 1:
        raise bad_value("prompt", "One prompt at a time can be streamed.")
    run = streaming.start(prompts[0], asked.params, info.name)
    return streaming.respond(run, _frames(run, asked), "text/event-stream; charset=utf-8")


# ---- reading


def _prompts(fields: Fields, info: ModelInfo) -> tuple[list[Prompt], bool]:
    """Texts and ids mixed in one list are one prompt here; so is {"prompt_string": text}."""
    value = fields.get("prompt")
    if isinstance(value, dict):
        value = value.get("prompt_string")
    if not isinstance(value, list) or not {int, str} <= {type(part) for part in value}:
        return words.prompts({"prompt": value}, info)
    texts = sum(isinstance(part, str) for part in value)
    schema.check_count("prompt", texts, service().options.max_prompts)
    ids: list[int] = []
    for part in value:
        piece = words.prompt(part if isinstance(part, str) else [part], info)
        ids += words.tokens_of(piece, info)
    return [ids], False


def _asked(fields: Fields, info: ModelInfo) -> Asked:
    params = words.params(_settled(fields, info), NAMES, DEFAULTS)
    bias, banned = _biases(fields, info)
    max_time = schema.take(fields, "t_max_predict_ms", int, 0)
    params = msgspec.structs.replace(
        params,
        logprobs=params.logprobs or None,  # 0 is off
        logit_bias=bias,
        banned=banned,
        max_time=max_time / 1000 if max_time > 0 else None,
    )
    as_odds = schema.take(fields, "post_sampling_probs", bool, False)
    return Asked(params, info, schema.take(fields, "return_tokens", bool, False), as_odds)


def _settled(fields: Fields, info: ModelInfo) -> Fields:
    """The values that mean something of their own here, said in values that all know."""
    said = dict(fields)
    length, temperature = words.first(fields, NAMES["max_tokens"]), fields.get("temperature")
    if length is None or (isinstance(length, int) and length < 0):
        said["n_predict"] = info.n_positions  # endless, but for the server's own bound
    if isinstance(temperature, int | float) and temperature < 0:
        said["temperature"] = 0
    for name in _silent(fields):
        said |= {NAMES[ours][0]: neutral for ours, neutral in SAMPLERS[name].items()}
    return said


def _silent(fields: Fields) -> set[str]:
    """The samplers that do not take part."""
    named = schema.take(fields, "samplers", list, list(SAMPLERS))
    named = ["typ_p" if name == "typical_p" else name for name in named]
    silent = {name for name in SAMPLERS if name not in named}
    return silent | ({"penalties"} if fields.get("repeat_last_n") == 0 else set())


def _biases(fields: Fields, info: ModelInfo) -> tuple[dict[int, float], list[int | str]]:
    """[[id or text, bias or false], ...], or an object of the same; false bans."""
    value = fields.get("logit_bias") or []
    pairs = list(value.items()) if isinstance(value, dict) else value
    if not isinstance(pairs, list) or not all(_is_pair(pair) for pair in pairs):
        raise bad_value(
            "logit_bias", "logit_bias must be a list such as [[11, -1.5], [13, false]]."
        )
    schema.check_count("logit_bias", max(1, len(pairs)), MAX_BIASES)
    bias: dict[int, float] = {}
    banned: list[int | str] = []
    if schema.take(fields, "ignore_eos", bool, False):
        banned += info.eos_token_ids
    for token, amount in pairs:
        is_id = isinstance(token, int) or (isinstance(value, dict) and token.isdecimal())
        ids = [int(token)] if is_id else words.tokens_of(token, info)
        if amount is False:
            banned += ids
        else:
            bias |= {id: float(amount) for id in ids}
    return bias, banned


def _is_pair(pair: Any) -> bool:
    return (
        isinstance(pair, list | tuple)
        and len(pair) == 2
        and (type(pair[0]) in (int, str))
        and (pair[1] is False or type(pair[1]) in (int, float))
    )


# ---- saying


def _final(
    run: Run, asked: Asked, content: str, tokens: list[Token], index: int = 0
) -> dict[str, Any]:
    choice, usage = run.choices[0], run.usage
    assert usage is not None
    said = {
        "index": index,
        "content": content,
        "tokens": [token.id for token in tokens] if asked.ids else [],
        "id_slot": 0,
        "stop": True,
        "model": run.model,
        "tokens_predicted": len(choice.tokens),
        "tokens_evaluated": usage.prompt_tokens,
        "generation_settings": _settings(run.params) | {"seed": choice.seed},
        "prompt": words.text_of(run.prompt, asked.info),
        "has_new_line": "\n" in choice.text,
        "truncated": _is_truncated(run),
        "stop_type": STOP_TYPES.get(choice.reason or "", "none"),
        "stopping_word": choice.stop if isinstance(choice.stop, str) else "",
        "tokens_cached": max(0, usage.prompt_tokens + len(choice.tokens) - 1),
        "timings": _timings(run, len(choice.tokens)),
    }
    return said | _probabilities(tokens, asked)


def _is_truncated(run: Run) -> bool:
    at_start = run.started is not None and run.started.truncated
    return at_start or run.choices[0].dropped_tokens > 0


def _settings(p: Params) -> dict[str, Any]:
    said = {theirs[0]: getattr(p, ours) for ours, theirs in NAMES.items()}
    return said | {"samplers": list(SAMPLERS)}


def _timings(run: Run, n: int) -> dict[str, float]:
    assert run.timings is not None and run.usage is not None
    new = run.usage.prompt_tokens - run.usage.cached_tokens
    prompt_ms, speed = run.timings.prefill_ms, run.timings.tokens_per_s
    return {
        "cache_n": run.usage.cached_tokens,
        "prompt_n": new,
        "prompt_ms": prompt_ms,
        "prompt_per_token_ms": prompt_ms / max(1, new),
        "prompt_per_second": 1000 * new / prompt_ms if prompt_ms else 0.0,
        "predicted_n": n,
        "predicted_ms": 1000 * n / speed if speed else 0.0,
        "predicted_per_token_ms": 1000 / speed if speed else 0.0,
        "predicted_per_second": speed,
    }


def _probabilities(tokens: list[Token], asked: Asked) -> dict[str, Any]:
    """Whenever they are asked for, even of no token: mikupad does without only then."""
    if asked.params.logprobs is None:
        return {}
    return {"completion_probabilities": [_odds(token, asked) for token in tokens]}


def _odds(token: Token, asked: Asked) -> dict[str, Any]:
    """Odds are the model's own, before any sampling, under either name. `probs` is for clients of
    2024."""
    tops = [_one(top, asked) for top in token.top]
    old = [{"tok_str": words.plain(t.bytes), "prob": math.exp(t.logprob)} for t in token.top]
    names = ("top_probs" if asked.as_odds else "top_logprobs", "probs")
    return _one(token, asked) | dict(zip(names, (tops, old), strict=True))


def _one(token: Token | TopToken, asked: Asked) -> dict[str, Any]:
    said = {"id": token.id, "token": words.plain(token.bytes), "bytes": list(token.bytes)}
    logprob = formats.finite(token.logprob) or 0.0
    return said | ({"prob": math.exp(logprob)} if asked.as_odds else {"logprob": logprob})


def _frames(run: Run, asked: Asked) -> Iterator[bytes]:
    rest = ""  # of the text, known at the end only
    for event in run.events():
        match event:
            case None:
                yield words.PING
            case Token():
                yield words.data(_part(event, run, asked))
            case Ended():
                rest = event.text
            case Finished():
                yield words.data(_final(run, asked, rest, []))
            case Failed():
                yield words.data(render(failed(event))[1])


def _part(token: Token, run: Run, asked: Asked) -> dict[str, Any]:
    assert run.started is not None
    said = {
        "index": 0,
        "content": token.text,
        "tokens": [token.id],
        "stop": False,
        "id_slot": 0,
        "tokens_predicted": len(run.choices[0].tokens),
        "tokens_evaluated": run.started.prompt_tokens,
    }
    return said | _probabilities([token], asked)


# ---- tell


@llamacpp.get("/props")
def props() -> Response:
    """The model's window and the defaults, as llama.cpp's clients ask for them."""
    info = service().model()
    defaults = words.params({}, NAMES, DEFAULTS | {"max_tokens": info.n_positions})
    return words.reply(
        {
            "default_generation_settings": {
                "n_ctx": info.n_positions,
                "params": _settings(defaults),
            },
            "total_slots": service().engine.info().max_running,
            "model_path": info.name,
            "chat_template": "",
            "build_info": f"continuo {openapi.VERSION}",
        }
    )


@llamacpp.get("/slots")
def slots() -> Response:
    """How many continuations may run at a time, and which places are taken; no text."""
    engine = service().engine
    total, running = engine.info().max_running, engine.stats().running
    if request.args.get("fail_on_no_slot") == "1" and running >= total:
        raise Problem(503, "unavailable", "No slot is free.", retry_after=1.0)
    window = service().model().n_positions
    return words.reply(
        [{"id": i, "n_ctx": window, "is_processing": i < running} for i in range(total)]
    )


def tokenize(fields: Fields) -> Response:
    """POST /tokenize with content."""
    g.render_problem = render
    text = words.text(fields, "content")
    made = service().engine.tokenize(text)
    if not schema.take(fields, "with_pieces", bool, False):
        return words.reply({"tokens": made.ids})
    pairs = zip(made.ids, made.offsets, strict=True)
    return words.reply({"tokens": [{"id": id, "piece": text[a:b]} for id, (a, b) in pairs]})
