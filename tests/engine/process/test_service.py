"""Real servers, real workers, real engine processes, and what happens when one is killed."""

import contextlib
import os
import signal
import socket
import subprocess
import sys

import pytest

from app.engine import Params, Token
from tests.engine.conftest import ROOT, wait_for_end, wait_for_engine
from tests.waiting import wait_until

PARAMS = Params()


@contextlib.contextmanager
def running(*command):
    """A server of ours, dead at the end of the block."""
    with subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for_line(process, words):
    for line in process.stdout:
        if words in line:
            return line
    raise AssertionError(f"the server ended without saying {words!r}")


def get(address):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(address))
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return connection.makefile("rb").read().decode().split("\r\n\r\n")[1]


@contextlib.contextmanager
def forked(function):
    """A worker: function() in a fork, dead at the end of the block."""
    pid = os.fork()
    if pid == 0:
        try:
            function()
        finally:
            os._exit(0)
    try:
        yield pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def wait_until_running(client, count):
    wait_until(lambda: client.stats().running == count)


@pytest.mark.parametrize("more", [[], ["--preload"]])
def test_all_workers_of_gunicorn_share_one_engine_that_ends_with_the_master(tmp_path, more):
    address = tmp_path / "http"
    app = f'tests.engine.server:make_app("{tmp_path}")'
    with running(
        "gunicorn", "-c", "/dev/null", "-w", "3", "-b", f"unix:{address}", *more, app
    ) as gunicorn:
        wait_for_line(gunicorn, "Listening at")
        for _ in range(3):
            assert get(address).endswith("['fake']")
        engine = wait_for_engine(tmp_path)
        gunicorn.kill()
        assert wait_for_end(engine)


def test_under_flasks_reloader_only_the_child_has_an_engine(tmp_path, tiny):
    app = f'tests.engine.server:make_flask_app("{tmp_path}", "{tiny}")'
    with running("flask", "--app", app, "run", "--debug", "--port", "0") as flask:
        wait_for_line(flask, "Debugger is active")  # said by the child, about to serve
        (home,) = tmp_path.glob("continuo-*/*")
        child = int(home.name.split("-")[0])
        engine = wait_for_engine(tmp_path)
        assert child != flask.pid
        os.kill(child, signal.SIGKILL)
        assert wait_for_end(engine)


def test_an_engine_ends_with_its_server_and_leaves_nothing(tmp_path):
    with running("tests.engine.server", str(tmp_path)) as server:
        wait_for_line(server, "serving")
        engine = wait_for_engine(tmp_path)
        server.kill()
        assert wait_for_end(engine)
    assert [*tmp_path.glob("continuo-*/*")] == []


def test_a_worker_ends_soon_after_its_master_was_killed(tmp_path):
    """It kept the port, and answered for a minute, while a new server could not start."""
    with running("tests.engine.server", str(tmp_path), "fork") as server:
        pids = {int(wait_for_line(server, "serving").split()[1]) for _ in range(2)}
        (worker,) = pids - {server.pid}
        server.kill()
        assert wait_for_end(worker, timeout=5)


def test_what_a_server_and_engine_killed_together_left_is_removed(tmp_path, connect_fake):
    with running("tests.engine.server", str(tmp_path)) as server:
        wait_for_line(server, "serving")
        engine = wait_for_engine(tmp_path)
        os.kill(engine, signal.SIGSTOP)  # so that it cannot clean up after its server
    os.kill(engine, signal.SIGKILL)
    assert wait_for_end(engine)
    (left,) = tmp_path.glob("continuo-*/*")
    connect_fake()
    assert not left.exists()


def test_a_killed_worker_loses_its_requests_and_others_go_on(client):
    mine = client.submit("count", PARAMS)

    def work():
        client.submit("count", PARAMS)
        list(client.submit("count", PARAMS))

    with forked(work) as worker:
        wait_until_running(client, 3)
        os.kill(worker, signal.SIGKILL)
        wait_until_running(client, 1)
    assert isinstance(mine.next(), Token)


def test_a_worker_that_takes_nothing_is_cut_and_told_when_it_wakes(client):
    told, tell = os.pipe()

    def work():
        *tokens, failed = client.submit("flood", PARAMS)
        is_whole = [token.id for token in tokens] == list(range(len(tokens)))
        os.write(tell, f"{is_whole} {failed.kind}".encode())

    with forked(work) as worker:
        wait_until_running(client, 1)
        os.kill(worker, signal.SIGSTOP)
        wait_until_running(client, 0)
        os.kill(worker, signal.SIGCONT)
        assert os.read(told, 100) == b"True reader_too_slow"
    os.close(told)
    os.close(tell)
