from prometheus_client.parser import text_string_to_metric_families


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
