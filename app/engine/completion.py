"""One request's life, as its reader sees it: events to iterate, and a way to cancel.

    for event in completion:  # Queued*, Started, Token* with Slid between, Ended per choice,
        ...                   # Finished; or Failed at any point
    completion.next(0.2)      # one by one; None if nothing came in time
    completion.cancel()       # from any thread, in any phase

`engine.submit(prompt, params, model=None, id=None)` returns one; `engine.cancel(id)` ends it from
any process that shares the engine, and says whether it was there.

`submit` raises these, before there is anything to iterate:

    EngineError
    ├── UnknownModel    no model of that name is served
    ├── EngineBusy      the queue is full; knows when to try again
    └── EngineStopped   the engine is gone or going
    InvalidParams       a value out of bounds (parameters.py)

Imports no torch: a web worker holds these too.
"""

import queue
from collections.abc import Callable, Iterator
from types import TracebackType

import msgspec

MAX_UNREAD = 20_000  # events, some 10 MB or minutes of tokens; a reader this far behind is cut off


class EngineError(Exception):
    """Why the engine cannot take a request, in one sentence."""


class UnknownModel(EngineError):
    pass


class EngineBusy(EngineError):
    def __init__(self, message: str, retry_after: float, ahead: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after  # seconds, from measured speed
        self.ahead = ahead  # requests waiting before this one


class EngineStopped(EngineError):
    pass


class Event(msgspec.Struct, frozen=True, tag=True):
    pass


class Queued(Event, frozen=True):
    ahead: int  # requests before this one
    wait_s: float  # estimated, from measured speed


class TopToken(msgspec.Struct, frozen=True):
    id: int
    bytes: bytes
    logprob: float


class PromptToken(msgspec.Struct, frozen=True):
    """A token of the prompt and how likely it was; the first has no logprob."""

    id: int
    bytes: bytes
    logprob: float | None
    top: list[TopToken]


class Started(Event, frozen=True):
    prompt_tokens: int
    cached_tokens: int  # of these, those found in the cache
    truncated: bool  # the prompt was longer than the window, so its beginning was dropped
    dropped_tokens: int
    context_start: int  # the first character of the prompt that the model saw
    seeds: list[int]  # of each choice
    prompt: list[PromptToken] | None = None  # with prompt_logprobs


class Token(Event, frozen=True):
    choice: int
    id: int
    text: str  # "" while held back: half a character, or what may begin a stop text
    bytes: bytes
    logprob: float | None
    top: list[TopToken]


class Slid(Event, frozen=True):
    """The window moved: the oldest tokens are no longer seen."""

    choice: int
    dropped_tokens: int


class Ended(Event, frozen=True):
    choice: int
    reason: str  # length | stop | end_of_text | deadline | cancelled
    stop: str | int | None = None  # the stop text or token that ended it
    text: str = ""  # the rest that was held back
    logprob: float | None = None  # of the token that ended it, which is not part of the text


class Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int


class Timings(msgspec.Struct, frozen=True):
    queue_ms: float
    prefill_ms: float
    first_token_ms: float
    tokens_per_s: float


class Finished(Event, frozen=True):
    usage: Usage
    timings: Timings


class Failed(Event, frozen=True):
    kind: str  # engine_stopped | engine_error | reader_too_slow
    message: str
    retry_after: float | None = None


class Completion:
    """One request's life. The engine puts events, the reader takes them.

    Leaving a `with` block cancels what still runs:

        with engine.submit("Once upon a", params) as completion:
            for event in completion: ...
    """

    def __init__(self, id: str, cancel: Callable[[], object], max_unread: int = MAX_UNREAD) -> None:
        self.id = id  # the caller's own, or unguessable: whoever knows it may cancel
        self.cancel = cancel  # may be called again; the events still come to their end, "cancelled"
        self._max_unread = max_unread
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._is_sealed = False  # the last event has been put
        self._is_over = False  # the last event has been taken

    def put(self, event: Event) -> None:
        """Never blocks: a reader who falls too far behind is cut off."""
        if self._is_sealed:
            return
        if self.unread >= self._max_unread:
            event = Failed("reader_too_slow", "The reader fell too far behind and was cut off.")
            self.cancel()
        self._is_sealed = is_last(event)
        self._events.put(event)

    @property
    def unread(self) -> int:
        """Events that wait for the reader."""
        return self._events.qsize()

    def next(self, timeout: float | None = None) -> Event | None:
        """The next event; None if none came within `timeout` seconds, or after the last."""
        if self._is_over:
            return None
        try:
            event = self._events.get(timeout=timeout)
        except queue.Empty:
            return None
        self._is_over = is_last(event)
        return event

    def __iter__(self) -> Iterator[Event]:
        while (event := self.next()) is not None:
            yield event

    def __enter__(self) -> "Completion":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._is_over:
            self.cancel()


def is_last(event: Event) -> bool:
    return isinstance(event, Finished | Failed)
