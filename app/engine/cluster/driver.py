"""A process's part in a cluster: made at its first use, never before a fork.

One thread with an asyncio loop opens streams and takes what they bring. A stream whose replica dies
is asked for again elsewhere with the same seed, and what its reader already has is left out: the
text is the very same and only a pause is seen.
"""

import asyncio
import contextlib
import itertools
import logging
import os
import secrets
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import msgspec
import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from app.gpt2 import MAX_SEED

from ..answers import EngineInfo, EngineState, EngineStats
from ..completion import Completion, EngineBusy, EngineStopped
from ..parameters import Params
from ..process.messages import Answer, Events, Refused, Reply, decode_replies, to_error
from . import head
from .routing import APP, LEASE_S, REPLICA, session
from .stream import Stream
from .totals import add_up, as_one

TRIES = 3  # replicas that may refuse before the reader is sent away
OPEN_S = 10.0  # until a replica has taken a request, or the cluster counts as gone
ANSWER_S = 120.0  # no other answer takes longer
LOOK_S = 1.0  # how long a look at the cluster is good for, and how long it may take
LEAVE_S = 2.0  # for replicas to hear that we go
LOST_TRIES = 5  # of one stream, each on another replica
AWAY_S = 15.0  # of a head that takes no connection, after which its cluster is left
GONE = "The cluster does not answer; please try again."
LOST = (RayError, RayServeException, asyncio.TimeoutError, asyncio.CancelledError, ConnectionError)

log = logging.getLogger(__name__)

T = TypeVar("T")


class Driver:
    """One process's part in the cluster."""

    def __init__(self) -> None:
        self._name = secrets.token_hex(8)
        self._streams: dict[str, Stream] = {}
        self._handle: Any = None
        self._is_away = False  # the head of the cluster that we are in
        self._looked = 0.0
        self._state = EngineState("loading", "The cluster has not answered yet.")
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cluster", daemon=True)
        self._thread.start()
        self._lock = threading.Lock()
        self._is_closed = False

    # ---- what any thread may do

    def submit(
        self, prompt: str | list[int], params: Params, model: str | None, id: str
    ) -> Completion:
        if params.seed is None:  # drawn here, so that a lost stream can be asked for again
            params = msgspec.structs.replace(params, seed=secrets.randbelow(MAX_SEED + 1))
        deadline = None if params.max_time is None else time.monotonic() + params.max_time
        completion = Completion(id, lambda: self.cancel(id))
        stream = Stream(prompt, params, model, id, deadline, completion)
        self._wait(self._start(stream), (TRIES + 1) * OPEN_S)
        return completion

    def cancel(self, id: str) -> bool:
        if (stream := self._streams.get(id)) is not None:
            stream.is_cancelled = True
        if threading.current_thread() is self._thread:  # cuts a slow reader, and must not wait
            self._spawn(self._cancel(id))
            return True
        try:
            return self._wait(self._cancel(id), OPEN_S)
        except EngineStopped:
            return False

    def call(
        self, type: Any, model: str | None, prompt: str | list[int], method: str, *arguments: Any
    ) -> Any:
        """What a replica answers, the one that knows the prompt if it has room."""
        raw = self._wait(self._call(model, prompt, method, *arguments), ANSWER_S)
        return msgspec.msgpack.decode(raw, type=type)

    def stats(self) -> EngineStats:
        return self._wait(self._stats(), OPEN_S)

    def info(self) -> EngineInfo:
        return self._wait(self._info(), OPEN_S)

    def state(self) -> EngineState:
        if self._is_closed:
            return EngineState("failed", "The engine is closed.")
        if time.monotonic() - self._looked > LOOK_S:
            try:
                self._wait(self._call(None, "", "models"), LOOK_S)
                self._state = EngineState("ready", "")
            except Exception as error:
                self._state = EngineState("restarting", str(error) or GONE)
            self._looked = time.monotonic()
        return self._state

    def close(self, grace: float) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        until = time.monotonic() + grace
        while self._streams and time.monotonic() < until:
            time.sleep(0.02)
        asyncio.run_coroutine_threadsafe(self._leave(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, work: Coroutine[Any, Any, T], timeout: float) -> T:
        if self._is_closed:
            work.close()
            raise EngineStopped("The engine is closed.")
        try:
            self._join_cluster()
        except Exception:
            work.close()
            raise
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout)
        except TimeoutError:
            future.cancel()
            raise EngineStopped(GONE) from None
        except LOST as error:
            log.warning("The cluster failed: %s", error)
            raise EngineStopped(GONE) from None

    def _join_cluster(self) -> None:
        if self._is_away:
            raise EngineStopped(GONE)
        with self._lock:
            if self._handle is not None:
                return
            try:
                if not ray.is_initialized():
                    address = head.find_head()
                    if address is None or not head.answers(address):
                        raise ConnectionError("its head does not answer.")
                    if not head.has_node_here():
                        raise ConnectionError("no node of it runs on this machine.")
                    ray.init(
                        address=address,
                        namespace="serve",
                        log_to_driver=False,
                        logging_level="error",
                    )
                    asyncio.run_coroutine_threadsafe(self._stay_in_touch(), self._loop)
                self._handle = serve.get_deployment_handle(REPLICA, APP)
            except (RayError, RayServeException, KeyError, RuntimeError, OSError) as error:
                raise EngineStopped(f"There is no cluster to ask: {error}") from None

    # ---- on the loop

    async def _leave(self) -> None:
        for id, stream in list(self._streams.items()):
            stream.is_cancelled = True
            stream.fail("The engine was stopped.")
            self._spawn(self._cancel(id))
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LEAVE_S)
        for task in self._tasks:
            task.cancel()

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)  # the loop itself only remembers them weakly
        task.add_done_callback(self._tasks.discard)

    async def _start(self, stream: Stream) -> None:
        items = await self._open(stream)
        self._streams[stream.id] = stream
        self._spawn(self._follow(stream, items))

    async def _open(self, stream: Stream) -> Any:
        """A stream of items that some replica has taken."""
        request = (stream.prompt, stream.params, stream.model, stream.id)
        items: Any = None

        async def ask(handle: Any, refused_by: list[str]) -> bytes:
            nonlocal items
            items = handle.options(stream=True).complete.remote(*request, self._name, refused_by)
            try:
                return await asyncio.wait_for(anext(items), OPEN_S)
            except TimeoutError:
                self._drop(items)
                raise

        await self._find_room(stream.model, stream.prompt, ask)
        return items

    async def _find_room(
        self,
        model: str | None,
        prompt: str | list[int],
        ask: Callable[[Any, list[str]], Awaitable[bytes]],
    ) -> msgspec.Raw:
        """What the first replica says that is not full, on the ring from where the prompt is known.

        `ask` is given a handle and who has refused. If all are full, the least wait is raised.
        """
        refusals: dict[str, EngineBusy] = {}
        for skip in range(TRIES):
            handle = self._handle.options(session_id=session(model, prompt, skip))
            name, *replies = decode_replies(await ask(handle, list(refusals)))
            if not replies:
                break
            try:
                return _result(replies[0])
            except EngineBusy as busy:
                refusals[_decode(_result(name), str)] = busy
        raise min(refusals.values(), key=lambda busy: busy.retry_after)

    async def _follow(self, stream: Stream, items: Any) -> None:
        """To the end of the text, through as many replicas as it takes."""
        try:
            for n_lost in itertools.count():
                try:
                    await self._read(stream, items)
                except LOST as error:
                    log.warning("Stream %s lost its replica: %r", stream.id, error)
                if stream.is_over:
                    return
                if stream.is_cancelled:
                    return stream.end_cancelled()
                if n_lost == LOST_TRIES:
                    return stream.fail("The cluster lost this text again and again.")
                stream.rewind()
                items = await self._open_again(stream)
        except AssertionError as error:
            self._drop(items)
            stream.fail(f"The engine stopped before the end, and {error} elsewhere.")
        except EngineStopped as error:
            stream.fail(str(error))
        except Exception as error:
            log.exception("A stream of the cluster failed.")
            stream.fail(f"The cluster failed: {error}")
        finally:
            self._streams.pop(stream.id, None)

    async def _read(self, stream: Stream, items: Any) -> None:
        async for item in items:
            for reply in decode_replies(item):
                if isinstance(reply, Events):
                    for event in reply.events:
                        stream.take(event)

    async def _open_again(self, stream: Stream) -> Any:
        """As _open, but its reader is here already: a full cluster is waited for."""
        limit = time.monotonic() + ANSWER_S if stream.deadline is None else stream.deadline
        while not stream.is_over:
            if stream.deadline is not None:
                left = max(0.01, stream.deadline - time.monotonic())
                stream.params = msgspec.structs.replace(stream.params, max_time=left)
            try:
                items = await self._open(stream)
                if not stream.is_over:
                    stream.is_lost = False
                    return items
                self._drop(items)
                break
            except EngineBusy as busy:
                wait = min(1.0, busy.retry_after)
            except (*LOST, EngineStopped):
                wait = 0.2
            if time.monotonic() > limit:
                break
            await asyncio.sleep(wait)
        raise EngineStopped(GONE)

    async def _stay_in_touch(self) -> None:
        """Streams go on without a head as long as their replicas do; new ones are refused.

        A head that comes back is another cluster, and of those a process can join only one: Ray
        keeps actors by ids that return in the next. So this process ends, and its server starts a
        new one.
        """
        address = ray.get_runtime_context().gcs_address
        heard = renewed = time.monotonic()
        while time.monotonic() - heard < AWAY_S:
            await asyncio.sleep(LOOK_S)
            self._is_away = not await asyncio.to_thread(head.answers, address)
            if not self._is_away:
                heard = time.monotonic()
            if time.monotonic() - renewed > LEASE_S / 3:
                renewed = time.monotonic()
                self._spawn(self._say_we_are_here())
        log.warning("The cluster's head at %s has gone; this process ends.", address)
        for stream in self._streams.values():
            stream.fail(GONE)
        os.kill(os.getpid(), signal.SIGTERM)

    async def _say_we_are_here(self) -> None:
        if self._streams:
            with contextlib.suppress(RayError, RayServeException, TimeoutError):
                await self._broadcast("hear", self._name)

    def _drop(self, items: Any) -> None:
        """Serve's cancel waits until the request has been assigned, so another thread says it."""
        self._loop.run_in_executor(None, items.cancel)

    async def _cancel(self, id: str) -> bool:
        """It may run on any replica, and whoever knows its id may end it."""
        stream = self._streams.get(id)
        if stream is not None and stream.is_lost:
            stream.end_cancelled()
            return True
        return any((await self._ask_all(bool, "cancel", id)).values())

    async def _stats(self) -> EngineStats:
        return add_up(await self._tell_all(EngineStats, "stats"))

    async def _info(self) -> EngineInfo:
        return as_one(list((await self._tell_all(EngineInfo, "info")).values()))

    async def _tell_all(self, type: type[T], method: str) -> dict[str, T]:
        found = await self._ask_all(type, method)
        if not found:
            raise EngineStopped(GONE)
        return found

    async def _ask_all(self, type: type[T], method: str, *arguments: Any) -> dict[str, T]:
        """What each replica answers that is there, by its name."""
        found = {}
        for item in await self._broadcast("call", [], method, *arguments):
            name, reply = (_result(reply) for reply in decode_replies(item))
            found[_decode(name, str)] = _decode(reply, type)
        return found

    async def _broadcast(self, method: str, *arguments: Any) -> list[bytes]:
        answers = self._handle.broadcast(method, *arguments)
        items = await answers.results_async(timeout_s=OPEN_S, return_exceptions=True)
        return [item for item in items if isinstance(item, bytes)]

    async def _call(
        self, model: str | None, prompt: str | list[int], method: str, *arguments: Any
    ) -> msgspec.Raw:
        def ask(handle: Any, refused_by: list[str]) -> Awaitable[bytes]:
            answer: Awaitable[bytes] = handle.call.remote(refused_by, method, *arguments)
            return answer

        return await self._find_room(model, prompt, ask)


def _result(reply: Reply) -> msgspec.Raw:
    if isinstance(reply, Refused):
        raise to_error(reply)
    assert isinstance(reply, Answer)
    return reply.result


def _decode(raw: msgspec.Raw, type: type[T]) -> T:
    return msgspec.msgpack.decode(raw, type=type)
