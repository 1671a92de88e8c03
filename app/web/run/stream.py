"""Runs -> streams. Each protocol is a Frames: what it says when something happens to a run.

return respond(run, each(run, Events(run)), "text/event-stream")
"""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from flask import Response

from app.engine import Ended, Failed, Finished, Queued, Slid, Started, Token

from .. import errors
from .run import Run


class Frames:
    """A protocol: bytes for each event; b"" for what it has no word for."""

    def ping(self) -> bytes:
        """In long silences, so that proxies and readers know somebody is there."""
        return b": still here\n\n"

    def queued(self, event: Queued) -> bytes:
        return b""

    def started(self, event: Started) -> bytes:
        return b""

    def token(self, event: Token) -> bytes:
        raise NotImplementedError

    def slid(self, event: Slid) -> bytes:
        return b""

    def ended(self, event: Ended) -> bytes:
        """One continuation has ended."""
        raise NotImplementedError

    def finished(self, event: Finished) -> bytes:
        """All of them have."""
        return b""

    def failed(self, event: Failed) -> bytes:
        raise NotImplementedError


def each(run: Run, frames: Frames) -> Iterator[bytes]:
    """A frame for each event that has one."""
    for event in run.events():
        if frame := _frame(event, frames):
            yield frame


def _frame(event: Any, frames: Frames) -> bytes:
    match event:
        case None:
            return frames.ping()
        case Queued():
            return frames.queued(event)
        case Started():
            return frames.started(event)
        case Token():
            return frames.token(event)
        case Slid():
            return frames.slid(event)
        case Ended():
            return frames.ended(event)
        case Finished():
            return frames.finished(event)
    return frames.failed(event)


class Closing(Protocol):
    """A run, or a generator of runs."""

    def close(self) -> None: ...


EVENTS = "text/event-stream; charset=utf-8"


def respond(source: Closing, frames: Iterable[str | bytes], content_type: str = EVENTS) -> Response:
    """Streams the frames; whatever happens to the response, their source is closed after it.

    By then the request is over: frames may use no `service()`, `g` or `request`.
    """
    response = Response(_until_gone(frames), content_type=content_type)
    response.headers["Cache-Control"] = "no-store, no-transform"
    response.headers["X-Accel-Buffering"] = "no"  # nginx hands each piece on at once
    response.call_on_close(source.close)
    return response


def _until_gone(frames: Iterable[str | bytes]) -> Iterator[Any]:
    yield b""  # the headers go out at once: a client knows that it was admitted
    try:
        yield from frames
    except errors.ReaderGone:
        return
