"""A head that dies, and another one in its place: what a reader of the web sees."""

import contextlib
import socket
import sys

import psutil
import pytest
import ray

from app.engine import EngineStopped
from app.engine.cluster import head
from tests.deployment.proxy import free_port
from tests.server import Server, read_until, serve
from tests.waiting import wait_until

SERVE = [sys.executable, "-m", "app", "serve", "--engine", "ray"]
ASKED = {"prompt": "The house", "seed": 7, "max_tokens": 20, "temperature": 1.0}


class Lone(Server):
    """Killed with all that it has started."""

    def stop(self):
        processes = []
        if psutil.pid_exists(self.process.pid):
            processes = psutil.Process(self.process.pid).children(recursive=True)
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        super().stop()


def cluster_at(port, model):
    lone = Lone([sys.executable, "-m", "tests.engine.cluster.lone", str(port), str(model)])
    lone.wait_for("^deployed$", 120)
    return lone


def assert_it_is_told(server):
    assert server.get("/livez").status_code == 200
    reply = server.post("/generate", json=ASKED)
    assert reply.status_code == 503 and int(reply.headers["Retry-After"]) > 0
    assert server.get("/readyz").status_code == 503


def test_a_head_that_dies_is_told_at_once_and_the_next_one_found(tiny):
    """Ray held the web worker up, so that not even /livez answered, and ended it after a minute."""
    port = free_port()
    first = cluster_at(port, tiny)
    try:
        with serve(SERVE, {"RAY_ADDRESS": f"127.0.0.1:{port}"}) as server:
            server.wait_for("Continuo writes at")
            workers = psutil.Process(server.process.pid).children()
            text = server.post("/generate", json=ASKED).json()["text"]
            reader = server.connect(ASKED | {"max_tokens": None, "stream": True})
            read_until(reader, b"event: token")
            first.stop()
            while not any("has gone" in line for line in server.lines):
                assert_it_is_told(server)
            assert b"event: error" in read_until(reader, b'"engine_stopped"')
            assert_it_is_told(server)
            first = cluster_at(port, tiny)
            again = wait_until(lambda: server.post("/generate", json=ASKED).json().get("text"))
            assert again == text
            assert psutil.Process(server.process.pid).children() != workers  # Ray is joined once
    finally:
        first.stop()


def test_before_its_node_has_started_a_machine_says_so_at_once(client, monkeypatch):
    """Ray looked for one for a minute, and each request was held and then answered 500."""
    with socket.create_server(("", 0)) as listener:  # Ray takes loopback for this machine's address
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        monkeypatch.setattr(head, "find_node_ids", set)
        assert client.state().message == (
            "There is no cluster to ask: no node of it runs on this machine."
        )
        with pytest.raises(EngineStopped, match="no node of it runs on this machine"):
            client.models()
