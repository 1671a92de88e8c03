"""Clients who are slow, silent or malicious, and a real gunicorn that serves the others meanwhile.

Where one of them could hold up the rest, the rest would wait longer than requests does (30 s).
"""

import contextlib
import re
import socket
import sys
import tempfile
from pathlib import Path

import pytest

from app.web.run.worker import Connection
from tests.server import fake, read_until, serve
from tests.waiting import wait_until

ENDLESS = {"prompt": "x", "max_tokens": None, "stream": True}
HEAD = b"POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def server():
    with serve(fake(0.01)) as server:
        yield server


@pytest.fixture
def temporary():
    """Of a short name, for the path of a socket in it is bounded."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@contextlib.contextmanager
def crowd(server, size, say=b""):
    """So many connections, each of which has sent the same."""
    with contextlib.ExitStack() as stack:
        connections = []
        for _ in range(size):
            connection = stack.enter_context(socket.create_connection(server.address, timeout=30))
            connection.sendall(say)
            connections.append(connection)
        yield connections


def test_who_does_not_close_holds_up_nobody(server):
    """gunicorn 27.0.1 waits for each of them, one after another, 2 s in its main loop."""
    stream = server.connect({"prompt": "x", "max_tokens": 200, "stream": True})
    read_until(stream, b"event: token")
    body = b'{"prompt":"x","max_tokens":1}'
    request = HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with crowd(server, 40, request) as connections:
        for connection in connections:
            read_until(connection, b"\r\n\r\n{")
        assert server.get("/livez").status_code == 200
        assert b"event: done" in read_until(stream, b"0\r\n\r\n")


def test_idle_connections_make_room_for_new_ones(server):
    with crowd(server, 800):
        for _ in range(3):
            assert server.get("/livez").status_code == 200
        assert server.post("/generate", json={"prompt": "x"}).status_code == 200


@pytest.mark.parametrize(
    "beginning",
    [
        b"GET /livez HTT",
        HEAD + b"Content-Length: 9\r\n\r\n{",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_slow_senders_hold_no_thread(server, beginning):
    with crowd(server, 200, beginning):
        assert server.post("/generate", json={"prompt": "x"}).status_code == 200


def test_a_full_server_says_so_at_once_and_that_it_lives():
    """Ten threads, and 32 who wait for one."""
    with serve(fake(0.05), max_running=1, max_queue=1) as server:
        connections = [server.connect(ENDLESS) for _ in range(42)]
        read_until(connections[0], b"event: token")
        refused = server.post("/generate", json={"prompt": "x"})
        assert refused.status_code == 503 and refused.json()["error"]["type"] == "overloaded"
        assert server.get("/readyz").status_code == 200


def test_a_request_in_pieces_is_a_request(server):
    body = '{"prompt":"…","max_tokens":2}'.encode()
    with socket.create_connection(server.address, timeout=30) as connection:
        for byte in HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body:
            connection.sendall(bytes([byte]))
        assert b'"text":" l"' in read_until(connection, b'"warnings"')


def test_requests_sent_together_are_answered_in_order(server):
    with socket.create_connection(server.address, timeout=30) as connection:
        connection.sendall(
            b"GET /models HTTP/1.1\r\nHost: localhost\r\n\r\n"
            + b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        said = read_until(connection, b'{"status":"ok"}')
        assert said.index(b'"models"') < said.index(b'"ok"')


def test_who_waits_for_leave_to_send_gets_it(server):
    body = b'{"prompt":"x","max_tokens":1}'
    with socket.create_connection(server.address, timeout=30) as connection:
        connection.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
        read_until(connection, b"100 Continue\r\n\r\n")
        connection.sendall(body)
        read_until(connection, b'"text":" "')


def test_what_is_no_http_is_refused_at_once_and_fills_no_log():
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"  # of TLS
    with serve(fake()) as server:
        for garbage in (hello, b"GARBAGE\r\n\r\n"):
            with crowd(server, 20, garbage) as connections:
                for connection in connections:
                    assert connection.recv(65536).startswith(b"HTTP/1.1 400")
        server.get("/livez")
        server.wait_for("/livez")
        assert sum("Invalid request" in line for line in server.lines) == 1


def is_free(address):
    try:
        socket.create_connection(address, timeout=30).close()
    except ConnectionRefusedError:
        return True
    return False


def test_when_the_master_is_killed_its_port_is_soon_free_and_its_folder_gone(temporary):
    """Kept connections held it for 33 s."""
    with serve(fake(0.01), {"TMPDIR": str(temporary)}) as server:
        with crowd(server, 5, b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n") as connections:
            for connection in connections:
                read_until(connection, b"ok")
            stream = server.connect(ENDLESS)
            read_until(stream, b"event: token")
            assert list(temporary.glob("continuo-counters-*"))
            server.process.kill()
            assert b"event: error" in read_until(stream, b"0\r\n\r\n")
            wait_until(lambda: is_free(server.address), 20)
        wait_until(lambda: not list(temporary.glob("continuo-counters-*")), 20)


def test_what_a_killed_server_left_behind_goes(temporary):
    (temporary / "continuo-counters-4194999").mkdir()
    with serve(fake(), {"TMPDIR": str(temporary)}) as server:
        assert server.get("/livez").status_code == 200
        (left,) = temporary.glob("continuo-counters-*")
        assert left.name.split("-")[2] == str(server.process.pid)


def test_what_cannot_start_says_so_in_a_sentence():
    command = [sys.executable, "-m", "gunicorn", "-c", "deployment/gunicorn.conf.py"]
    with serve([*command, "app:create_app()"], models="no-such-model") as server:
        assert server.wait() == 3
        [line] = server.lines
        assert re.search("Continuo cannot start: .*no-such-model", line)


def test_threads_on_the_command_line_are_ours_too():
    with serve(fake(0.0, "-k", "gthread")) as server:
        with crowd(server, 40, b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n") as connections:
            for connection in connections:
                read_until(connection, b"</html>")
            assert server.get("/livez").status_code == 200


@pytest.mark.parametrize(
    "body, is_whole",
    [
        (b"5\r\nhello\r\n0\r\n\r\n", True),
        (b"0\r\n\r\n", True),
        (b"5\r\nhello\r\n0;x=y\r\nTrailer: 1\r\n\r\n", True),
        (b"5\r\nhello\r\n0\r\n", False),
        (b"5\r\nhello\r\n10\r\n\r\n", False),
        (b"", False),
    ],
)
def test_the_end_of_a_body_in_chunks(body, is_whole):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        connection = Connection(None, ours, None, None)
        connection.take(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        assert not connection.is_whole(1000)
        connection.take(body)
        assert connection.is_whole(1000) == is_whole
