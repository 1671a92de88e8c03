import http.client
import json
import threading
from contextlib import contextmanager

import pytest
from werkzeug.serving import make_server

from app import create_app
from app.engine import Engine, EngineOptions
from app.settings import Settings
from tests.waiting import wait_until


@contextmanager
def running(tiny, **options):
    """An engine on the tiny model and its client."""
    engine = Engine(EngineOptions(models={"tiny": str(tiny)}, precision="float32", **options))
    yield engine, create_app(Settings(), engine).test_client()
    engine.close()


@pytest.fixture
def client(tiny):
    with running(tiny) as (_, client):
        yield client


def score(client, **fields):
    return client.post("/score", json=fields)


def test_a_score_is_the_sum_of_what_the_model_gives_each_token(client):
    first, second = score(client, prompt="One two", continuations=[" three four", " five"]).json[
        "results"
    ]
    asked = {"prompt": "One two three four", "prompt_logprobs": 0, "max_tokens": 0}
    read = client.post("/generate", json=asked).json["prompt_logprobs"]
    expected = sum(token["logprob"] for token in read[2:])
    assert first["logprob"] == pytest.approx(expected, abs=1e-5)
    assert first["bits"] == pytest.approx(-expected / 0.6931472, rel=1e-5)
    assert [token["text"] for token in second["tokens"]] == [" five"]


def test_a_score_without_a_prompt_counts_every_token(client):
    [scored] = score(client, text="One two").json["results"]
    assert [token["text"] for token in scored["tokens"]] == ["One", " two"]
    assert all(token["logprob"] is not None for token in scored["tokens"])


@pytest.mark.parametrize("fields", [{"text": "a b " * 64}, {"continuations": ["a b " * 64]}])
def test_a_text_longer_than_the_window_is_refused_in_the_callers_words(client, fields):
    refused = score(client, **fields)
    assert (refused.status_code, refused.json["error"]["field"]) == (422, *fields)


def test_more_texts_than_the_queue_takes_wait_for_each_other(tiny):
    with running(tiny, max_running=1, max_queue=1) as (_, client):
        results = score(client, prompt="One", continuations=[" two", " three"] * 4).json["results"]
    assert len({result["logprob"] for result in results}) == 2


def test_a_score_that_does_not_come_in_time_is_no_score(tiny):
    """It was 0.0: certainty."""
    with running(tiny, max_time=1e-6) as (_, client):
        refused = score(client, prompt="One two", text=" three")
    assert refused.status_code == 503 and "within max_time" in refused.json["error"]["message"]


def test_scores_of_readers_who_hang_up_end_in_the_queue_and_while_they_are_read(tiny):
    """They were read to their end, for nobody."""
    gate = threading.Event()
    with running(tiny, max_running=1) as (engine, client), serving(client.application) as port:
        [lane] = engine._lanes.values()
        forward = lane.model.forward
        lane.model.forward = lambda feeds: (gate.wait(), forward(feeds))[1]
        readers = [ask_for_a_score(port) for _ in range(2)]
        wait_until(lambda: (engine.stats().running, engine.stats().waiting) == (1, 1))
        for reader in readers:
            reader.close()
        wait_until(lambda: all(request.is_cancelled for request in [*engine._alive.values()]))
        gate.set()
        wait_until(lambda: engine.stats().outcomes["cancelled"] == 2)
        assert (engine.stats().running, engine.stats().waiting) == (0, 0)


@contextmanager
def serving(app):
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.port
    server.shutdown()
    thread.join()
    server.server_close()


def ask_for_a_score(port):
    reader = http.client.HTTPConnection("127.0.0.1", port)
    body = json.dumps({"text": " two" * 100})  # read in several turns
    reader.request("POST", "/score", body, {"Content-Type": "application/json"})
    return reader
