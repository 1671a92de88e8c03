"""The engine as a web worker holds it: the interface, over a socket to the engine's process.

`connect` starts that process, or joins it. The socket and its thread are made at the first use, in
each process of its own, since a fork must not share them with its parent. Imports no torch.
"""

import os
import secrets
from collections.abc import Sequence
from typing import Any

import msgspec

from ..answers import EngineInfo, EngineState, EngineStats, Tokenized
from ..completion import Completion
from ..options import EngineOptions
from ..parameters import Params
from .launch import Launch, find_home
from .link import Link
from .messages import Method
from .owner import find_server


def connect(options: EngineOptions, directory: str | None = None, start: bool = True) -> "Client":
    """Start this server's engine, or join it; it loads in the background.

    `directory` is for private files of the user's session, such as XDG_RUNTIME_DIR. With `start`
    False the engine starts at the first use: for a process that may never serve.
    """
    client = Client(options, directory)
    if start:
        client.start()
    return client


class Client:
    """An AnyEngine. Each process has its own link to the one engine."""

    def __init__(self, options: EngineOptions, directory: str | None) -> None:
        self._launch = Launch(options, find_server(), os.getcwd())
        self._home = find_home(options, self._launch.server, directory)
        self._links: dict[int, Link] = {}  # one for each process

    def start(self) -> None:
        self._home.start(self._launch)

    def submit(
        self,
        prompt: str | Sequence[int],
        params: Params,
        model: str | None = None,
        id: str | None = None,
    ) -> Completion:
        prompt = prompt if isinstance(prompt, str) else list(prompt)
        id = secrets.token_urlsafe(16) if id is None else id
        return self._link().submit(prompt, params, model, id)

    def cancel(self, id: str) -> bool:
        return self._link().cancel(id)

    def tokenize(self, text: str, model: str | None = None) -> Tokenized:
        return self._call(Tokenized, "tokenize", text, model)

    def detokenize(self, ids: Sequence[int], model: str | None = None) -> str:
        return self._call(str, "detokenize", list(ids), model)

    def pieces(self, ids: Sequence[int], model: str | None = None) -> list[bytes]:
        return self._call(list[bytes], "pieces", list(ids), model)

    def models(self) -> list[str]:
        return self._call(list[str], "models")

    def info(self) -> EngineInfo:
        return self._call(EngineInfo, "info")

    def stats(self) -> EngineStats:
        return self._call(EngineStats, "stats")

    def state(self) -> EngineState:
        return self._link().state()

    def close(self, grace: float = 0.0) -> None:
        """Close this process's link. In the server's own process this stops the engine too."""
        is_server = os.getpid() == self._launch.server.pid
        if os.getpid() in self._links or (is_server and self._home.is_running()):
            self._link().close(grace, stop=is_server)

    def _call(self, type: Any, method: Method, *arguments: Any) -> Any:
        return msgspec.msgpack.decode(self._link().call(method, *arguments), type=type)

    def _link(self) -> Link:
        link = self._links.get(os.getpid())
        if link is None:
            link = self._links.setdefault(os.getpid(), Link(self._home, self._launch))
        link.open()
        return link
