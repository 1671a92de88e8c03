import json
import logging

import pytest


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, "app.web.watch.log")
    return lambda: [r.getMessage() for r in caplog.records if r.name == "app.web.watch.log"]


def test_one_line_for_people_with_the_timings(client, lines):
    client.post("/generate", json={"prompt": "secret words", "max_tokens": 3}, buffered=True)
    (line,) = lines()
    assert "POST '/generate' 200" in line
    assert "completion_tokens 3" in line and "first_token_ms 3.0" in line
    assert "secret" not in line


def test_one_line_for_machines(make_client, lines):
    client = make_client(log="json")
    asked, headers = {"prompt": "x", "max_tokens": 3}, {"X-Request-Id": "r1"}
    client.post("/generate", json=asked, headers=headers, buffered=True)
    client.post("/generate", json={"prompt": "x", "n": 0}, buffered=True)
    done, refused = map(json.loads, lines())
    assert done["id"] == "r1" and done["runs"][0]["completion_tokens"] == 3
    assert refused["status"] == 422 and refused["problem"] == "invalid_value"


def test_prompts_are_written_when_asked(make_client, lines):
    client = make_client(log="json", log_prompts=True)
    client.post("/generate", json={"prompt": "secret words"}, buffered=True)
    assert json.loads(lines()[0])["runs"][0]["prompt"] == "secret words"


def test_a_stream_is_logged_when_it_ends(client, engine, lines):
    reply = client.post(
        "/generate", json={"prompt": "x", "max_tokens": 2, "stream": True}, buffered=False
    )
    assert lines() == []
    assert b"done" in b"".join(reply.response)
    reply.close()
    assert len(lines()) == 1


def test_the_pages_files_are_logged_only_if_they_fail(client, lines):
    for name in ("page.css", "no-such.css"):
        client.get(f"/static/{name}", buffered=True)
    (line,) = lines()
    assert "GET '/static/no-such.css' 404" in line


def test_a_path_cannot_forge_a_line(client, lines):
    client.get("/x%0aPOST '/y' 200", buffered=True)
    (line,) = lines()
    assert "\n" not in line
