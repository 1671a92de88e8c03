"""What every view of one app shares: its settings, its engine, its counters, and whether it is
stopping. Knows no request."""

from flask import current_app

from app.engine import AnyEngine

from .metrics import Metrics
from .options import WebOptions
from .stopping import Stopping


class Service:
    def __init__(self, options: WebOptions, engine: AnyEngine) -> None:
        self.options = options
        self.engine = engine
        self.metrics = Metrics(engine)
        self.stopping = Stopping()  # whoever starts the server may put a shared one here
        self.warned: set[str] = set()  # what was said once is not said again
        self._models: list[str] = []

    def default_model(self) -> str:
        """Asked of the engine once: what a server serves stays the same."""
        self._models = self._models or self.engine.models()
        return self._models[0]

    def why_not_ready(self) -> str | None:
        """A sentence, or None when requests are welcome."""
        if self.stopping.is_draining:
            return "The server is stopping; it takes nothing new."
        state = self.engine.state()
        return None if state.name == "ready" else state.message


def service() -> Service:
    return current_app.extensions["continuo"]
