"""A real gunicorn under our configuration, on the fake engine."""

import re
import signal
import socket

import pytest

from tests.server import fake, read_until, serve
from tests.waiting import wait_until

ENDLESS = {"prompt": "x", "max_tokens": None, "stream": True}


@pytest.fixture(scope="module")
def server():
    with serve(fake(0.01, "-w", "2"), ping=0.5, api_keys="") as server:
        yield server


def test_a_reader_who_hangs_up_while_streaming_is_noticed(server):
    name = 'continuo_cancelled_total{by="disconnect",phase="decode"}'
    before = server.metric(name)
    connection = server.connect(ENDLESS)
    read_until(connection, b"event: token")
    connection.close()
    wait_until(lambda: server.metric(name) == before + 1)


def test_a_reader_who_waits_for_json_and_hangs_up_is_noticed(server):
    before = server.metric("continuo_cancelled_total")
    server.connect(ENDLESS | {"stream": False}).close()
    wait_until(lambda: server.metric("continuo_cancelled_total") == before + 1)


def test_a_reader_who_sends_on_and_hangs_up_is_noticed(server):
    before = server.metric("continuo_cancelled_total")
    connection = server.connect(ENDLESS)
    read_until(connection, b"event: token")
    connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
    connection.close()
    wait_until(lambda: server.metric("continuo_cancelled_total") == before + 1)


def test_counters_add_up_over_workers(server):
    name = 'continuo_responses_total{status="404"}'
    before = server.metric(name)
    for _ in range(20):
        assert server.get("/nothing").status_code == 404
    assert {server.metric(name) for _ in range(10)} == {before + 20}


def test_limits_hold_over_workers():
    with serve(fake(0.0, "-w", "3"), limit_per_address="5/hour") as server:
        replies = [server.post("/generate", json={"prompt": "x"}) for _ in range(12)]
        assert [reply.status_code for reply in replies] == [200] * 5 + [429] * 7


@pytest.mark.parametrize(
    "body, status",
    [
        (b"zz\r\nnonsense\r\n0\r\n\r\n", b"400"),  # not a chunk's size
        (b"5\r\n{'a'}XX", b"400"),  # a chunk without its end
    ],
)
def test_broken_chunking_is_the_callers_mistake(server, body, status):
    with socket.create_connection(server.address, timeout=30) as connection:
        connection.sendall(
            b"POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n" + body
        )
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(65536).startswith(b"HTTP/1.1 " + status)
    assert server.get("/livez").status_code == 200


def test_who_sends_too_much_gets_to_read_so(server):
    """The connection was closed while they were still sending: a broken pipe and no answer."""
    with socket.create_connection(server.address, timeout=30) as connection:
        connection.sendall(
            b"POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
            b"Content-Length: 20000000\r\n\r\n" + b"x" * 20_000_000
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 413")


def test_a_full_server_still_says_that_it_lives():
    with serve(fake(0.02), max_running=20, max_queue=4) as server:
        connections = [server.connect(ENDLESS) for _ in range(24)]
        for connection in connections:
            read_until(connection, b"event: token")
        assert server.get("/livez").status_code == 200
        for connection in connections:
            connection.close()


def test_sigterm_drains_and_running_streams_finish():
    with serve(fake(0.02)) as server:
        connection = server.connect({"prompt": "x", "max_tokens": 150, "stream": True})
        read_until(connection, b"event: token")
        server.terminate()
        wait_until(lambda: server.get("/readyz").status_code == 503)
        assert server.get("/readyz").headers["Retry-After"]
        refused = server.post("/generate", json={"prompt": "x"})
        assert refused.status_code == 503 and refused.json()["error"]["type"] == "stopping"
        assert server.get("/livez").status_code == 200
        assert b"event: done" in read_until(connection, b"0\r\n\r\n")
        assert server.process.wait(10) == 0


def test_a_server_whose_requests_have_all_ended_stops_without_waiting():
    with serve(fake(0), grace=300) as server:
        for path in ("/", "/static/page.css", "/parameters", "/no-such-page"):
            server.get(path)
        server.post("/generate", json={"prompt": "x"})
        server.terminate()
        assert server.process.wait(60) == 0


@pytest.mark.parametrize("grace, signals", [(30, 2), (0.2, 1)])
def test_a_second_sigterm_or_the_times_end_closes_streams_with_an_error(grace, signals):
    with serve(fake(0.02), grace=grace) as server:
        connection = server.connect(ENDLESS)
        read_until(connection, b"event: token")
        server.terminate()
        if signals == 2:
            wait_until(lambda: server.get("/readyz").status_code == 503)
            server.terminate()
        assert b"event: error" in read_until(connection, b"0\r\n\r\n")
        assert server.process.wait(10) == 0


def test_ctrl_c_waits_for_nobody():
    with serve(fake(0.02)) as server:
        connection = server.connect(ENDLESS)
        read_until(connection, b"event: token")
        server.process.send_signal(signal.SIGINT)
        assert b"event: error" in read_until(connection, b"0\r\n\r\n")
        assert server.process.wait(10) == 0


def test_under_another_configuration_running_streams_finish(tmp_path):
    (tmp_path / "other.py").write_text("worker_class = 'gthread'\nthreads = 8\n", encoding="utf-8")
    command = fake(0.02)
    command[command.index("-c") + 1] = str(tmp_path / "other.py")
    with serve([*command, "-b", "127.0.0.1:0"]) as server:
        server.wait_for("Booting worker")
        connection = server.connect({"prompt": "x", "max_tokens": 50, "stream": True})
        read_until(connection, b"event: token")
        server.terminate()
        assert b"event: done" in read_until(connection, b"0\r\n\r\n")
        assert server.process.wait(10) == 0
        with pytest.raises(ConnectionRefusedError):
            server.connect(ENDLESS)


def test_sync_workers_warn_and_serve():
    with serve(fake(0.0, "-k", "sync", "--threads", "1")) as server:
        assert (
            server.post("/generate", json={"prompt": "x", "max_tokens": 3}).json()["text"] == " la"
        )
        server.wait_for("Each worker serves only one reader")


def test_listening_beyond_loopback_without_a_key_warns():
    with serve(fake(), host="0.0.0.0") as server:
        server.wait_for("WITHOUT A KEY")
    with serve(fake(), host="0.0.0.0", api_keys="secret") as server:
        server.wait_for("Continuo writes at")
        assert not any("WITHOUT" in line for line in server.lines)


def test_a_bad_setting_stops_the_start_and_is_named():
    with serve(fake(), workers="many") as server:
        assert server.process.wait(30) != 0
        assert server.wait_for("CONTINUO_WORKERS must be a whole number; got 'many'")
        assert not any(re.match("Traceback", line) for line in server.lines)


def test_who_stalls_is_cut_off_sending_or_reading():
    with serve(fake(), patience=0.3) as server:
        with socket.create_connection(server.address, timeout=30) as connection:
            connection.sendall(
                b"POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
                b"Content-Length: 10\r\n\r\nhalf"
            )
            assert connection.recv(65536).startswith(b"HTTP/1.1 408")
        server.connect(ENDLESS | {"logprobs": 50, "n": 8})  # and reads nothing
        wait_until(lambda: server.metric("continuo_cancelled_total") == 1)
        assert not any("Traceback" in line for line in server.lines)


def test_a_public_server_says_what_is_open_and_knows_visitors_apart():
    with serve(fake(), public="true", limit_per_address="1/hour") as server:
        server.wait_for("Public: anybody who knows the address may write here, 1/hour")
        replies = [
            server.post(
                "/generate",
                json={"prompt": "x", "max_tokens": 1},
                headers={"Host": "a-b.trycloudflare.com", "X-Forwarded-For": visitor},
            )
            for visitor in ("203.0.113.1", "203.0.113.1", "203.0.113.2")
        ]
        assert [reply.status_code for reply in replies] == [200, 429, 200]


def ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_ipv6_address_is_listened_on_with_brackets_and_without(host):
    with serve(fake(0.01), host=host) as server:
        server.wait_for(r"Continuo writes at http://\[::1\]:\d+")
