"""KoboldAI's and koboldcpp's replies: results, or a message for each token."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from app.engine import Ended, Failed, Token, TopToken

from ...errors import Problem, failed
from ...native.reply import finite
from ...run.run import Choice, Run
from ...run.stream import Frames
from .. import shared

REASONS = {"length": "length", "deadline": "length"}  # all others are "stop"


class KoboldReason(msgspec.Struct):
    msg: str
    type: str


class KoboldRefusal(msgspec.Struct):
    detail: KoboldReason


class KoboldInvalid(msgspec.Struct):
    """With 422: the messages of each field."""

    detail: dict[str, list[str]]


def render(problem: Problem) -> tuple[int, KoboldRefusal | KoboldInvalid]:
    if problem.status == 422:
        return 422, KoboldInvalid({problem.field or "body": [problem.message]})
    status = 503 if problem.status == 429 else problem.status
    kind = "service_unavailable" if status == 503 else problem.kind
    return status, KoboldRefusal(KoboldReason(problem.message, kind))


class Alternative(msgspec.Struct):
    token: str
    logprob: float | None
    bytes: list[int]


class Entry(Alternative):
    top_logprobs: list[Alternative] = []


class Logprobs(msgspec.Struct):
    content: list[Entry]


class Result(msgspec.Struct):
    text: str
    finish_reason: str
    logprobs: Logprobs | None
    prompt_tokens: int
    completion_tokens: int


class Results(msgspec.Struct):
    results: list[Result]


class Message(msgspec.Struct):
    """Of a stream."""

    token: str
    finish_reason: str | None
    top_logprobs: list[Alternative] | UnsetType = UNSET


class Progress(msgspec.Struct):
    text: str


class ProgressResults(msgspec.Struct):
    results: list[Progress]


class Aborted(msgspec.Struct):
    success: str  # the string "true" or "false", as in koboldcpp
    done: str = "true"


class LastLogprobs(msgspec.Struct):
    logprobs: Logprobs | None


class Version(msgspec.Struct):
    """Of koboldcpp, and which of its features are missing."""

    protected: bool  # whether a key is needed
    version: str
    result: str = "KoboldCpp"
    txt2img: bool = False
    vision: bool = False
    transcribe: bool = False
    multiplayer: bool = False
    websearch: bool = False
    tts: bool = False
    embeddings: bool = False


class Story(msgspec.Struct):
    """To begin with; empty: there is none."""


class Perf(msgspec.Struct):
    """How busy the engine is, and how its last request went, in seconds."""

    total_gens: int
    queue: int
    idle: int
    uptime: float
    last_process: float = 0.0  # for the prompt
    last_eval: float = 0.0  # for each token
    last_token_count: int = 0
    last_seed: int | None = -1
    stop_reason: int = -1  # one of STOP_REASONS


class Value(msgspec.Struct):
    value: int | str


class Name(msgspec.Struct):
    result: str


class Counted(msgspec.Struct):
    value: int
    ids: list[int]


class Decoded(msgspec.Struct):
    result: str
    success: bool = True


def results(run: Run) -> Results:
    assert run.usage is not None
    n_prompt = run.usage.prompt_tokens
    return Results(
        [
            Result(
                choice.text,
                REASONS.get(choice.reason or "", "stop"),
                logprobs(choice, run),
                n_prompt,
                len(choice.ids),
            )
            for choice in run.choices
        ]
    )


def logprobs(choice: Choice, run: Run) -> Logprobs | None:
    if run.params.logprobs is None:
        return None
    return Logprobs([_entry(token) for token in choice.tokens])


def _entry(token: Token) -> Entry:
    logprob = finite(token.logprob)
    return Entry(shared.plain(token.bytes), logprob, list(token.bytes), _top(token.top))


def _top(tops: list[TopToken]) -> list[Alternative]:
    return [Alternative(shared.plain(t.bytes), finite(t.logprob), list(t.bytes)) for t in tops]


class Messages(Frames):
    def __init__(self, run: Run) -> None:
        self._has_logprobs = run.params.logprobs is not None

    def token(self, event: Token) -> bytes:
        if self._has_logprobs:
            return _data(Message(event.text, None, _top(event.top)))
        return _data(Message(event.text, None)) if event.text else b""

    def ended(self, event: Ended) -> bytes:
        return _data(Message(event.text, REASONS.get(event.reason, "stop")))

    def failed(self, event: Failed) -> bytes:
        return _data(render(failed(event))[1])


def _data(value: Any) -> bytes:
    return b"event: message\n" + shared.data(value)
