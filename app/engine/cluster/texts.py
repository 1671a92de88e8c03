"""The texts that the cluster writes for one process.

Each text is a call, but one call per replica, the carrier, brings the events of all of them, one
item per turn. When a carrier ends, its unfinished texts go to another replica, with the same seed
and the ids that their readers have. That replica reads these ids instead of drawing them, and their
events are skipped here: the text is the same, and the reader only sees a pause.
"""

import asyncio
import itertools
import logging
import secrets
import time
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from ..completion import EngineBusy, EngineStopped
from ..process.messages import AnyEvent, Events, decode_replies
from .replicas import GONE, LOST, OPEN_S, Replicas
from .stream import Stream

LOST_TRIES = 5  # replicas that one text may lose
WAIT_S = 120.0  # for room on another replica, if the text has no deadline

log = logging.getLogger(__name__)


class Texts:
    """All methods but find() and len() belong to one asyncio loop."""

    def __init__(
        self, replicas: Replicas, spawn: Callable[[Coroutine[Any, Any, Any]], None]
    ) -> None:
        self.client = secrets.token_hex(8)  # this process's name
        self._replicas, self._spawn = replicas, spawn
        self._numbers = itertools.count()
        self._streams: dict[int, Stream] = {}  # by the number of the call that asked for it
        self._calls: set[int] = set()  # numbers of those that have not ended

    def __len__(self) -> int:
        return len(self._streams)

    def find(self, id: str) -> Stream | None:
        return next((stream for stream in list(self._streams.values()) if stream.id == id), None)

    async def start(self, stream: Stream) -> None:
        """Returns once a replica has accepted it, or raises why none has."""
        request = (
            stream.prompt,
            stream.params,
            stream.model,
            stream.id,
            stream.told(),
            self.client,
        )
        calls: dict[int, Any] = {}

        async def ask(handle: Any, refused_by: list[str]) -> bytes:
            number = next(self._numbers)
            items = handle.options(stream=True).complete.remote(number, *request, refused_by)
            calls[number] = items
            self._streams[number] = stream  # events may come before the answer, through the carrier
            self._calls.add(number)
            try:
                return await asyncio.wait_for(anext(items), OPEN_S)
            except (TimeoutError, asyncio.CancelledError):
                # Serve's cancel waits until the request has been assigned.
                asyncio.get_running_loop().run_in_executor(None, items.cancel)
                raise

        try:
            carrier = await self._replicas.find_room(int, stream.model, stream.prompt, ask)
        except BaseException:
            for number in calls:
                self._streams.pop(number, None)
                self._end_call(number)
            raise
        *refused, number = calls
        self._calls.difference_update(refused)
        self._drop(stream)
        self._streams[number] = stream
        stream.carrier, stream.is_lost = carrier, False
        self._spawn(self._read(number, calls[number]))
        if stream.is_cancelled:  # meanwhile, when the replica did not know it yet
            self._spawn(self._replicas.ask_all(bool, "cancel", stream.id))
        if stream.is_over:
            self._drop(stream)
        elif carrier not in self._calls:
            self._lose(stream)

    async def cancel(self, id: str) -> bool:
        """End a text on whichever replica it runs, also one that another process started."""
        stream = self.find(id)
        if stream is not None and stream.is_lost:
            stream.end_cancelled()
            return True
        answers = await self._replicas.ask_all(bool, "cancel", id)
        return stream is not None or any(answers.values())

    def fail(self, message: str) -> list[Stream]:
        """Fail all texts; returns them."""
        streams, self._streams = list(self._streams.values()), {}
        for stream in streams:
            stream.is_cancelled = True
            stream.fail(message)
        return streams

    # ---- events

    async def _read(self, number: int, items: Any) -> None:
        """Until the call ends: a carrier brings the events of many texts, other calls nothing."""
        try:
            async for item in items:
                for reply in decode_replies(item):
                    if isinstance(reply, Events):
                        self._take(reply.number, reply.events)
        except LOST as error:
            log.debug("A call ended: %r", error)
        finally:
            self._end_call(number)

    def _take(self, number: int, events: list[AnyEvent]) -> None:
        stream = self._streams.get(number)
        if stream is None:
            return
        try:
            for event in events:
                stream.take(event)
        except AssertionError as error:
            stream.fail(f"The engine stopped before the end, and {error} elsewhere.")
            self._spawn(self.cancel(stream.id))
        if stream.is_over:
            self._drop(stream)

    def _drop(self, stream: Stream) -> None:
        """Forget all its numbers; a lost one still has that of the lost call."""
        self._streams = {n: other for n, other in self._streams.items() if other is not stream}

    # ---- lost replicas

    def _end_call(self, number: int) -> None:
        self._calls.discard(number)
        for stream in list(self._streams.values()):
            if stream.carrier == number and not stream.is_lost:
                self._lose(stream)

    def _lose(self, stream: Stream) -> None:
        log.warning("Stream %s lost its replica.", stream.id)
        stream.rewind()
        self._spawn(self._go_on(stream))

    async def _go_on(self, stream: Stream) -> None:
        try:
            if stream.is_cancelled:
                stream.end_cancelled()
            elif stream.n_lost > LOST_TRIES:
                stream.fail("The cluster lost this text again and again.")
            else:
                await self._start_again(stream)
        except EngineStopped as error:
            stream.fail(str(error))
        except Exception as error:
            log.exception("A stream of the cluster failed.")
            stream.fail(f"The cluster failed: {error}")
        if stream.is_over:
            self._drop(stream)

    async def _start_again(self, stream: Stream) -> None:
        """As start(), but wait for a full cluster: the reader already has a part of the text."""
        limit = time.monotonic() + WAIT_S if stream.deadline is None else stream.deadline
        while not stream.is_over:
            if stream.deadline is not None:
                left = max(0.01, stream.deadline - time.monotonic())
                stream.params = msgspec.structs.replace(stream.params, max_time=left)
            try:
                await self.start(stream)
            except EngineBusy as busy:
                wait = min(1.0, busy.retry_after)
            except (*LOST, EngineStopped):
                wait = 0.2
            else:
                return
            if time.monotonic() > limit:
                raise EngineStopped(GONE)
            await asyncio.sleep(wait)
