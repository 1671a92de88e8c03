"""Stream runs. A protocol is a Frames: its bytes for each event of a run.

return respond(run, each(run, Events(run)), "text/event-stream")
"""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from flask import Response

from app.engine import Ended, Failed, Finished, Queued, Slid, Started, Token

from .. import errors
from .run import Run


class Frames:
    """A protocol: bytes for each event; b"" for events that it does not have."""

    def ping(self) -> bytes:
        """In long silences, so that proxies and readers keep the connection."""
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
    """The run's frames."""
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
    """Stream the frames, and close their source at the end, whatever happens.

    Frames are made after the request's context is gone: they must not use `service()`, `g` or
    `request`.
    """
    response = Response(_until_gone(frames), content_type=content_type)
    response.headers["Cache-Control"] = "no-store, no-transform"
    response.headers["X-Accel-Buffering"] = "no"  # so that nginx passes each piece on at once
    response.call_on_close(source.close)
    return response


def _until_gone(frames: Iterable[str | bytes]) -> Iterator[Any]:
    yield b""  # sends the headers at once: the request is admitted
    try:
        yield from frames
    except errors.ReaderGone:
        return
