"""A completion -> a response body. One path for every dialect:

    run = streaming.start(prompt, params, model)     # validates and admits, or raises
    return streaming.respond(run, frames(run.events()), "text/event-stream")
    result = streaming.collect(run)                  # the same, waited for
    results = streaming.collect_all(prompts, params, model)
    for run in streaming.in_turn(prompts, params, model): ...   # a list, streamed

A reader who leaves ends the request, in whatever phase; so does a server that closes. Knows no
dialect's words.
"""

import contextlib
import secrets
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, Protocol

import msgspec
from flask import Response, g, request

from app.engine import (
    Completion,
    Ended,
    EngineBusy,
    Event,
    Failed,
    Finished,
    Params,
    Slid,
    Started,
    Timings,
    Token,
    Usage,
    is_last,
)

from .. import errors
from ..body.fields import bounded
from ..service import service
from .connection import limit_waiting, socket_of

TICK = 0.2  # seconds between looks at the clock and the server while the engine is silent

Prompt = str | Sequence[int]

_ENDED_BY = {"cancelled": "api", "deadline": "timeout"}  # ends that were no end of the text


class Choice(msgspec.Struct):
    """One continuation, gathered."""

    index: int
    seed: int | None = None  # known from the start on; one that never started has none
    pieces: list[str] = []
    tokens: list[Token] = []
    reason: str | None = None  # None while it is being written
    stop: str | int | None = None
    dropped_tokens: int = 0  # gone from the window since the start

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class Run:
    """One request to the engine, seen from the web: iterated once, closed in the end."""

    def __init__(self, completion: Completion, prompt: Prompt, params: Params, model: str) -> None:
        here = service()
        self.id = completion.id
        self.prompt, self.params, self.model = prompt, params, model
        self.started: Started | None = None
        self.choices = [Choice(index) for index in range(params.n)]
        self.usage: Usage | None = None
        self.timings: Timings | None = None
        self.failure: Failed | None = None
        self._completion = completion
        self._is_over = False
        self._ping, self._metrics, self._stopping = here.options.ping, here.metrics, here.stopping
        self._begun = self._latest = time.monotonic()
        self._is_left = False  # by its reader
        self._forget: Callable[[], None] = lambda: None
        accepted = socket_of(request.environ)
        if accepted is not None:
            limit_waiting(accepted, here.options.patience)
            self._forget = here.hangups.watch(accepted, self._leave)

    def events(self) -> Iterator[Event | None]:
        """What happens to the request; None at once and in long silences: time to say so.

        Ends after Finished or Failed. Raises ReaderGone when there is nobody to tell.
        """
        yield None
        heard = time.monotonic()
        while not self._is_over:
            event = self._completion.next(TICK)
            if self._is_left:
                self.close("disconnect")
                raise errors.ReaderGone
            if self._stopping.is_closing:
                self.close("drain")
                event = Failed("engine_stopped", "The server stops here.", errors.RETRY_S)
            if event is not None:
                self._note(event)
            elif time.monotonic() - heard < self._ping:
                continue
            yield event
            heard = time.monotonic()

    def close(self, by: str = "disconnect") -> None:
        """Ends the request if it is still running. Any number of times."""
        self._forget()
        if self._is_over:
            return
        self._is_over = True
        wasted = self._completion.unread
        self._completion.cancel()
        self._metrics.cancelled.labels(self.phase, by).inc()
        self._metrics.wasted.inc(wasted)

    def _leave(self) -> None:
        """From another thread: the end that follows wakes the one that reads the events."""
        self._is_left = True
        self._completion.cancel()

    @property
    def phase(self) -> str:
        if self.started is None:
            return "queued"
        return "decode" if any(choice.tokens for choice in self.choices) else "prefill"

    @property
    def end(self) -> str:
        """How it ended, for the log."""
        if self.failure is not None:
            return self.failure.kind
        reasons = sorted({choice.reason or f"left in {self.phase}" for choice in self.choices})
        return ", ".join(reasons)

    @property
    def text(self) -> str:
        """Of the first continuation, as far as it is written."""
        return self.choices[0].text

    def _note(self, event: Event) -> None:
        match event:
            case Started():
                self.started = event
                for choice, seed in zip(self.choices, event.seeds, strict=True):
                    choice.seed = seed
                self._metrics.queued.observe(time.monotonic() - self._begun)
            case Token():
                self._time_token()
                self.choices[event.choice].pieces.append(event.text)
                self.choices[event.choice].tokens.append(event)
            case Slid():
                self.choices[event.choice].dropped_tokens += event.dropped_tokens
            case Ended():
                choice = self.choices[event.choice]
                choice.pieces.append(event.text)
                choice.reason, choice.stop = event.reason, event.stop
                if by := _ENDED_BY.get(event.reason):
                    self._metrics.cancelled.labels(self.phase, by).inc()
            case Finished():
                self.usage, self.timings = event.usage, event.timings
                self._metrics.whole.observe(time.monotonic() - self._begun)
            case Failed():
                self.failure = event
        if is_last(event):
            self._is_over = True
            self._forget()

    def _time_token(self) -> None:
        now = time.monotonic()
        is_first = self.phase != "decode"
        histogram = self._metrics.first_token if is_first else self._metrics.gap
        histogram.observe(now - (self._begun if is_first else self._latest))
        self._latest = now


def start(prompt: Prompt, params: Params, model: str | None = None, id: str | None = None) -> Run:
    """Admitted, or an exception that errors.py knows. Call it before the first byte."""
    here = service()
    if isinstance(prompt, str):
        bounded("prompt", prompt, here.options)
    name = here.default_model() if model is None else model
    id = secrets.token_urlsafe(16) if id is None else id
    run = Run(here.engine.submit(prompt, params, name, id), prompt, params, name)
    g.setdefault("runs", []).append(run)  # for the log
    return run


class Closing(Protocol):
    """A run, or a generator of runs."""

    def close(self) -> None: ...


def respond(source: Closing, frames: Iterable[str | bytes], content_type: str) -> Response:
    """Streams the frames; whatever happens to the response, their source is closed after it."""
    response = Response(_until_gone(frames), content_type=content_type)
    response.headers["Cache-Control"] = "no-store, no-transform"
    response.headers["X-Accel-Buffering"] = "no"  # nginx hands each piece on at once
    response.call_on_close(source.close)
    return response


def _until_gone(frames: Iterable[str | bytes]) -> Iterator[Any]:
    try:
        yield from frames
    except errors.ReaderGone:
        return


def collect(run: Run) -> Run:
    """Waits for the end. Raises what befell it; the run holds the rest."""
    try:
        for _ in run.events():
            pass
    finally:
        run.close()
    if run.failure is not None:
        raise errors.failed(run.failure)
    return run


def collect_all(prompts: Sequence[Prompt], params: Params, model: str | None = None) -> list[Run]:
    """A list of prompts, answered in order."""
    with contextlib.closing(in_turn(prompts, params, model)) as runs:
        return [collect(run) for run in runs]


def in_turn(
    prompts: Sequence[Prompt], params: Params, model: str | None = None
) -> Generator[Run, None, None]:
    """A run for each prompt, in order; take each to its end before asking for the next.

    A list longer than the queue is no reason to refuse: once some of it runs, the rest waits here.
    """
    waiting, running = deque(prompts), deque[Run]()
    try:
        while waiting or running:
            while waiting and (run := _start_if_room(waiting[0], params, model, bool(running))):
                running.append(run)
                waiting.popleft()
            yield running[0]
            running.popleft()
    finally:
        for run in running:
            run.close()


def _start_if_room(prompt: Prompt, params: Params, model: str | None, may_wait: bool) -> Run | None:
    try:
        return start(prompt, params, model)
    except EngineBusy:
        if not may_wait:
            raise
        return None
