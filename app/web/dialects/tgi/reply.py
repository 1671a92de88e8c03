"""Text Generation Inference's replies: whole, or as events of which the last has everything."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from app.engine import Ended, Failed, PromptToken, Token, TopToken

from ...errors import Problem, failed
from ...native.reply import finite
from ...run.run import Choice, Run
from ...run.stream import Frames
from .. import shared
from .request import TgiRequest

REASONS = {"length": "length", "deadline": "length", "end_of_text": "eos_token"}

TYPES = {422: "validation", 424: "generation", 429: "overloaded"}


class TgiRefusal(msgspec.Struct):
    error: str
    error_type: str


def render(problem: Problem) -> tuple[int, TgiRefusal]:
    status = {400: 422, 500: 424}.get(problem.status, problem.status)
    return status, TgiRefusal(problem.message, TYPES.get(status, problem.kind))


class TgiToken(msgspec.Struct):
    id: int
    text: str
    logprob: float | None
    special: bool


class Prefill(msgspec.Struct):
    id: int
    text: str
    logprob: float | None


class Details(msgspec.Struct, kw_only=True, omit_defaults=False):
    generated_text: str | UnsetType = UNSET  # of the others, in best_of_sequences
    finish_reason: str
    generated_tokens: int
    seed: int | None
    prefill: list[Prefill] | UnsetType = UNSET
    tokens: list[TgiToken] | UnsetType = UNSET
    top_tokens: list[list[TgiToken]] | UnsetType = UNSET
    best_of_sequences: list["Details"] | UnsetType = UNSET
    input_length: int | UnsetType = UNSET  # at the end of a stream


class Generated(msgspec.Struct):
    generated_text: str
    details: Details | UnsetType = UNSET


class Info(msgspec.Struct, kw_only=True):
    model_id: str
    model_sha: str | None = None
    model_dtype: str
    model_device_type: str
    model_pipeline_tag: str = "text-generation"
    max_concurrent_requests: int
    max_best_of: int
    max_stop_sequences: int
    max_input_tokens: int
    max_total_tokens: int
    max_client_batch_size: int = 1
    router: str = "continuo"
    version: str
    sha: str | None = None
    docker_label: str | None = None
    backend: str
    precision: str
    cache: "Cache"
    card: dict[str, Any] | None  # not TGI's: the model's card


class Cache(msgspec.Struct):
    precision: str
    bytes: int


class Place(msgspec.Struct):
    """A token, and where it is in the text."""

    id: int
    text: str
    start: int
    stop: int


class Message(msgspec.Struct, kw_only=True):
    """Of a stream."""

    index: int
    token: TgiToken
    top_tokens: list[TgiToken] | UnsetType = UNSET
    generated_text: str | None = None
    details: Details | None = None


# ---- whole


def whole(run: Run, wanted: TgiRequest) -> Generated:
    """The likeliest continuation; the others are in the details."""
    best, *others = sorted(run.choices, key=shared.mean_logprob, reverse=True)
    generated = Generated(wanted.front + best.text)
    if wanted.details:
        generated.details = _details(best, run, wanted)
        if others:
            generated.details.best_of_sequences = [_details(c, run, wanted) for c in others]
            for choice, details in zip(others, generated.details.best_of_sequences, strict=True):
                details.generated_text = wanted.front + choice.text
    return generated


def _details(choice: Choice, run: Run, wanted: TgiRequest) -> Details:
    tokens = [_token(token, wanted) for token in choice.tokens]
    if choice.reason == "end_of_text":
        tokens.append(_end(wanted, choice.end_logprob))
    details = _summary(choice.reason, len(tokens), choice)
    details.tokens, details.prefill = tokens, []
    if wanted.prefill and run.started is not None:
        details.prefill = [_prefill(token) for token in run.started.prompt or ()]
    if wanted.top:
        details.top_tokens = [_top(token, wanted) for token in choice.tokens]
    return details


def _summary(reason: str | None, n_tokens: int, choice: Choice) -> Details:
    return Details(
        finish_reason=REASONS.get(reason or "", "stop_sequence"),
        generated_tokens=n_tokens,
        seed=choice.seed,
    )


def _token(token: Token | TopToken, wanted: TgiRequest, text: str | None = None) -> TgiToken:
    return TgiToken(
        token.id,
        shared.plain(token.bytes) if text is None else text,
        finite(token.logprob),
        token.id in wanted.info.eos_token_ids,
    )


def _end(wanted: TgiRequest, logprob: float | None, text: str = "") -> TgiToken:
    """The token that ended the text: TGI counts it, and its clients skip special tokens."""
    return TgiToken(wanted.info.eos_token_ids[0], text, finite(logprob), True)


def _prefill(token: PromptToken) -> Prefill:
    return Prefill(token.id, shared.plain(token.bytes), finite(token.logprob))


def _top(token: Token, wanted: TgiRequest) -> list[TgiToken]:
    return [_token(top, wanted) for top in token.top]


# ---- by events


class Messages(Frames):
    """The last event has a token and the whole text, so each token waits for the next event."""

    def __init__(self, run: Run, wanted: TgiRequest) -> None:
        self._run, self._wanted = run, wanted
        self._held: Token | None = None
        self._index = 0  # of the held token

    def token(self, event: Token) -> bytes:
        before = self._release()
        self._held, self._index = event, self._index + 1
        return before

    def _release(self) -> bytes:
        held, self._held = self._held, None
        if held is None:
            return b""
        return self._message(held, _token(held, self._wanted, held.text))

    def _message(self, token: Token | None, entry: TgiToken, **end: Any) -> bytes:
        message = Message(index=self._index, token=entry, **end)
        if self._wanted.top:
            message.top_tokens = [] if token is None else _top(token, self._wanted)
        return shared.data(message)

    def ended(self, event: Ended) -> bytes:
        before = self._release() if event.reason == "end_of_text" else b""
        choice, held = self._run.choices[0], self._held
        if held is None:
            self._index += 1
            entry = _end(self._wanted, event.logprob, event.text)
        else:
            entry = _token(held, self._wanted, held.text + event.text)
        details = _summary(event.reason, self._index, choice)
        details.input_length = len(self._wanted.ids)
        text = self._wanted.front + choice.text
        return before + self._message(held, entry, generated_text=text, details=details)

    def failed(self, event: Failed) -> bytes:
        error = {"error": failed(event).message, "error_type": "generation"}
        return self._release() + shared.data(error)
