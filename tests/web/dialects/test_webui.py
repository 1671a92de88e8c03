import math


def test_what_sillytavern_reads(client):
    said = client.get("/v1/internal/model/info").json
    assert said == {"model_name": "fake", "lora_names": [], "loader": "native"}


def test_tokens_there_and_back(client):
    said = client.post("/v1/internal/encode", json={"text": "ab"}).json
    assert said == {"tokens": [97, 98], "length": 2}
    assert client.post("/v1/internal/token-count", json={"text": "ab"}).json == {"length": 2}
    assert client.post("/v1/internal/decode", json={"tokens": [97, 98]}).json == {"text": "ab"}


def test_the_odds_of_the_next_token(client):
    said = client.post("/v1/internal/logits", json={"prompt": "x", "top_logits": 2}).json
    assert said == {" ": math.exp(-0.5), "!": math.exp(-1.5)}


def test_the_odds_are_refused_after_sampling(client):
    reply = client.post("/v1/internal/logits", json={"prompt": "x", "use_samplers": True})
    assert reply.status_code == 400 and reply.json["error"]["param"] == "use_samplers"


def test_odds_whose_time_ran_out_in_the_queue_are_a_503(client, engine, monkeypatch):
    submit = engine.submit

    def run_out(*asked):
        completion = submit(*asked)
        completion.cancel()
        return completion

    engine.begin.clear()
    monkeypatch.setattr(engine, "submit", run_out)
    reply = client.post("/v1/internal/logits", json={"prompt": "x"})
    assert reply.status_code == 503 and reply.headers["Retry-After"]


def test_stopping_everybody_stops_nobody(client, engine):
    engine.step.clear()
    running = client.post("/v1/completions", json={"prompt": "", "stream": True}, buffered=False)
    assert client.post("/v1/internal/stop-generation").json == {"status": "success"}
    assert engine.cancelled == []
    running.close()
