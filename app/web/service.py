"""What all views of an app share: its options, engine, counters and state. Knows no request."""

import time
from typing import TYPE_CHECKING

from flask import current_app

from app.engine import AnyEngine, ModelInfo, UnknownModel

from .options import WebOptions
from .run.hangups import Hangups
from .run.stopping import Stopping
from .watch.faults import Faults
from .watch.metrics import Metrics
from .watch.traces import make_traces

if TYPE_CHECKING:
    from .guard.limits import Limits


class Service:
    limits: "Limits"  # made by guard

    def __init__(self, options: WebOptions, engine: AnyEngine) -> None:
        self.options = options
        self.engine = engine
        self.metrics = Metrics(engine)
        self.faults = Faults()
        self.traces = make_traces(options.traces)
        self.hangups = Hangups()
        self.stopping = Stopping()  # whoever starts the server may put a shared one here
        self.warned: set[str] = set()  # each warning is logged once
        self.began = int(time.time())
        self._models: dict[str, ModelInfo] = {}

    def models(self) -> dict[str, ModelInfo]:
        """By name, the default one first. Asked once, since a server's models never change."""
        self._models = self._models or {model.name: model for model in self.engine.info().models}
        return self._models

    def model(self, name: str | None = None) -> ModelInfo:
        models = self.models()
        name = next(iter(models)) if name is None else name
        if name not in models:
            raise UnknownModel(
                f"No model {name!r:.80} is served; name one of: {', '.join(models)}."
            )
        return models[name]

    def why_not_ready(self) -> str | None:
        """A sentence; None if requests are taken."""
        if self.stopping.is_draining:
            return "The server is stopping; it takes nothing new."
        state = self.engine.state()
        return None if state.name == "ready" else state.message


def service() -> Service:
    return current_app.extensions["continuo"]
