import msgspec
from prometheus_client.parser import text_string_to_metric_families

from app.engine.cluster.totals import add_up


def samples(client):
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def test_what_readers_felt_and_how_the_engine_stands(client, engine):
    client.post("/generate", json={"prompt": "x", "max_tokens": 5})
    client.post("/generate", json={"prompt": "x", "n": 0})
    said = samples(client)
    assert said["continuo_time_to_first_token_seconds_count",] == 1
    assert said["continuo_inter_token_latency_seconds_count",] == 4
    assert said["continuo_responses_total", "200"] == 1
    assert said["continuo_rejected_total", "invalid_value"] == 1
    assert said["continuo_requests_total", "finished"] == 1
    assert said["continuo_ready",] == 1
    assert said["continuo_num_requests_running",] == 0


def test_no_prompt_text_is_in_them(client):
    client.post("/generate", json={"prompt": "secret", "max_tokens": 1, "model": "secret"})
    assert "secret" not in client.get("/metrics").text


def test_replicas_count_apart_so_that_one_that_leaves_is_no_reset(client, engine, monkeypatch):
    """Prometheus takes a counter that falls for one that began again, and adds all of it."""
    one = msgspec.structs.replace(engine.stats(), completion_tokens=5, outcomes={"finished": 2})
    monkeypatch.setattr(engine, "stats", lambda: add_up({"a": one, "b": one}))
    said = samples(client)
    for replica in "ab":
        assert said["continuo_generation_tokens_total", replica] == 5
        assert said["continuo_requests_total", replica, "finished"] == 2
    assert said["continuo_process_rss_bytes",] == 2 * one.memory_bytes
