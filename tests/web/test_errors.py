import logging

import pytest

from app.engine import EngineState


def problem(reply, status, field=None):
    """The error of a reply, after checking what every error has."""
    assert reply.status_code == status, reply.text
    error = reply.json["error"]
    assert error["message"][-1] in ".?" and error["request_id"]
    assert error.get("field") == field
    return error


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b'{"prompt": "x"',
        b'{"prompt": "\xff"}',
        b'{"prompt": "\\ud800"}',
        b'{"prompt": "x", "temperature": NaN}',
        b'{"prompt": "x", "temperature": 1e999}',
        b"[" * 100_000,
        b'["prompt"]',
        b"null",
    ],
)
def test_an_unreadable_body_is_400(client, body):
    problem(client.post("/generate", data=body, content_type="application/json"), 400)


def test_text_that_is_not_utf8_is_400(client):
    problem(client.post("/generate", data=b"\xff", content_type="text/plain"), 400)


def test_json_sent_as_a_form_says_how_to_send_it(client):
    form = "application/x-www-form-urlencoded"
    reply = client.post("/generate", data=b'{"prompt": "x"}', content_type=form)
    assert "application/json" in problem(reply, 400)["message"]


@pytest.mark.parametrize(
    "fields, field",
    [
        ({}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["a", 5]}, "prompt"),
        ({"prompt": ["a"] * 200}, "prompt"),
        ({"prompt": "x" * 2_000_000}, "prompt"),
        ({"prompt": "x", "temperature": 7}, "temperature"),
        ({"prompt": "x", "temperature": "hot"}, "temperature"),
        ({"prompt": "x", "temperature": None}, "temperature"),
        ({"prompt": "x", "temperature": 1e308}, "temperature"),
        ({"prompt": "x", "max_tokens": True}, "max_tokens"),
        ({"prompt": "x", "max_tokens": 10**30}, "max_tokens"),
        ({"prompt": "x", "stop": ["a"] * 1000}, "stop"),
        ({"prompt": "x", "stop": [""]}, "stop"),
        ({"prompt": "x", "logit_bias": {"a": 1}}, "logit_bias"),
        ({"prompt": "x", "stream": "yes"}, "stream"),
        ({"prompt": "x", "include_prompt": 1}, "include_prompt"),
        ({"prompt": "x", "model": 5}, "model"),
        ({"prompt": ["x"] * 100, "n": 64}, "n"),
        ({"prompt": ["x"], "stream": True}, "prompt"),
    ],
)
def test_a_bad_value_is_422_and_names_the_field(client, fields, field):
    problem(client.post("/generate", json=fields), 422, field)


def test_a_bound_is_named(client):
    error = problem(
        client.post("/generate", json={"prompt": "x", "temperature": 7.5}), 422, "temperature"
    )
    assert (error["low"], error["high"], error["value"]) == (0, 5, "7.5")


def test_an_unknown_field_says_what_was_meant(client):
    error = problem(
        client.post("/generate", json={"prompt": "x", "temprature": 1}), 422, "temprature"
    )
    assert error["did_you_mean"] == "temperature"


def test_an_unknown_model_is_404(client):
    error = problem(client.post("/generate", json={"prompt": "x", "model": "y"}), 404, "model")
    assert "fake" in error["message"]


def test_routes_and_methods_that_are_not_there(client):
    problem(client.get("/nothing"), 404)
    reply = client.get("/score")
    problem(reply, 405)
    assert "POST" in reply.headers["Allow"]


def test_a_body_too_large_is_413_and_names_the_setting(make_client):
    reply = make_client(max_body=100).post("/generate", json={"prompt": "x" * 200})
    assert "max_body" in problem(reply, 413)["message"]


def test_another_type_is_415(client):
    problem(client.post("/generate", data=b"<a/>", content_type="application/xml"), 415)


@pytest.mark.parametrize("stream", [True, False])
def test_busy_is_429_before_the_first_byte_and_says_when_and_how_many(client, engine, stream):
    engine.busy = True
    reply = client.post("/generate", json={"prompt": "x", "stream": stream})
    error = problem(reply, 429)
    assert reply.headers["Retry-After"] == "3" and reply.headers["retry-after-ms"] == "3000"
    assert error["ahead"] == 7 and error["retry_after_ms"] == 3000


@pytest.mark.parametrize("name", ["loading", "restarting", "failed"])
def test_an_engine_that_is_not_there_is_503(client, engine, name):
    engine.condition = EngineState(name=name, message="The model is being loaded.")
    generated = client.post("/generate", json={"prompt": "x"})
    assert problem(generated, 503)["state"] == name
    for reply in (generated, client.get("/readyz")):
        assert problem(reply, 503)["message"] == "The model is being loaded."
        assert reply.headers["Retry-After"]
    assert client.get("/health").json["error"]["code"] == 503
    assert client.get("/livez").status_code == 200


def test_an_engine_that_fails_in_the_middle(client, engine):
    engine.fails_after = 2
    problem(client.post("/generate", json={"prompt": "x"}), 500)
    text = client.post("/generate", json={"prompt": "x", "stream": True}).text
    assert text.rstrip().splitlines()[-2] == "event: error"
    assert "The engine stumbled." in text


def test_a_fault_of_ours_is_logged_and_says_nothing_of_itself(client, engine, caplog):
    engine.info = lambda: 1 / 0
    with caplog.at_level(logging.ERROR):
        error = problem(client.get("/models"), 500)
    assert "ZeroDivisionError" in caplog.text and "Zero" not in error["message"]


def test_the_request_id_comes_back_cleaned(client):
    assert (
        client.get("/livez", headers={"X-Request-Id": "a b<c>-1"}).headers["X-Request-Id"]
        == "abc-1"
    )
    reply = client.get("/nothing", headers={"X-Request-Id": "mine"})
    assert problem(reply, 404)["request_id"] == "mine"


def test_clients_are_told_not_to_repeat_what_cannot_improve(client):
    assert client.get("/nothing").headers["x-should-retry"] == "false"


@pytest.mark.parametrize(("host", "status"), [("localhost", 413), ("elsewhere", 403)])
def test_a_page_says_what_is_wrong_though_its_form_cannot_be_read(make_client, host, status):
    """The page asked for the form's fields, and that failed anew: a 500 without a body."""
    headers = {"Accept": "text/html", "Host": host}
    reply = make_client(max_body=100).post("/generate", data={"prompt": "x" * 101}, headers=headers)
    assert reply.status_code == status and 'role="alert"' in reply.text
