import pytest

from app import create_app
from app.settings import Settings

FORM = {"data": {"prompt": "x", "max_tokens": "1"}}


# ---- other people's pages


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "127.0.0.1", "[::1]:8000", "a.localhost"]
)
def test_loopback_answers_to_its_own_names(client, host):
    assert client.get("/livez", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "hosts, host, status",
    [
        ((), "evil.example", 403),
        (("evil.example",), "evil.example", 200),
        (("*",), "evil.example", 200),
        (("*.trycloudflare.com",), "a-b.trycloudflare.com", 200),
        (("*.trycloudflare.com",), "trycloudflare.com.evil.example", 403),
        (("*.trycloudflare.com",), "trycloudflare.com", 403),
    ],
)
def test_loopback_answers_to_no_other_name_unless_told(make_client, hosts, host, status):
    assert make_client(hosts=hosts).get("/livez", headers={"Host": host}).status_code == status


def test_named_sites_may_frame_the_page_and_no_others(client, make_client):
    with client.get("/") as reply:
        assert "frame-ancestors 'none'" in reply.headers["Content-Security-Policy"]
    with make_client(frames=("https://huggingface.co",)).get("/") as reply:
        policy = reply.headers["Content-Security-Policy"]
        assert "frame-ancestors https://huggingface.co" in policy


def test_beyond_loopback_any_name_will_do(client):
    reply = client.get(
        "/livez", headers={"Host": "desk.lan"}, environ_overrides={"REMOTE_ADDR": "192.168.0.7"}
    )
    assert reply.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:9999"},  # another port is another's page
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.parametrize(
    "body", [FORM, {"data": b"x", "content_type": "text/plain"}, {"data": b'{"prompt":"x"}'}]
)
def test_what_a_page_elsewhere_can_post_unasked_is_refused(client, headers, body):
    reply = client.post("/generate", headers=headers, **body)
    assert reply.status_code == 403 and reply.json["error"]["type"] == "cross_site"


@pytest.mark.parametrize(
    "headers", [{}, {"Origin": "http://localhost"}, {"Sec-Fetch-Site": "same-origin"}]
)
def test_our_own_form_and_programs_may_post(client, headers):
    assert client.post("/generate", headers=headers, **FORM).status_code == 200


def test_cors_is_off_unless_listed(client, make_client):
    origin = {"Origin": "https://friend.example"}
    wanted = "authorization, x-stainless-lang, user-agent"  # as OpenAI's JavaScript client asks
    preflight = origin | {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": wanted,
    }
    reply = client.options("/generate", headers=preflight)
    assert "Access-Control-Allow-Origin" not in reply.headers
    friendly = make_client(origins=("https://friend.example",), api_keys=("k",))
    reply = friendly.options("/generate", headers=preflight)
    assert reply.status_code == 204
    assert reply.headers["Access-Control-Allow-Origin"] == origin["Origin"]
    assert reply.headers["Access-Control-Allow-Headers"] == wanted
    assert friendly.options("/nothing", headers=preflight).status_code == 204
    other = friendly.options("/generate", headers=preflight | {"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in other.headers
    assert "Origin" in other.headers["Vary"]


def test_every_answer_carries_the_headers_that_keep_a_page_safe(client):
    for path in ("/docs", "/nothing", "/static/docs.css", "/models"):
        with client.get(path) as reply:
            headers = reply.headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_one_proxy_in_front_is_believed_when_told(engine):
    app = create_app(Settings(proxies=1, hosts=("write.example",)), engine)
    reply = app.test_client().get(
        "/docs",
        headers={
            "X-Forwarded-For": "203.0.113.9",
            "X-Forwarded-Prefix": "/continuo",
            "X-Forwarded-Host": "write.example",
        },
    )
    assert 'href="/continuo/static/docs.css"' in reply.text


def test_it_works_under_a_path(client):
    reply = client.get("/docs", environ_overrides={"SCRIPT_NAME": "/write"})
    assert 'href="/write/openapi.json"' in reply.text
