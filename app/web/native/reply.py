"""The native API's replies: whole as JSON, or streamed as events, lines or plain text.

The events, the same for text/event-stream and application/x-ndjson:

    queue  {ahead, wait_ms}
    start  {id, model, seeds, prompt_tokens, cached_tokens, truncated, dropped_tokens,
            context_start, prompt_logprobs?}
    token  {index, id, text, dropped_tokens?, and with logprobs: bytes, logprob, start, end, top}
           The last one of a continuation has id null, the rest of the text, finish_reason and
           stop. The texts, joined, are the continuation.
    done   the whole reply without the texts
    error  {type, message, retry_after_ms?}
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from app.engine import (
    Ended,
    Failed,
    Finished,
    ModelInfo,
    Parameter,
    PromptToken,
    Queued,
    Slid,
    Started,
    Timings,
    Token,
    TopToken,
    Usage,
)

from ..errors import CutOff
from ..run.run import Choice, Run
from ..run.stream import Frames, each
from ..service import service
from .spans import Spans, utf16_length

LEAST_LOGPROB = -9999.0  # JSON has no infinity

RED, PLAIN = b"\x1b[31m", b"\x1b[0m"


def encode(value: Any) -> bytes:
    return msgspec.json.encode(value)


def finite(logprob: float | None) -> float | None:
    return None if logprob is None else max(logprob, LEAST_LOGPROB)


# ---- tokens and how likely they were


class Alternative(msgspec.Struct):
    id: int
    text: str
    logprob: float | None


class Entry(msgspec.Struct):
    """A token, and where it is in the text, in UTF-16 units."""

    id: int
    text: str
    bytes: list[int]
    logprob: float | None
    start: int
    end: int
    top: list[Alternative]


def entry(token: Token | PromptToken, spans: Spans) -> Entry:
    start, end = spans.next(token.bytes)
    return Entry(
        token.id,
        token.bytes.decode("utf-8", "replace"),
        list(token.bytes),
        finite(token.logprob),
        start,
        end,
        [alternative(top) for top in token.top],
    )


def alternative(top: TopToken) -> Alternative:
    return Alternative(top.id, top.bytes.decode("utf-8", "replace"), finite(top.logprob))


def _entries(tokens: Sequence[Token | PromptToken], start: int) -> list[Entry]:
    spans = Spans(start)
    return [entry(token, spans) for token in tokens]


# ---- whole


class Continuation(msgspec.Struct, kw_only=True):
    index: int
    text: str | UnsetType = UNSET
    logprobs: list[Entry] | None | UnsetType = UNSET
    finish_reason: str | None  # length | stop | end_of_text | deadline | cancelled
    stop: str | int | None
    tokens: list[int]
    seed: int | None


class Reply(msgspec.Struct, kw_only=True):
    id: str
    model: str
    prompt: str | Sequence[int] | UnsetType = UNSET
    text: str | UnsetType = UNSET
    seed: int | None
    finish_reason: str | None
    continuations: list[Continuation]
    usage: Usage | None
    timings: Timings | None
    prompt_logprobs: list[Entry] | None
    truncated: bool
    dropped_tokens: int
    context_start: int
    warnings: list[str]


class Results(msgspec.Struct):
    """For a list of prompts: a reply for each, in order."""

    results: list[Reply]


def whole(run: Run, include_prompt: bool = False) -> Reply:
    prompt = run.prompt if isinstance(run.prompt, str) else ""
    front = prompt if include_prompt else ""
    reply = _summary(run)
    reply.prompt, reply.text = run.prompt, front + run.text
    for choice, continuation in zip(run.choices, reply.continuations, strict=True):
        continuation.text = front + choice.text
        continuation.logprobs = None
        if run.params.logprobs is not None:
            continuation.logprobs = _entries(choice.tokens, utf16_length(front))
    return reply


def _summary(run: Run) -> Reply:
    first, started = run.choices[0], run.started  # None: cancelled while it was queued
    return Reply(
        id=run.id,
        model=run.model,
        seed=first.seed,
        finish_reason=first.reason,
        continuations=[_continuation(choice) for choice in run.choices],
        usage=run.usage,
        timings=run.timings,
        prompt_logprobs=_prompt_logprobs(run),
        truncated=started is not None and started.truncated,
        dropped_tokens=_dropped(run),
        context_start=_context_start(run),
        warnings=_warnings(run),
    )


def _continuation(choice: Choice) -> Continuation:
    return Continuation(
        index=choice.index,
        finish_reason=choice.reason,
        stop=choice.stop,
        tokens=choice.ids,
        seed=choice.seed,
    )


def _warnings(run: Run) -> list[str]:
    warnings, started = [], run.started
    if started is not None and started.truncated:
        warnings.append(
            f"The prompt is longer than the model's window: its first {started.dropped_tokens} "
            "tokens were not read."
        )
    slid = max(choice.dropped_tokens for choice in run.choices)
    if slid:
        warnings.append(
            f"The text outgrew the model's window: its first {slid} tokens are no longer seen."
        )
    return warnings


def _dropped(run: Run) -> int:
    at_start = 0 if run.started is None else run.started.dropped_tokens
    return at_start + max(choice.dropped_tokens for choice in run.choices)


def _context_start(run: Run) -> int:
    """From the engine's characters to UTF-16 units."""
    start = 0 if run.started is None else run.started.context_start
    return utf16_length(run.prompt[:start]) if isinstance(run.prompt, str) else start


def _prompt_logprobs(run: Run) -> list[Entry] | None:
    if run.started is None or run.started.prompt is None:
        return None
    return _entries(run.started.prompt, _context_start(run))


class Score(msgspec.Struct):
    logprob: float | None
    bits: float
    bits_per_char: float | None
    tokens: list[Entry]


class Scores(msgspec.Struct):
    results: list[Score]


def score(tokens: list[PromptToken], text: str) -> Score:
    logprob = sum(token.logprob or 0.0 for token in tokens)
    bits = -logprob / math.log(2)
    per_char = bits / len(text) if text else None
    return Score(finite(logprob), bits, per_char, _entries(tokens, 0))


class Tokens(msgspec.Struct):
    count: int
    tokens: list[int]
    offsets: list[list[int]]  # of each token: start and end, in UTF-16 units


class Detokenized(msgspec.Struct):
    text: str
    content: str  # the same, for llama.cpp's clients
    prompt: str  # the same, for vLLM's


class ModelCard(msgspec.Struct):
    """As OpenAI describes a model."""

    id: str
    created: int
    max_model_len: int
    object: str = "model"
    owned_by: str = "continuo"


def card(info: ModelInfo) -> ModelCard:
    return ModelCard(info.name, service().began, info.n_positions)


class ServedModel(msgspec.Struct):
    name: str
    parameters: int
    window: int
    precision: str
    loss_by_quantization: float | None
    about: str
    card: dict[str, Any] | None  # how it introduces itself


class Models(msgspec.Struct):
    default: str
    models: list[ServedModel]
    data: list[ModelCard]  # the same in OpenAI's form, since clients of llama.cpp ask here too
    object: str = "list"


def models(infos: Sequence[ModelInfo]) -> Models:
    return Models(
        infos[0].name,
        [
            ServedModel(
                info.name,
                info.n_parameters,
                info.n_positions,
                info.precision,
                info.perplexity_loss,
                info.about,
                info.card,
            )
            for info in infos
        ],
        [card(info) for info in infos],
    )


class Parameters(msgspec.Struct):
    parameters: Sequence[Parameter]


class Cancelled(msgspec.Struct):
    id: str
    cancelled: bool = True


# ---- as it comes


class QueueEvent(msgspec.Struct):
    ahead: int
    wait_ms: int


class StartEvent(msgspec.Struct, kw_only=True):
    id: str
    model: str
    seeds: list[int]
    prompt_tokens: int
    cached_tokens: int
    truncated: bool
    dropped_tokens: int
    context_start: int
    prompt_logprobs: list[Entry] | UnsetType = UNSET


class TokenEvent(msgspec.Struct, kw_only=True):
    index: int
    id: int | None  # null at the continuation's end
    text: str  # what has become certain, rather than the token's own text
    bytes: list[int] | UnsetType = UNSET
    logprob: float | None | UnsetType = UNSET
    start: int | UnsetType = UNSET
    end: int | UnsetType = UNSET
    top: list[Alternative] | UnsetType = UNSET
    dropped_tokens: int | UnsetType = UNSET
    finish_reason: str | UnsetType = UNSET
    stop: str | int | None | UnsetType = UNSET


class ErrorEvent(msgspec.Struct):
    type: str
    message: str
    retry_after_ms: int | UnsetType = UNSET


class Events(Frames):
    """As server-sent events."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._spans = [Spans() for _ in run.choices]
        self._dropped = [0 for _ in run.choices]  # since the latest token

    def write(self, name: str, event: msgspec.Struct) -> bytes:
        return b"event: %s\ndata: %s\n\n" % (name.encode(), encode(event))

    def queued(self, event: Queued) -> bytes:
        return self.write("queue", QueueEvent(event.ahead, round(event.wait_s * 1000)))

    def started(self, event: Started) -> bytes:
        start = StartEvent(
            id=self._run.id,
            model=self._run.model,
            seeds=event.seeds,
            prompt_tokens=event.prompt_tokens,
            cached_tokens=event.cached_tokens,
            truncated=event.truncated,
            dropped_tokens=event.dropped_tokens,
            context_start=_context_start(self._run),
        )
        if (prompt := _prompt_logprobs(self._run)) is not None:
            start.prompt_logprobs = prompt
        return self.write("start", start)

    def slid(self, event: Slid) -> bytes:
        self._dropped[event.choice] += event.dropped_tokens
        return b""

    def token(self, event: Token) -> bytes:
        token = TokenEvent(index=event.choice, id=event.id, text=event.text)
        if self._run.params.logprobs is not None:
            full = entry(event, self._spans[event.choice])
            token.bytes, token.logprob, token.top = full.bytes, full.logprob, full.top
            token.start, token.end = full.start, full.end
        if self._dropped[event.choice]:
            token.dropped_tokens, self._dropped[event.choice] = self._dropped[event.choice], 0
        return self.write("token", token)

    def ended(self, event: Ended) -> bytes:
        last = TokenEvent(index=event.choice, id=None, text=event.text)
        last.finish_reason, last.stop = event.reason, event.stop
        return self.write("token", last)

    def finished(self, event: Finished) -> bytes:
        return self.write("done", _summary(self._run))

    def failed(self, event: Failed) -> bytes:
        error = ErrorEvent(event.kind, event.message)
        if event.retry_after is not None:
            error.retry_after_ms = round(event.retry_after * 1000)
        return self.write("error", error)


class Lines(Events):
    """The same as one JSON object on each line; an empty line as a ping."""

    def ping(self) -> bytes:
        return b"\n"

    def write(self, name: str, event: msgspec.Struct) -> bytes:
        return b'{"event":"%s",%s\n' % (name.encode(), encode(event)[1:])


class Plain(Frames):
    """The first continuation's text, as it becomes certain."""

    def ping(self) -> bytes:
        return b""

    def token(self, event: Token) -> bytes:
        return event.text.encode() if event.choice == 0 else b""

    def ended(self, event: Ended) -> bytes:
        return event.text.encode() if event.choice == 0 else b""

    def failed(self, event: Failed) -> bytes:
        return b""


def plain(run: Run, include_prompt: bool, color: bool) -> Iterator[bytes]:
    """Only the first continuation. On a failure the connection breaks off: plain text has no other
    way to tell it from an end."""
    if include_prompt and isinstance(run.prompt, str):
        yield run.prompt.encode()
    if color:
        yield RED
    yield from each(run, Plain())
    if color:
        yield PLAIN
    if run.failure is not None:
        raise CutOff(run.failure.message)


def texts(run: Run) -> Iterator[str]:
    for piece in each(run, Plain()):
        yield piece.decode()
