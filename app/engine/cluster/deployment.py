"""One replica of a cluster: an Engine whose events are streamed in batches.

Each item of a stream costs Serve a fraction of a millisecond, so the events of all of a client's
texts travel together, 20 ms of them at a time. The first item says whether a request is refused.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from ray import serve
from ray.serve.config import AutoscalingConfig, RequestRouterConfig

from ..completion import Completion, EngineError, Token
from ..engine import Engine
from ..options import EngineOptions
from ..parameters import InvalidParams, Params
from ..process.messages import Events, Reply, answer, encode, refuse
from .outbox import Outbox
from .routing import LEASE_S, REPLICA

GATHER_S = 0.02  # between two items for one client
STUCK_S = 30.0  # an engine with work that takes no turn for so long is replaced
CONTROL = 8  # calls that a replica takes at once besides completions


class Replica:
    def __init__(self, options: EngineOptions) -> None:
        self._name = secrets.token_hex(8)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turned = asyncio.Event()  # set after a turn, and replaced by a new one
        self._latest_turn = time.monotonic()
        self._heard: dict[str, float] = {}  # when each client was last heard of
        self._outboxes: dict[str, Outbox] = {}  # of each client with a text here
        self._engine = Engine(options, after_turn=self._ring)

    def _ring(self) -> None:
        """Called on the engine's thread."""
        self._latest_turn = time.monotonic()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        turned, self._turned = self._turned, asyncio.Event()
        turned.set()

    async def complete(
        self,
        number: int,
        prompt: str | Sequence[int],
        params: Params,
        model: str | None,
        id: str,
        told_before: Sequence[Sequence[int]],
        client: str,
        refused_by: Sequence[str] = (),
    ) -> AsyncIterator[bytes]:
        """Yields this replica's name and, if it accepts the text, which call carries its events.

        A client's first open call here is the carrier of all its texts. The others are silent, but
        stay open until their texts are over, because Serve scales and drains by counting calls. A
        replica that has already refused the text only gives its name: all have been asked then.
        """
        self._loop = asyncio.get_running_loop()
        self._heard[client] = time.monotonic()
        name = answer(number, self._name)
        if self._name in refused_by:
            yield encode([name])
            return
        try:
            completion = await self._submit(prompt, params, model, id, told_before)
        except (EngineError, InvalidParams) as error:
            yield encode([name, refuse(number, error)])
            return
        outbox = self._outboxes.setdefault(client, Outbox(number))
        is_over = outbox.add(number, completion)
        try:
            yield encode([name, answer(number, outbox.carrier)])
            if outbox.carrier == number:
                async for events in self._batches(outbox, client):
                    yield encode(events)
            else:
                await is_over.wait()
        finally:
            completion.cancel()
            if outbox.carrier == number:
                del self._outboxes[client]
                outbox.cancel()

    async def _submit(self, *request: Any) -> Completion:
        """A thread cannot be interrupted: what it submits after we were cancelled is for nobody."""
        submitting = asyncio.ensure_future(asyncio.to_thread(self._engine.submit, *request))
        try:
            return await asyncio.shield(submitting)
        except asyncio.CancelledError:
            submitting.add_done_callback(_cancel_what_came)
            raise

    async def _batches(self, outbox: Outbox, client: str) -> AsyncIterator[list[Events]]:
        """Ends once the client is silent: Serve does not notice when its process is killed."""
        while outbox and time.monotonic() - self._heard[client] < LEASE_S:
            turned = self._turned  # before looking, so that no turn is missed
            if events := outbox.take():
                yield events
                if any(isinstance(event, Token) for some in events for event in some.events):
                    await asyncio.sleep(GATHER_S)  # but never delay the first token
            else:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(turned.wait(), LEASE_S)

    async def hear(self, client: str) -> bytes:
        """Note that a client is alive."""
        self._heard[client] = time.monotonic()
        return encode([answer(0, None)])

    async def call(self, method: str, *arguments: Any) -> bytes:
        """Call any other method of the engine: this replica's name, then the answer."""
        reply: Reply
        try:
            work = getattr(self._engine, method)
            reply = answer(0, await asyncio.to_thread(work, *arguments))
        except (EngineError, InvalidParams) as error:
            reply = refuse(0, error)
        return encode([answer(0, self._name), reply])

    def check_health(self) -> None:
        """Serve replaces a replica whose check fails three times."""
        if self._engine.state().name != "ready":
            raise RuntimeError(self._engine.state().message)
        stats = self._engine.stats()
        silence = time.monotonic() - self._latest_turn
        if stats.running + stats.waiting and silence > STUCK_S:
            raise RuntimeError(f"The engine has work and took no turn for {silence:.0f} s.")

    def __del__(self) -> None:
        self._engine.close()


def _cancel_what_came(submitted: "asyncio.Future[Completion]") -> None:
    if not submitted.cancelled() and submitted.exception() is None:
        submitted.result().cancel()


def cluster_application(
    options: EngineOptions, replicas: int, most: int | None = None, cpus: float = 1, gpus: float = 0
) -> serve.Application:
    """What `serve deploy` runs. With `most`, the number of replicas follows the load up to it."""
    room = options.max_running + options.max_queue
    autoscaling = most and AutoscalingConfig(
        min_replicas=replicas,
        max_replicas=most,
        target_ongoing_requests=0.7 * options.max_running,
        upscale_delay_s=10,
        downscale_delay_s=300,
    )
    deployment = serve.deployment(
        Replica,
        name=REPLICA,
        num_replicas=None if autoscaling else replicas,
        autoscaling_config=autoscaling or None,
        # The engine decides what to admit; Serve passes on all that fits, and some to refuse.
        max_ongoing_requests=room + CONTROL + room // 4,
        graceful_shutdown_timeout_s=options.max_time + 30,
        graceful_shutdown_wait_loop_s=0.5,
        health_check_period_s=2,
        health_check_timeout_s=10,
        ray_actor_options={"num_cpus": cpus, "num_gpus": gpus},
        request_router_config=RequestRouterConfig(
            request_router_class="app.engine.cluster.routing.StoryRouter"
        ),
    )
    return deployment.bind(options)
