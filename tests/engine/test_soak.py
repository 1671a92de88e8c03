"""The real engine in its own process: what many requests, aborts and a kill leave behind."""

import os
import signal
import threading
from pathlib import Path

import pytest

from app.engine import Ended, Engine, EngineOptions, Failed, Finished, Params, Token, connect
from tests.engine.conftest import find_engines, wait_for_engine
from tests.waiting import wait_until

PARAMS = Params(max_tokens=8, seed=5)
SCORED = Params(max_tokens=0, prompt_logprobs=2)
PROMPTS = ["", "Once upon a time", "the " * 40]


@pytest.fixture
def options(tiny):
    return EngineOptions(models={"tiny": str(tiny)}, threads=1, precision="float32")


@pytest.fixture
def client(options, tmp_path):
    client = connect(options, str(tmp_path))
    wait_until_ready(client)
    yield client
    client.close()


def wait_until_ready(client):
    """On a busy machine it takes longer to load than a request waits for it."""
    wait_until(lambda: client.state().name == "ready")


def ids(events):
    return [event.id for event in events if isinstance(event, Token)]


def test_the_socket_changes_no_token_and_no_number(options, client):
    engine = Engine(options)
    for prompt in PROMPTS:
        here, there = engine.submit(prompt, PARAMS), client.submit(prompt, PARAMS)
        assert ids(here) == ids(there) != []
    here, there = (list(way.submit("a b c d", SCORED))[0] for way in (engine, client))
    assert here.prompt == there.prompt != []
    assert client.info() == engine.info()
    assert client.tokenize("né") == engine.tokenize("né")
    engine.close()


def test_after_cancel_at_most_one_more_token_is_generated(client):
    for n_read in (0, 1, 7):
        completion = client.submit("Once", Params(max_tokens=None))
        seen = [completion.next() for _ in range(1 + n_read)]
        completion.cancel()
        seen += [completion.next() for _ in range(completion.unread)]
        late = list(completion)
        assert Ended(0, "cancelled") in seen + late
        assert len(ids(late)) <= 1


def test_a_killed_engine_comes_back_and_writes_the_same(client, tmp_path):
    before = ids(client.submit("Once", PARAMS))
    readers = [client.submit("Once", Params(max_tokens=None)) for _ in range(16)]
    assert [reader.next() for reader in readers]
    engine = wait_for_engine(tmp_path)
    os.kill(engine, signal.SIGKILL)
    for reader in readers:
        *_, last = reader
        assert isinstance(last, Failed) and last.kind == "engine_stopped"
    wait_until_ready(client)
    assert ids(client.submit("Once", PARAMS)) == before


def measure(pid):
    """Open files, threads, and MB of memory."""
    proc = Path(f"/proc/{pid}")
    pages = int((proc / "statm").read_text().split()[1])
    mb = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return len(os.listdir(proc / "fd")), len(os.listdir(proc / "task")), mb


def ask(client, numbers):
    """Every third request is given up, before, at or some way after its first token."""
    for number in numbers:
        prompt = PROMPTS[number % len(PROMPTS)]
        with client.submit(prompt, PARAMS) as completion:
            if number % 3 == 0:
                for _ in range(number % 5):
                    completion.next()
            else:
                assert isinstance([*completion][-1], Finished)


def ask_in_threads(client, count):
    threads = [threading.Thread(target=ask, args=(client, range(n, count, 8))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: not client.stats().running)


@pytest.mark.parametrize("count", [96, pytest.param(5000, marks=pytest.mark.soak)])
def test_many_requests_a_third_of_them_aborted_leave_nothing_behind(client, tmp_path, count):
    ask_in_threads(client, 32)  # until everything that is made once has been made
    processes = [*find_engines(tmp_path), os.getpid()]
    before = [measure(pid) for pid in processes]
    ask_in_threads(client, count)
    for pid, (files, threads, mb) in zip(processes, before, strict=True):
        now = measure(pid)
        assert now[0] <= files and now[1] <= threads and now[2] < mb + 20
    stats = client.stats()
    assert (stats.running, stats.waiting, stats.pages_used) == (0, 0, 0)
