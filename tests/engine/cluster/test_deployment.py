"""A replica by itself, in this process."""

import asyncio
import threading

import msgspec
import pytest

from app.engine import EngineOptions, Params, is_last
from app.engine.cluster.deployment import Replica
from app.engine.process.messages import decode_replies

ENDLESS = Params(max_tokens=None, ignore_eos=True)


@pytest.fixture
def replica(tiny):
    return Replica(EngineOptions(models={"tiny": str(tiny)}, precision="float32", threads=1))


async def begin(replica, number, client, params=ENDLESS):
    """The call, and the number of the one that carries what it writes."""
    call = replica.complete(number, "The house", params, None, f"{client} {number}", [], client)
    _, accepted = decode_replies(await anext(call))
    return call, msgspec.msgpack.decode(accepted.result)


async def read(call):
    """Events by the number of their text."""
    found = {}
    async for item in call:
        for reply in decode_replies(item):
            found.setdefault(reply.number, []).extend(reply.events)
    return found


def test_one_call_carries_all_that_a_client_reads(replica):
    """Each text sent items of its own, and each item cost as much as some tokens."""

    async def claim():
        params = Params(max_tokens=20, ignore_eos=True)
        calls = [await begin(replica, n, "me", params) for n in range(4)]
        other, its_carrier = await begin(replica, 9, "other", params)
        assert [carrier for _, carrier in calls] == [0, 0, 0, 0] and its_carrier == 9
        carried, *silent = await asyncio.gather(*(read(call) for call, _ in calls))
        assert silent == [{}, {}, {}] and set(carried) == {0, 1, 2, 3}
        assert all(is_last(events[-1]) for events in carried.values())
        assert set(await read(other)) == {9}
        _, carrier = await begin(replica, 10, "me", params)
        assert carrier == 10

    asyncio.run(claim())


def test_what_nobody_carries_any_more_is_not_written_on(replica):
    async def claim():
        carrier, _ = await begin(replica, 1, "me")
        silent, _ = await begin(replica, 2, "me")
        await anext(carrier)
        await carrier.aclose()
        assert await read(silent) == {}
        while replica._engine.stats().running:
            await asyncio.sleep(0)

    asyncio.run(claim())


def test_a_text_submitted_after_its_caller_left_is_not_written(replica, monkeypatch):
    """Encoding a long prompt went on in its thread, and the text was written for nobody."""
    is_submitting, is_left, submit = threading.Event(), threading.Event(), replica._engine.submit
    submitted = []

    def submit_late(*request):
        is_submitting.set()
        assert is_left.wait(60)
        submitted.append(submit(*request))
        return submitted[0]

    monkeypatch.setattr(replica._engine, "submit", submit_late)

    async def claim():
        call = asyncio.create_task(begin(replica, 1, "me"))
        await asyncio.to_thread(is_submitting.wait, 60)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        is_left.set()
        while not submitted:
            await asyncio.sleep(0)  # lets the loop hear of the thread
        *_, ended, _ = await asyncio.to_thread(list, submitted[0])
        assert ended.reason == "cancelled"

    asyncio.run(claim())
