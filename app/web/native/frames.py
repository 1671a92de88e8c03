"""The native API's streams: events as they happen, as JSON lines, or the text alone.

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

from collections.abc import Iterator

import msgspec
from msgspec import UNSET, UnsetType

from app.engine import Ended, Failed, Finished, Queued, Slid, Started, Token

from ..errors import CutOff
from ..run.run import Run
from ..run.stream import Frames, each
from .reply import Alternative, Entry, context_start, entry, prompt_logprobs, summary
from .spans import Spans

RED, PLAIN = b"\x1b[31m", b"\x1b[0m"


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
        return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(event))

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
            context_start=context_start(self._run),
        )
        if (prompt := prompt_logprobs(self._run)) is not None:
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
        return self.write("done", summary(self._run))

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
        return b'{"event":"%s",%s\n' % (name.encode(), msgspec.json.encode(event)[1:])


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
