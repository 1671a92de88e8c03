"""deployment/nginx.conf in a real nginx, before one server."""

import json
import socket
import ssl

import pytest

from tests.deployment.proxy import make_certificate, needs_nginx, proxy, replaced
from tests.server import fake, read_until, serve
from tests.waiting import wait_until

pytestmark = needs_nginx
ENDLESS = {"prompt": "x", "max_tokens": None, "stream": True}


@pytest.fixture(scope="module")
def server():
    with serve(fake(0.01), proxies=1, hosts="write.example.org") as server:
        yield server


@pytest.fixture(scope="module")
def front(server):
    with proxy([server.address]) as front:
        yield front


def connect(front, asked):
    body = json.dumps(asked).encode()
    connection = socket.create_connection(("127.0.0.1", front.port), timeout=30)
    connection.sendall(
        b"POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    )
    return connection


def test_a_stream_comes_as_it_is_written(front):
    """An endless text has no end that a buffer could wait for."""
    with connect(front, ENDLESS) as connection:
        assert b"event: token" in read_until(connection, b"event: token")


def test_a_reader_who_hangs_up_at_nginx_ends_the_text(server, front):
    name = 'continuo_cancelled_total{by="disconnect",phase="decode"}'
    before = server.metric(name)
    with connect(front, ENDLESS) as connection:
        read_until(connection, b"event: token")
    wait_until(lambda: server.metric(name) > before)


def test_it_answers_to_its_public_name(front):
    assert front.get("/", headers={"Host": "write.example.org"}).status_code == 200
    assert front.get("/", headers={"Host": "evil.example"}).status_code == 403


@pytest.mark.parametrize("name", ["X-Forwarded-Prefix", "X-Forwarded-Port", "X-Forwarded-Host"])
def test_nobody_says_where_the_server_is(front, name):
    servers = front.get("/openapi.json", headers={name: "/evil"}).json()["servers"]
    assert "evil" not in json.dumps(servers)


def test_what_the_server_counts_is_seen_from_this_machine(front):
    assert "continuo_ready 1.0" in front.get("/metrics").text


def test_under_a_path_of_its_own(server):
    def under_write(text):
        headers = [line for line in text.splitlines() if "proxy_set_header" in line]
        headers = [line for line in headers if "Prefix" not in line and "#" not in line]
        location = ["location /write/ {", "proxy_pass http://continuo/;", *headers]
        location += ["proxy_set_header X-Forwarded-Prefix /write;", "}", "location / {"]
        return replaced(text, "location / {", "\n".join(location))

    with proxy([server.address], under_write) as front:
        page = front.get("/write/")
        assert page.status_code == 200 and 'src="/' not in page.text
        assert front.get("/write/openapi.json").json()["servers"] == [{"url": "/write"}]
        reply = front.post("/write/generate", json={"prompt": "x", "max_tokens": 3})
        assert reply.json()["text"] == " la"


def test_over_tls(server, tmp_path):
    certificate = make_certificate(tmp_path)
    with proxy([server.address], certificate=certificate) as front:
        assert front.post(json={"prompt": "x", "max_tokens": 3}).json()["text"] == " la"
        context = ssl.create_default_context(cafile=str(certificate))
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with (
            socket.create_connection(("localhost", front.port)) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as wrapped,
        ):
            assert wrapped.version() == "TLSv1.2"
