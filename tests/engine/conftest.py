"""Engines in this process on the tiny model, and engines in processes of their own."""

import contextlib
import os
import select
import sys
from pathlib import Path

import pytest

from app.engine import Engine, EngineOptions
from app.engine.process import launch
from app.engine.process.client import connect
from tests.waiting import wait_until


@pytest.fixture(scope="session")
def engine(tiny):
    """Exact arithmetic on the tiny model: two layers, a window of 128."""
    engine = Engine(EngineOptions(models={"tiny": str(tiny)}, precision="float32", threads=1))
    yield engine
    engine.close()
    assert engine.stats().pages_used == 0


ROOT = Path(__file__).parents[2]
FAKE = (sys.executable, "-m", "tests.engine.fake")


def find_engines(directory: Path) -> list[int]:
    """The processes that were told to live in a home below this directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if os.fsencode(directory / "continuo-") in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def wait_for_engine(directory: Path) -> int:
    """The one engine: in the moment of its exec a process has no command line to be found by."""
    (engine,) = wait_until(lambda: find_engines(directory))
    return engine


def run_in_fork(function) -> bool:
    """function() in a forked child; whether it said yes."""
    pid = os.fork()
    if pid == 0:
        answer = False
        try:
            answer = function()
        finally:
            os._exit(0 if answer else 1)
    return os.waitpid(pid, 0)[1] == 0


def wait_for_end(pid: int, timeout: float = 10.0) -> bool:
    """Whether that process ended in time."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([pidfd], [], [], timeout)[0])
    finally:
        os.close(pidfd)


@pytest.fixture
def tmp_path(tmp_path_factory):
    """A short one: sockets lie below it, and a socket's path has 107 bytes."""
    return tmp_path_factory.mktemp("t")


@pytest.fixture
def connect_fake(tmp_path, monkeypatch):
    """connect() to a fake engine of this test, and the end of it all afterwards."""
    monkeypatch.setattr(launch, "ENGINE", FAKE)
    monkeypatch.setattr(launch, "RESTARTS", (0, 0, 0))
    clients = []

    def connect_to(path="model"):
        clients.append(connect(EngineOptions(models={"fake": path}), str(tmp_path)))
        return clients[-1]

    yield connect_to
    for client in clients:
        client.close()
    assert find_engines(tmp_path) == []


@pytest.fixture
def client(connect_fake):
    return connect_fake()
