"""The engine as a web worker holds it when a cluster runs it: the interface, over Ray Serve.

Imports no torch.
"""

import os
import secrets
from collections.abc import Sequence

from ..answers import EngineInfo, EngineState, EngineStats, Tokenized
from ..completion import Completion
from ..interface import AnyEngine
from ..parameters import Params
from .driver import Driver


def join_cluster() -> AnyEngine:
    """Connects at the first use; the cluster may be started later."""
    return ClusterClient()


class ClusterClient:
    """An AnyEngine. Each process that uses it has its own driver."""

    def __init__(self) -> None:
        self._drivers: dict[int, Driver] = {}

    def submit(
        self,
        prompt: str | Sequence[int],
        params: Params,
        model: str | None = None,
        id: str | None = None,
    ) -> Completion:
        prompt = prompt if isinstance(prompt, str) else list(prompt)
        id = secrets.token_urlsafe(16) if id is None else id
        return self._driver().submit(prompt, params, model, id)

    def cancel(self, id: str) -> bool:
        return self._driver().cancel(id)

    def tokenize(self, text: str, model: str | None = None) -> Tokenized:
        return self._driver().call(Tokenized, model, text, "tokenize", text, model)

    def detokenize(self, ids: Sequence[int], model: str | None = None) -> str:
        ids = list(ids)
        return self._driver().call(str, model, ids, "detokenize", ids, model)

    def pieces(self, ids: Sequence[int], model: str | None = None) -> list[bytes]:
        ids = list(ids)
        return self._driver().call(list[bytes], model, ids, "pieces", ids, model)

    def models(self) -> list[str]:
        return self._driver().call(list[str], None, "", "models")

    def info(self) -> EngineInfo:
        return self._driver().info()

    def stats(self) -> EngineStats:
        return self._driver().stats()

    def state(self) -> EngineState:
        return self._driver().state()

    def close(self, grace: float = 0.0) -> None:
        """Leave the cluster, which goes on."""
        driver = self._drivers.get(os.getpid())
        if driver is not None:
            driver.close(grace)

    def _driver(self) -> Driver:
        driver = self._drivers.get(os.getpid())
        return driver or self._drivers.setdefault(os.getpid(), Driver())
