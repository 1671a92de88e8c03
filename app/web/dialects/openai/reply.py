"""OpenAI's completion objects, whole or in chunks."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from app.engine import Ended, EngineError, Failed, PromptToken, Started, Token

from ...docs.openapi import VERSION
from ...errors import Problem, engine_problem, failed
from ...native.reply import ModelCard, finite
from ...native.spans import Spans
from ...run.run import Choice, Run
from ...run.stream import Frames, each
from .. import shared
from .request import CompletionRequest

DONE = b"data: [DONE]\n\n"

# Reasons that OpenAI lacks map to the closest one.
REASONS = {
    "length": "length",
    "deadline": "length",
    "stop": "stop",
    "end_of_text": "stop",
    "cancelled": "stop",
}

TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    503: "service_unavailable",
}


class OpenAIReason(msgspec.Struct):
    message: str
    type: str
    param: str | None
    code: str


class OpenAIRefusal(msgspec.Struct):
    error: OpenAIReason


def render(problem: Problem) -> tuple[int, OpenAIRefusal]:
    status = 400 if problem.status == 422 else problem.status
    kind = "server_error" if status >= 500 else "invalid_request_error"
    reason = OpenAIReason(problem.message, TYPES.get(status, kind), problem.field, problem.kind)
    return status, OpenAIRefusal(reason)


class Logprobs(msgspec.Struct):
    """Of a text's tokens. Offsets are in characters of the text returned."""

    tokens: list[str] = []
    token_logprobs: list[float | None] = []  # the prompt's first token has none
    top_logprobs: list[dict[str, float | None] | None] = []
    text_offset: list[int] = []

    def add(self, tokens: Iterable[Token | PromptToken], spans: Spans) -> "Logprobs":
        for token in tokens:
            self.tokens.append(_name(token.bytes))
            self.token_logprobs.append(finite(token.logprob))
            self.top_logprobs.append(_top(token))
            self.text_offset.append(spans.next(token.bytes)[0])
        return self


class CompletionChoice(msgspec.Struct, kw_only=True):
    index: int
    text: str
    logprobs: Logprobs | None = None
    finish_reason: str | None = None
    stop_reason: str | int | None | UnsetType = UNSET
    seed: int | None | UnsetType = UNSET


class CachedTokens(msgspec.Struct):
    cached_tokens: int


class Consumed(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens


class Completion(msgspec.Struct, kw_only=True):
    """A whole answer, or a chunk of one."""

    id: str
    object: str = "text_completion"
    created: int
    model: str
    system_fingerprint: str = f"continuo-{VERSION}"
    choices: list[CompletionChoice]
    usage: Consumed | None | UnsetType = UNSET


class ModelList(msgspec.Struct):
    data: list[ModelCard]
    object: str = "list"


class SpecialTokens(msgspec.Struct):
    eos_token: str
    bos_token: str
    pad_token: str


class Tokens(msgspec.Struct):
    count: int
    max_model_len: int
    tokens: Sequence[int]


def _completion(wanted: CompletionRequest, choices: list[CompletionChoice]) -> Completion:
    return Completion(id=wanted.id, created=wanted.created, model=wanted.info.name, choices=choices)


# ---- whole


def whole(runs: list[Run], wanted: CompletionRequest) -> Completion:
    choices: list[CompletionChoice] = []
    for run, front in zip(runs, wanted.fronts, strict=True):
        ranked = run.choices
        if wanted.params.n > wanted.n:
            ranked = sorted(ranked, key=shared.mean_logprob, reverse=True)[: wanted.n]
        choices += [_choice(len(choices) + k, c, run, front, wanted) for k, c in enumerate(ranked)]
    completion = _completion(wanted, choices)
    completion.usage = usage_of(runs)
    return completion


def _choice(
    index: int, choice: Choice, run: Run, front: str, wanted: CompletionRequest
) -> CompletionChoice:
    logprobs = None
    if wanted.logprobs is not None:
        logprobs = _prompt_logprobs(run) if wanted.echo else Logprobs()
        logprobs.add(choice.tokens, Spans(len(front), len))
    return CompletionChoice(
        index=index,
        text=front + choice.text,
        logprobs=logprobs,
        finish_reason=REASONS[choice.reason or "cancelled"],
        stop_reason=choice.stop,
        seed=choice.seed,
    )


def _prompt_logprobs(run: Run) -> Logprobs:
    prompt = None if run.started is None else run.started.prompt
    return Logprobs().add(prompt or (), Spans(0, len))


# ---- in chunks


def stream(first: Run, rest: Iterable[Run], wanted: CompletionRequest) -> Iterator[bytes]:
    """The runs one after another, the usage if wanted, and [DONE]."""
    chunks = Chunks(wanted)
    try:
        yield from each(first, chunks.of(first))
        for run in rest:
            if chunks.has_failed:
                break
            yield from each(run, chunks.of(run))
    except EngineError as error:  # the engine has no room for the next prompt
        yield error_frame(engine_problem(error))
    else:
        yield chunks.usage()
    yield DONE


class Chunks(Frames):
    """The chunks of one answer: of its runs, one after another."""

    def __init__(self, wanted: CompletionRequest) -> None:
        self._wanted = wanted
        self._runs: list[Run] = []
        self._spans: list[Spans] = []  # of the latest run's continuations
        self.has_failed = False

    def of(self, run: Run) -> "Chunks":
        """Go on with this run."""
        self._runs.append(run)
        return self

    def started(self, event: Started) -> bytes:
        run, wanted = self._runs[-1], self._wanted
        front = wanted.fronts[len(self._runs) - 1]
        self._spans = [Spans(len(front), len) for _ in run.choices]
        if not wanted.echo:
            return b""
        logprobs = _prompt_logprobs(run) if wanted.logprobs is not None else None
        return b"".join(self._chunk(k, front, logprobs=logprobs) for k in range(wanted.n))

    def token(self, event: Token) -> bytes:
        if self._wanted.logprobs is not None:
            logprobs = Logprobs().add([event], self._spans[event.choice])
            return self._chunk(event.choice, event.text, logprobs=logprobs)
        return self._chunk(event.choice, event.text) if event.text else b""

    def ended(self, event: Ended) -> bytes:
        return self._chunk(
            event.choice,
            event.text,
            finish_reason=REASONS[event.reason],
            stop_reason=event.stop,
            seed=self._runs[-1].choices[event.choice].seed,
        )

    def failed(self, event: Failed) -> bytes:
        self.has_failed = True
        return error_frame(failed(event))

    def usage(self) -> bytes:
        """The last chunk, if wanted."""
        if not self._wanted.include_usage or self.has_failed:
            return b""
        chunk = _completion(self._wanted, [])
        chunk.usage = usage_of(self._runs)
        return shared.data(chunk)

    def _chunk(self, k: int, text: str, **more: Any) -> bytes:
        index = (len(self._runs) - 1) * self._wanted.n + k
        chunk = _completion(self._wanted, [CompletionChoice(index=index, text=text, **more)])
        if self._wanted.include_usage:
            chunk.usage = usage_of(self._runs) if self._wanted.continuous_usage else None
        return shared.data(chunk)


def error_frame(problem: Problem) -> bytes:
    error = {"message": problem.message, "type": "server_error", "param": None}
    return shared.data({"error": error | {"code": problem.status}})


# ---- for both


def usage_of(runs: list[Run]) -> Consumed:
    """The usage so far."""
    started = [run.started for run in runs if run.started is not None]
    prompt = sum(s.prompt_tokens for s in started)
    written = sum(len(choice.ids) for run in runs for choice in run.choices)
    cached = CachedTokens(sum(s.cached_tokens for s in started))
    return Consumed(prompt, written, prompt + written, cached)


def _top(token: Token | PromptToken) -> dict[str, float | None] | None:
    if token.logprob is None:
        return None
    return {_name(top.bytes): finite(top.logprob) for top in shared.with_chosen(token)}


def _name(token: bytes) -> str:
    """A token's text; OpenAI's form for bytes that are none alone, so that names differ."""
    piece = shared.piece(token)
    if isinstance(piece, str):
        return piece
    return "bytes:" + "".join(f"\\x{byte:02x}" for byte in piece)
