"""The page for whoever runs the server."""

import re
from base64 import b64encode

import msgspec
import pytest
from prometheus_client import Histogram

from app.engine import EngineState
from app.engine.cluster.totals import add_up
from app.web.watch import faults as keeping
from app.web.watch.faults import Fault, Faults

ASKED = {"prompt": "x", "max_tokens": 3}


def page(client, **more):
    return re.sub(r"\s+", " ", client.get("/status", **more).get_data(as_text=True))


def test_it_shows_readers_speed_and_models(client):
    client.post("/generate", json=ASKED)
    said = page(client)
    assert "Continuo: ready" in said
    assert "Texts being written</th><td>0 of 8" in said  # four of each of two models
    assert re.search(r"half within [\d.]+ s, 95% within [\d.]+ s", said)
    assert "Requests finished</th><td>1" in said
    assert "<td>int8</td> <td>u8</td><td>native, cpu, 1 thread</td>" in said
    assert "Failures in the last hour: 0" in said


def test_a_replica_that_leaves_takes_no_speed_with_it(client, engine, monkeypatch):
    """Its tokens were missing in the second look, so the page showed negative tokens a second."""
    before = msgspec.structs.replace(engine.stats(), completion_tokens=500)
    now = msgspec.structs.replace(before, completion_tokens=600, busy_s=0.25, uptime_s=1.5)
    looks = [add_up({"left": before, "stays": before}), add_up({"stays": now, "came": now})]
    monkeypatch.setattr(engine, "stats", lambda: looks.pop(0))
    monkeypatch.setattr("app.web.watch.status.MEASURE_S", 0)
    said = page(client)
    assert "Tokens a second</th><td>200<" in said and "Busy</th><td>50% of the time" in said


def test_it_says_why_nothing_is_taken(engine, client):
    engine.condition = EngineState("restarting", "The engine starts again in 4 s.")
    said = page(client)
    assert "not ready" in said and "The engine starts again in 4 s." in said


def test_failures_are_shown_whole_requests_and_streams_alike(engine, client):
    engine.fails_after = 1
    client.post("/generate", json=ASKED).close()
    with client.post("/generate", json=ASKED | {"stream": True}) as stream:
        stream.get_data()
    client.post("/generate", json={"prompt": 5}).close()  # the caller's mistake is none of ours
    said = page(client)
    assert "Failures in the last hour: 2" in said and "engine_error" in said
    assert "<td>500</td>" in said and "<td>200</td>" in said


def test_a_browser_is_asked_for_the_key_as_a_password(make_client):
    client = make_client(api_keys=("secret",))
    refused = client.get("/status")
    assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Basic")
    given = {"Authorization": "Basic " + b64encode(b"me:secret").decode()}
    assert client.get("/status", headers=given).status_code == 200
    wrong = {"Authorization": "Basic " + b64encode(b"me:wrong").decode()}
    assert client.get("/status", headers=wrong).status_code == 401


@pytest.fixture
def shared(tmp_path):
    def make():
        faults = Faults()
        faults.share(tmp_path / "faults.jsonl")
        return faults

    return make


def test_failures_are_read_by_all_who_share_the_file(shared, monkeypatch):
    one, other = shared(), shared()
    one.note(Fault(keeping.time.time(), 500, "first", "GET", "/"))
    other.note(Fault(keeping.time.time(), 500, "second", "GET", "/"))
    one.note(Fault(keeping.time.time() - 4000, 500, "long ago", "GET", "/"))
    assert [fault.kind for fault in other.last_hour()] == ["second", "first"]


def test_the_file_does_not_grow_for_ever(shared, tmp_path, monkeypatch):
    monkeypatch.setattr(keeping, "MOST", 10)
    faults = shared()
    for i in range(300):
        faults.note(Fault(keeping.time.time(), 500, f"{i}", "GET", "/"))
    assert (tmp_path / "faults.jsonl").stat().st_size < 5000
    assert faults.last_hour()[0].kind == "299"
    assert list(tmp_path.iterdir()) == [tmp_path / "faults.jsonl"]


def test_quantiles_are_read_off_the_buckets(client):
    first_token: Histogram = client.application.extensions["continuo"].metrics.first_token
    for _ in range(8):
        first_token.observe(0.3)
    for _ in range(2):
        first_token.observe(200)
    metrics = client.application.extensions["continuo"].metrics
    assert metrics.first_token_quantiles((0.4, 0.8, 0.99)) == [0.375, 0.5, 60]
