"""Runs -> what llama.cpp's server answers: whole, or in parts and a summary."""

import math
from collections.abc import Iterator
from typing import Any

import msgspec

from app.engine import Ended, Failed, Finished, ModelInfo, Params, Token, TopToken

from ...errors import Problem, failed
from ...native import reply as formats
from ...run.run import Run
from .. import shared as words

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


def whole(run: Run, asked: Asked, index: int) -> dict[str, Any]:
    return _final(run, asked, run.text, run.choices[0].tokens, index)


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
        "generation_settings": settings(run.params) | {"seed": choice.seed},
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


def settings(p: Params) -> dict[str, Any]:
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
    """Whenever they are asked for, even of no token: mikupad counts on the list."""
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


def stream(run: Run, asked: Asked) -> Iterator[bytes]:
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
