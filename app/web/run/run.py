"""A completion as the web sees it: admitted, followed, and ended when its reader leaves.

    run = start(prompt, params, model)     # validates and admits, or raises
    collect(run)                           # wait for its end: lists.py
    respond(run, each(run, Frames(...)))   # or stream it: stream.py

It also ends when the server closes. Knows no dialect.
"""

import secrets
import time
from collections.abc import Callable, Iterator, Sequence

import msgspec
from flask import g, request

from app.engine import (
    Completion,
    Ended,
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

TICK = 0.2  # seconds between checks while the engine is silent

Prompt = str | Sequence[int]

_ENDED_BY = {"cancelled": "api", "deadline": "timeout"}  # ends that are not the text's own


class Choice(msgspec.Struct):
    """One continuation, as it is collected."""

    index: int
    seed: int | None = None  # None until it has started
    pieces: list[str] = []
    ids: list[int] = []
    tokens: list[Token] = []  # with their alternatives, if keeps_tokens
    reason: str | None = None  # None while it is being written
    stop: str | int | None = None
    end_logprob: float | None = None  # of the token that ended it
    dropped_tokens: int = 0  # dropped from the window since the start

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class Run:
    """One request to the engine: iterate it once, then close it."""

    def __init__(
        self,
        completion: Completion,
        prompt: Prompt,
        params: Params,
        model: str,
        give_back: Callable[[], None] = lambda: None,  # returns its share of the limits
    ) -> None:
        here = service()
        self.keeps_tokens = False
        self.id = completion.id
        self.prompt, self.params, self.model = prompt, params, model
        self.started: Started | None = None
        self.choices = [Choice(index) for index in range(params.n)]
        self.usage: Usage | None = None
        self.timings: Timings | None = None
        self.failure: Failed | None = None
        self._completion = completion
        self.is_over = False
        self.ended_at = 0.0  # on the monotonic clock
        self._ping, self._metrics, self._stopping = here.options.ping, here.metrics, here.stopping
        self._submitted = self._latest = time.monotonic()
        self._is_left = False  # its reader has left
        self._give_back = give_back
        self._forget: Callable[[], None] = lambda: None
        accepted = socket_of(request.environ)
        if accepted is not None:
            limit_waiting(accepted, here.options.patience)
            self._forget = here.hangups.watch(accepted, self._leave)

    def events(self) -> Iterator[Event | None]:
        """The request's events; None in long silences, for a ping.

        Ends after Finished or Failed. Raises ReaderGone when the reader has left.
        """
        heard = time.monotonic()
        while not self.is_over:
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
        """End the request if it is still running. May be called again."""
        if self.is_over:
            return
        self._end()
        wasted = self._completion.unread
        self._completion.cancel()
        self._metrics.cancelled.labels(self.phase, by).inc()
        self._metrics.wasted.inc(wasted)

    def _end(self) -> None:
        self.is_over, self.ended_at = True, time.monotonic()
        self._give_back()
        self._forget()

    def _leave(self) -> None:
        """Runs on the hang-up thread; cancelling ends the completion, which wakes events()."""
        self._is_left = True
        self._completion.cancel()

    @property
    def phase(self) -> str:
        if self.started is None:
            return "queued"
        return "decode" if any(choice.ids for choice in self.choices) else "prefill"

    @property
    def end(self) -> str:
        """How it ended, for the log."""
        if self.failure is not None:
            return self.failure.kind
        reasons = sorted({choice.reason or f"left in {self.phase}" for choice in self.choices})
        return ", ".join(reasons)

    @property
    def text(self) -> str:
        """The first continuation so far."""
        return self.choices[0].text

    def _note(self, event: Event) -> None:
        match event:
            case Started():
                self.started = event
                for choice, seed in zip(self.choices, event.seeds, strict=True):
                    choice.seed = seed
                self._metrics.queued.observe(time.monotonic() - self._submitted)
            case Token():
                self._time_token()
                self.choices[event.choice].pieces.append(event.text)
                self.choices[event.choice].ids.append(event.id)
                if self.keeps_tokens:
                    self.choices[event.choice].tokens.append(event)
            case Slid():
                self.choices[event.choice].dropped_tokens += event.dropped_tokens
            case Ended():
                choice = self.choices[event.choice]
                choice.pieces.append(event.text)
                choice.reason, choice.stop = event.reason, event.stop
                choice.end_logprob = event.logprob
                if by := _ENDED_BY.get(event.reason):
                    self._metrics.cancelled.labels(self.phase, by).inc()
            case Finished():
                self.usage, self.timings = event.usage, event.timings
                self._metrics.whole.observe(time.monotonic() - self._submitted)
            case Failed():
                self.failure = event
        if is_last(event):
            self._end()

    def _time_token(self) -> None:
        now = time.monotonic()
        is_first = self.phase != "decode"
        histogram = self._metrics.first_token if is_first else self._metrics.gap
        histogram.observe(now - (self._submitted if is_first else self._latest))
        self._latest = now


def start(prompt: Prompt, params: Params, model: str | None = None, id: str | None = None) -> Run:
    """Admit a request, or raise what errors.py renders. Call it before the first byte."""
    service().limits.charge(params.n, params.gives_way)
    return submit(prompt, params, model, id)


def submit(prompt: Prompt, params: Params, model: str | None = None, id: str | None = None) -> Run:
    """The same, for a request that has been charged to the limits."""
    here = service()
    if isinstance(prompt, str):
        bounded("prompt", prompt)
    name = here.model(model).name
    id = secrets.token_urlsafe(16) if id is None else id
    give_back = here.limits.take_share(params.n, params.gives_way)
    try:
        completion = here.engine.submit(prompt, params, name, id)
    except BaseException:
        give_back()
        raise
    run = Run(completion, prompt, params, name, give_back)
    g.setdefault("runs", []).append(run)  # for the log
    return run
