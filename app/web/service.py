"""What every view of one app shares: its settings, its engine, its counters, and whether it is
stopping. Knows no request."""

import threading

from flask import current_app

from app.engine import AnyEngine

from .metrics import Metrics
from .options import WebOptions


class Stopping:
    """How far this server is on its way out.

    Draining: nothing new comes in, what runs goes on. Closing: what runs ends now, with an error.
    Whoever starts the server may put a state of its own here, shared by all workers.
    """

    def __init__(self) -> None:
        self._draining = threading.Event()
        self._closing = threading.Event()

    @property
    def is_draining(self) -> bool:
        return self._draining.is_set()

    @property
    def is_closing(self) -> bool:
        return self._closing.is_set()

    def drain(self) -> None:
        self._draining.set()

    def close(self) -> None:
        self._draining.set()
        self._closing.set()

    def begin(self) -> None:
        """A request begins; somebody may be counting."""

    def end(self) -> None:
        """A request has ended, its last byte sent."""


class Service:
    def __init__(self, options: WebOptions, engine: AnyEngine) -> None:
        self.options = options
        self.engine = engine
        self.metrics = Metrics(engine)
        self.stopping = Stopping()
        self.has_warned = False  # of being open to all

    def why_not_ready(self) -> str | None:
        """A sentence, or None when requests are welcome."""
        if self.stopping.is_draining:
            return "The server is stopping; it takes nothing new."
        state = self.engine.state()
        return None if state.name == "ready" else state.message


def service() -> Service:
    return current_app.extensions["continuo"]
