"""Several whole servers behind the sample nginx.conf: one service."""

import contextlib
import json
import threading

import psutil
import pytest
import requests

from tests.deployment.proxy import needs_nginx, proxy
from tests.server import fake, serve
from tests.waiting import wait_until

pytestmark = needs_nginx
ENDLESS = {"prompt": "x", "max_tokens": None}
LONG = {"prompt": "x", "max_tokens": 300}
NDJSON = {"Accept": "application/x-ndjson"}
CANCELLED = b'"finish_reason":"cancelled"'


@contextlib.contextmanager
def several(n, delay=0.01, capacity=None):
    command = fake(delay, capacity=capacity)
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(serve(command, proxies=1, grace=30)) for _ in range(n)]


def behind(servers):
    return proxy([server.address for server in servers])


def stream(front, story, asked=ENDLESS):
    """The lines of a running text, after its first token."""
    reply = front.post(json=asked, headers=NDJSON | {"X-Story": story}, stream=True)
    lines = (line for line in reply.iter_lines() if line)
    if reply.status_code == 200:
        while b'"token"' not in next(lines):
            pass
    return reply, lines


def endless(front, story):
    """The id and the further lines of a text that ends when it is cancelled."""
    reply = front.post(json=ENDLESS, headers=NDJSON | {"X-Story": story}, stream=True)
    lines = (line for line in reply.iter_lines() if line)
    id = json.loads(next(lines))["id"]
    assert b'"token"' in next(lines)  # so that it runs
    return id, lines


def kill(server):
    """As a machine without power: master and worker at once."""
    master = psutil.Process(server.process.pid)
    for process in [*master.children(), master]:
        process.kill()
    server.process.wait()


def is_ready(server):
    with contextlib.suppress(requests.exceptions.ConnectionError):  # it may have gone already
        return server.get("/readyz").status_code == 200


def served(server):
    return server.metric('continuo_responses_total{status="200"}')


def write(front, story, **more):
    asked = {"prompt": "x", "max_tokens": 1}
    return front.post(json=asked, headers={"X-Story": story}, **more).status_code


def answers(servers, ask):
    """Which of them answered `ask`, and how often."""
    before = [served(server) for server in servers]
    ask()
    after = [served(server) for server in servers]
    return [b - a - 1 for a, b in zip(before, after, strict=True)]  # the first look counts too


def test_a_reader_is_sent_away_only_when_all_are_full():
    with several(3, capacity=2) as servers, behind(servers) as front:
        running = [stream(front, "the same story") for _ in range(6)]
        assert [reply.status_code for reply, _ in running] == [200] * 6
        refused = front.post(json=ENDLESS, headers={"X-Story": "another"})
        assert refused.status_code == 429 and refused.headers["Retry-After"]
        assert [server.metric("continuo_num_requests_running") for server in servers] == [2] * 3
        for reply, _ in running:
            reply.close()


def test_a_story_stays_with_its_server_and_stories_spread():
    with several(3, 0.0) as servers, behind(servers) as front:
        one = answers(servers, lambda: [write(front, "a story") for _ in range(9)])
        assert sorted(one) == [0, 0, 9]
        many = answers(servers, lambda: [write(front, f"story {i}") for i in range(90)])
        assert sum(many) == 90 and min(many) >= 10


def test_a_killed_server_costs_its_own_streams_and_no_other():
    with several(3) as servers, behind(servers) as front:
        running = {f"story {i}": endless(front, f"story {i}") for i in range(24)}
        its_own = servers[0].metric("continuo_num_requests_running")
        assert 0 < its_own < 24
        kill(servers[0])
        lost = 0
        for story, (id, lines) in running.items():
            front.delete(f"/generate/{id}", headers={"X-Story": story})
            try:
                assert CANCELLED in b"".join(lines)  # it lived until it was told to end
            except requests.exceptions.ChunkedEncodingError:
                lost += 1
        assert lost == its_own
        assert {write(front, story) for story in running} == {200}


def test_one_more_takes_its_share_and_no_stream_is_lost():
    with several(3) as servers, behind(servers[:2]) as front:
        reply, lines = stream(front, "long", {"prompt": "x", "max_tokens": 200})
        before = [served(server) for server in servers]
        front.set_servers([server.address for server in servers])
        front.reload()
        shares = answers(servers, lambda: [write(front, f"story {i}") for i in range(90)])
        assert shares[2] >= 10, (before, shares)
        assert b'"finish_reason"' in b"".join(lines)
        reply.close()


def test_a_new_release_loses_no_stream():
    """Each server in turn is replaced; a text that runs ends where it began, and nobody waits."""
    with several(2) as old, behind(old) as front:
        statuses, is_over = [], threading.Event()

        def keep_asking(i):
            while not is_over.is_set():
                statuses.append(write(front, f"reader {i}"))

        readers = [threading.Thread(target=keep_asking, args=(i,)) for i in range(4)]
        running = [stream(front, f"{i}", LONG) for i in range(8)]
        for thread in readers:
            thread.start()
        with several(2) as new:
            for i in range(2):
                front.set_servers([s.address for s in [*new[: i + 1], *old[i + 1 :]]])
                front.reload()
                old[i].terminate()
            ends = [b"".join(lines) for _, lines in running]
            assert [old[i].process.wait(60) for i in range(2)] == [0, 0]
            is_over.set()
            for thread in readers:
                thread.join()
        assert all(b'"finish_reason":"length"' in end for end in ends)
        assert set(statuses) == {200} and len(statuses) > 8


def test_a_stopping_server_sends_nobody_away():
    with several(2) as servers, behind(servers) as front:
        running = [stream(front, f"story {i}", LONG) for i in range(8)]
        servers[0].terminate()
        wait_until(lambda: not is_ready(servers[0]))
        assert {write(front, f"story {i}") for i in range(12)} == {200}
        assert all(b'"finish_reason":"length"' in b"".join(lines) for _, lines in running)


@pytest.mark.parametrize("story", ["the same", "another", "a third"])
def test_a_text_is_cancelled_by_its_id_wherever_it_runs(story):
    with several(2) as servers, behind(servers) as front:
        id, lines = endless(front, "the same")
        gone = front.delete(f"/generate/{id}", headers={"X-Story": story})
        assert gone.json() == {"id": id, "cancelled": True}
        assert CANCELLED in b"".join(lines)
