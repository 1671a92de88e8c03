"""Engines in processes of their own, for the tests of those processes."""

import os
import select
import sys
from pathlib import Path

import pytest

from app.engine import EngineOptions, launch
from app.engine.client import connect

ROOT = Path(__file__).parents[2]
FAKE = (sys.executable, "-m", "tests.engine.fake")


def find_engines(directory: Path) -> list[int]:
    """The processes that were told to live below this directory, the dead and buried excluded."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if b"-m" in words and any(word.startswith(os.fsencode(directory)) for word in words):
            found.append(int(path.parent.name))
    return found


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
