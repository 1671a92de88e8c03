"""llama.cpp's replies: whole, or in parts and a summary."""

import math
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from app.engine import Ended, Failed, Finished, Params, Token, TopToken

from ...errors import Problem, failed
from ...native.reply import finite
from ...run.run import Run
from ...run.stream import Frames
from .. import shared
from .request import NAMES, CompletionRequest

STOP_TYPES = {"length": "limit", "deadline": "limit", "stop": "word", "end_of_text": "eos"}

TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "unavailable_error",
    503: "unavailable_error",
}


class LlamaReason(msgspec.Struct):
    code: int
    message: str
    type: str


class LlamaRefusal(msgspec.Struct):
    error: LlamaReason


def render(problem: Problem) -> tuple[int, LlamaRefusal]:
    status = 400 if problem.status == 422 else problem.status
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return status, LlamaRefusal(LlamaReason(status, problem.message, TYPES.get(status, kind)))


class Alternative(msgspec.Struct, kw_only=True):
    id: int
    token: str
    bytes: list[int]
    logprob: float | UnsetType = UNSET
    prob: float | UnsetType = UNSET


class Probabilities(Alternative, kw_only=True):
    top_logprobs: list[Alternative] | UnsetType = UNSET
    top_probs: list[Alternative] | UnsetType = UNSET


class Speeds(msgspec.Struct, kw_only=True):
    cache_n: int
    prompt_n: int
    prompt_ms: float
    prompt_per_token_ms: float
    prompt_per_second: float
    predicted_n: int
    predicted_ms: float
    predicted_per_token_ms: float
    predicted_per_second: float


class Part(msgspec.Struct, kw_only=True):
    """A token of a stream."""

    index: int = 0
    content: str
    tokens: list[int]
    stop: bool = False
    id_slot: int = 0
    tokens_predicted: int
    tokens_evaluated: int
    completion_probabilities: list[Probabilities] | UnsetType = UNSET


class Final(Part, kw_only=True):
    """A whole reply, or the summary at a stream's end."""

    model: str
    generation_settings: dict[str, Any]
    prompt: str
    has_new_line: bool
    truncated: bool
    stop_type: str
    stopping_word: str
    tokens_cached: int
    timings: Speeds


class Slot(msgspec.Struct):
    id: int
    n_ctx: int
    is_processing: bool


class DefaultSettings(msgspec.Struct):
    n_ctx: int
    params: dict[str, Any]


class Props(msgspec.Struct):
    default_generation_settings: DefaultSettings
    total_slots: int
    model_path: str
    build_info: str
    chat_template: str = ""


class Piece(msgspec.Struct):
    id: int
    piece: str | list[int]  # as bytes if they are not text on their own


class Tokens(msgspec.Struct):
    tokens: list[int | Piece]


def whole(run: Run, wanted: CompletionRequest, index: int) -> Any:
    return _filtered(_final(run, wanted, run.text, run.choices[0].tokens, index), wanted)


def _final(
    run: Run, wanted: CompletionRequest, content: str, tokens: list[Token], index: int = 0
) -> Final:
    choice, usage = run.choices[0], run.usage
    assert usage is not None
    n_written = len(choice.ids)
    at_start = run.started is not None and run.started.truncated
    return Final(
        index=index,
        content=content,
        tokens=[token.id for token in tokens] if wanted.with_ids else [],
        stop=True,
        model=run.model,
        tokens_predicted=n_written,
        tokens_evaluated=usage.prompt_tokens,
        generation_settings=settings(run.params, wanted.samplers) | {"seed": choice.seed},
        prompt=wanted.texts[index],
        has_new_line="\n" in choice.text,
        truncated=at_start or choice.dropped_tokens > 0,
        stop_type=STOP_TYPES.get(choice.reason or "", "none"),
        stopping_word=choice.stop if isinstance(choice.stop, str) else "",
        tokens_cached=max(0, usage.prompt_tokens + n_written - 1),
        timings=_speeds(run, n_written),
        completion_probabilities=_probabilities(tokens, wanted),
    )


def _filtered(final: Final, wanted: CompletionRequest) -> Any:
    """Only the requested fields; nested ones by their last name:
    "generation_settings/n_predict" -> {"n_predict": ...}."""
    if not wanted.response_fields:
        return final
    everything, chosen = msgspec.to_builtins(final), {}
    for path in wanted.response_fields:
        value, *names = everything, *path.split("/")
        for name in names:
            value = value.get(name, UNSET) if isinstance(value, dict) else UNSET
        if value is not UNSET:
            chosen[names[-1]] = value
    return chosen


def settings(p: Params, samplers: list[str]) -> dict[str, Any]:
    return {theirs[0]: getattr(p, ours) for ours, theirs in NAMES.items()} | {"samplers": samplers}


def _speeds(run: Run, n: int) -> Speeds:
    assert run.timings is not None and run.usage is not None
    new = run.usage.prompt_tokens - run.usage.cached_tokens
    prompt_ms, speed = run.timings.prefill_ms, run.timings.tokens_per_s
    return Speeds(
        cache_n=run.usage.cached_tokens,
        prompt_n=new,
        prompt_ms=prompt_ms,
        prompt_per_token_ms=prompt_ms / max(1, new),
        prompt_per_second=1000 * new / prompt_ms if prompt_ms else 0.0,
        predicted_n=n,
        predicted_ms=1000 * n / speed if speed else 0.0,
        predicted_per_token_ms=1000 / speed if speed else 0.0,
        predicted_per_second=speed,
    )


def _probabilities(
    tokens: Iterable[Token], wanted: CompletionRequest
) -> list[Probabilities] | UnsetType:
    """An empty list without tokens, which mikupad relies on. Under either name the probabilities
    are the model's own, before sampling."""
    if wanted.params.logprobs is None:
        return UNSET
    return [_of(token, wanted) for token in tokens]


def _of(token: Token, wanted: CompletionRequest) -> Probabilities:
    tops = [_alternative(Alternative, top, wanted) for top in token.top]
    name = "top_probs" if wanted.as_probabilities else "top_logprobs"
    return _alternative(Probabilities, token, wanted, **{name: tops})


def _alternative(kind: Any, token: Token | TopToken, wanted: CompletionRequest, **more: Any) -> Any:
    logprob = finite(token.logprob) or 0.0
    value = {"prob": math.exp(logprob)} if wanted.as_probabilities else {"logprob": logprob}
    return kind(
        id=token.id, token=shared.plain(token.bytes), bytes=list(token.bytes), **value, **more
    )


class Parts(Frames):
    def __init__(self, run: Run, wanted: CompletionRequest) -> None:
        self._run, self._wanted = run, wanted
        self._rest = ""  # of the text, known only at the end

    def token(self, event: Token) -> bytes:
        run = self._run
        assert run.started is not None
        return shared.data(
            Part(
                content=event.text,
                tokens=[event.id],
                tokens_predicted=len(run.choices[0].ids),
                tokens_evaluated=run.started.prompt_tokens,
                completion_probabilities=_probabilities([event], self._wanted),
            )
        )

    def ended(self, event: Ended) -> bytes:
        self._rest = event.text
        return b""

    def finished(self, event: Finished) -> bytes:
        final = _final(self._run, self._wanted, self._rest, [])
        return shared.data(_filtered(final, self._wanted))

    def failed(self, event: Failed) -> bytes:
        return shared.data(render(failed(event))[1])
