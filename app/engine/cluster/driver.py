"""A process's connection to a cluster: made at its first use, never before a fork.

One thread with an asyncio loop does everything that waits for replicas.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import threading
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

import msgspec
import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from app.gpt2 import MAX_SEED

from ..answers import EngineInfo, EngineState, EngineStats
from ..completion import Completion, EngineStopped
from ..parameters import Params
from . import head
from .replicas import GONE, LOST, OPEN_S, TRIES, Replicas
from .routing import APP, LEASE_S, REPLICA
from .stream import Stream
from .texts import Texts
from .totals import add_up, as_one

ANSWER_S = 120.0  # for any answer
LOOK_S = 1.0  # how long a check of the cluster may take, and stays valid
LEAVE_S = 2.0  # to tell replicas that we leave
AWAY_S = 15.0  # without a connection to the head, after which its cluster is left

log = logging.getLogger(__name__)

T = TypeVar("T")


class Driver:
    def __init__(self) -> None:
        self._replicas = Replicas()
        self._texts = Texts(self._replicas, self._spawn)
        self._is_away = False  # the head does not answer
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
        if params.seed is None:  # drawn here, so that another replica can repeat the text
            params = msgspec.structs.replace(params, seed=secrets.randbelow(MAX_SEED + 1))
        deadline = None if params.max_time is None else time.monotonic() + params.max_time
        completion = Completion(id, lambda: self.cancel(id))
        stream = Stream(prompt, params, model, id, deadline, completion)
        self._wait(self._texts.start(stream), (TRIES + 1) * OPEN_S)
        return completion

    def cancel(self, id: str) -> bool:
        if (stream := self._texts.find(id)) is not None:
            stream.is_cancelled = True
        if threading.current_thread() is self._thread:  # cutting off a slow reader; must not wait
            self._spawn(self._texts.cancel(id))
            return True
        try:
            return self._wait(self._texts.cancel(id), OPEN_S)
        except EngineStopped:
            return False

    def call(
        self, type: Any, model: str | None, prompt: str | list[int], method: str, *arguments: Any
    ) -> Any:
        """The answer of the replica that knows the prompt."""
        work = self._replicas.ask_one(type, model, prompt, method, *arguments)
        return self._wait(work, ANSWER_S)

    def stats(self) -> EngineStats:
        return self._wait(self._stats(), OPEN_S)

    def info(self) -> EngineInfo:
        return self._wait(self._info(), OPEN_S)

    def state(self) -> EngineState:
        if self._is_closed:
            return EngineState("failed", "The engine is closed.")
        if time.monotonic() - self._looked > LOOK_S:
            try:
                self._wait(self._replicas.ask_one(list[str], None, "", "models"), LOOK_S)
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
        while self._texts and time.monotonic() < until:
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
            if self._replicas.handle is not None:
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
                self._replicas.handle = serve.get_deployment_handle(REPLICA, APP)
            except (RayError, RayServeException, KeyError, RuntimeError, OSError) as error:
                raise EngineStopped(f"There is no cluster to ask: {error}") from None

    # ---- on the loop

    async def _leave(self) -> None:
        for stream in self._texts.fail("The engine was stopped."):
            self._spawn(self._texts.cancel(stream.id))
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LEAVE_S)
        for task in self._tasks:
            task.cancel()

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)  # the loop only has weak references
        task.add_done_callback(self._tasks.discard)

    async def _stay_in_touch(self) -> None:
        """Without a head, running streams go on as long as their replicas; new ones are refused.

        A head that comes back is a new cluster, and a process can join only one: Ray caches actors
        by ids that the next cluster uses again. So this process ends, and its server starts a new
        one.
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
        self._texts.fail(GONE)
        os.kill(os.getpid(), signal.SIGTERM)

    async def _say_we_are_here(self) -> None:
        if self._texts:
            with contextlib.suppress(RayError, RayServeException, TimeoutError):
                await self._replicas.broadcast("hear", self._texts.client)

    async def _stats(self) -> EngineStats:
        return add_up(await self._ask_all(EngineStats, "stats"))

    async def _info(self) -> EngineInfo:
        return as_one(list((await self._ask_all(EngineInfo, "info")).values()))

    async def _ask_all(self, type: type[T], method: str) -> dict[str, T]:
        found = await self._replicas.ask_all(type, method)
        if not found:
            raise EngineStopped(GONE)
        return found
