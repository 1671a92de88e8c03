"""Ask replicas: one that has room, the one that knows a prompt, or all. Knows no text."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from ..completion import EngineBusy
from ..process.messages import Answer, Refused, Reply, decode_replies, to_error
from .routing import session

TRIES = 3  # replicas that may refuse before the reader is refused
OPEN_S = 10.0  # until a replica has taken a request, or the cluster counts as gone
GONE = "The cluster does not answer; please try again."
LOST = (RayError, RayServeException, asyncio.TimeoutError, asyncio.CancelledError, ConnectionError)

log = logging.getLogger(__name__)

T = TypeVar("T")


class Replicas:
    """All methods belong to one asyncio loop."""

    def __init__(self) -> None:
        self.handle: Any = None  # Serve's, once the cluster is joined

    async def find_room(
        self,
        type: type[T],
        model: str | None,
        prompt: str | list[int],
        ask: Callable[[Any, list[str]], Awaitable[bytes]],
    ) -> T:
        """The answer of the first replica with room, starting at the one that knows the prompt.

        `ask` gets a handle, and the names of those that refused. If all are full, raises the
        EngineBusy with the shortest wait.
        """
        refusals: dict[str, EngineBusy] = {}
        for skip in range(TRIES):
            handle = self.handle.options(session_id=session(model, prompt, skip))
            name, *replies = decode_replies(await ask(handle, list(refusals)))
            if not replies:
                break
            try:
                return _result(type, replies[0])
            except EngineBusy as busy:
                refusals[_result(str, name)] = busy
        raise min(refusals.values(), key=lambda busy: busy.retry_after)

    async def ask_one(
        self,
        type: type[T],
        model: str | None,
        prompt: str | list[int],
        method: str,
        *arguments: Any,
    ) -> T:
        """The answer of the replica that knows the prompt."""
        ask = self.handle.options(session_id=session(model, prompt)).call
        _, reply = decode_replies(await ask.remote(method, *arguments))
        return _result(type, reply)

    async def ask_all(self, type: type[T], method: str, *arguments: Any) -> dict[str, T]:
        """The answers of all replicas, by name."""
        found = {}
        for item in await self.broadcast("call", method, *arguments):
            name, reply = decode_replies(item)
            found[_result(str, name)] = _result(type, reply)
        return found

    async def broadcast(self, method: str, *arguments: Any) -> list[bytes]:
        answers = self.handle.broadcast(method, *arguments)
        items = await answers.results_async(timeout_s=OPEN_S, return_exceptions=True)
        for item in items:
            if not isinstance(item, bytes):
                log.warning("A replica did not answer %s: %r", method, item)
        return [item for item in items if isinstance(item, bytes)]


def _result(type: type[T], reply: Reply) -> T:
    if isinstance(reply, Refused):
        raise to_error(reply)
    assert isinstance(reply, Answer)
    return msgspec.msgpack.decode(reply.result, type=type)
