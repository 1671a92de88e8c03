import json

import pytest


@pytest.fixture
def ask(client):
    def post(path="/api/v1/generate", **fields):
        return client.post(path, json={"prompt": "Sing", "max_length": 6} | fields)

    return post


STREAM = "/api/extra/generate/stream"


@pytest.mark.parametrize("path", ["/api/v1/generate", "/api/latest/generate"])
def test_a_result_has_kobolds_shape(ask, path):
    assert ask(path).json == {
        "results": [
            {
                "text": " la la",
                "finish_reason": "length",
                "logprobs": None,
                "prompt_tokens": 4,
                "completion_tokens": 6,
            }
        ]
    }


def test_n_gives_as_many_results(ask):
    assert len(ask(n=3).json["results"]) == 3


def test_its_defaults_are_koboldcpps(client, engine, params):
    engine.lasts = 1
    client.post("/api/v1/generate", json={"prompt": "x"})
    assert (params.max_tokens, params.temperature, params.top_k) == (180, 0.7, 100)
    assert (params.top_p, params.penalty_range, params.healing) == (0.92, 320, False)
    assert params.include_stop is False


def test_logprobs_are_content(ask):
    [result] = ask(logprobs=True, max_length=1).json["results"]
    [token] = result["logprobs"]["content"]
    assert token["token"] == " " and token["logprob"] == -0.5 and token["bytes"] == [32]
    assert len(token["top_logprobs"]) == 5


def test_a_stream_is_messages(ask, frames):
    reply = ask(STREAM)
    assert reply.text.count("event: message\n") == 7 and "[DONE]" not in reply.text
    *tokens, last = frames(reply)
    assert tokens[0] == {"token": " ", "finish_reason": None}
    assert "".join(token["token"] for token in tokens) == " la la"
    assert last == {"token": "", "finish_reason": "length"}


def test_a_stream_with_logprobs_tells_alternatives(ask, frames):
    top = frames(ask(STREAM, logprobs=True))[0]["top_logprobs"]
    assert top[0] == {"token": " ", "logprob": -0.5, "bytes": [32]}


def test_what_is_out_of_bounds_goes_to_the_bound(ask, params):
    ask(temperature=99, top_k=-1, rep_pen_range=-1, min_p=7)
    assert (params.temperature, params.top_k, params.penalty_range, params.min_p) == (5, 0, 0, 1)


@pytest.mark.parametrize(("asked", "given"), [(1e30, 1008), (1009, 1008), (1008, 1008), (-1, 0)])
def test_max_length_goes_to_koboldcpps_bound(ask, engine, params, asked, given):
    engine.lasts = 1
    ask(max_length=asked)
    assert params.max_tokens == given


def test_stop_and_end_as_it_says_them(ask, params):
    ask(stop_sequence=["x"], trim_stop=False, use_default_badwordsids=True, banned_tokens=["y"])
    assert params.stop == ["x"] and params.include_stop is True
    assert params.banned == ["y", 0]


def test_memory_stays_and_the_prompt_loses_its_beginning(ask, engine, params):
    ask(memory="M" * 10, prompt="x" * 2000 + "end", max_length=100, max_context_length=4096)
    kept = bytes(engine.latest_prompt)
    assert len(kept) == 924 and kept.startswith(b"M" * 10 + b"x") and kept.endswith(b"xend")
    assert params.keep == 10


def test_too_long_a_memory_keeps_its_end_and_half_the_room(ask, engine, params):
    ask(memory="x" * 2000 + "M", prompt="y" * 2000, max_length=24)
    assert bytes(engine.latest_prompt) == b"x" * 499 + b"M" + b"y" * 500


def test_a_tiny_context_is_still_one(ask, engine, params):
    ask(prompt="x" * 100, max_context_length=0, max_length=5000)
    assert bytes(engine.latest_prompt) == b"xxxx"


@pytest.fixture
def running(client, engine):
    engine.step.clear()
    body = {"prompt": "Sing", "genkey": "KCPP1234", "max_length": 50, "logprobs": True}
    reply = client.post(STREAM, json=body, buffered=False)
    yield reply
    reply.close()


def write_a_little(engine, running):
    engine.step.set()
    assert any(b"event: message" in piece for piece in running.response)
    engine.step.clear()


def test_abort_ends_the_one_of_that_key(client, engine, running):
    said = client.post("/api/extra/abort", json={"genkey": "KCPP1234"}).json
    assert said == {"success": "true", "done": "true"}
    assert b'"finish_reason":"stop"' in b"".join(running.response)


@pytest.mark.parametrize("body", [{"genkey": "other"}, {"genkey": ""}, {}])
def test_abort_ends_nobody_elses(client, engine, running, body):
    assert client.post("/api/extra/abort", json=body).json["success"] == "false"
    assert engine.cancelled == []


def test_abort_takes_an_empty_body(client):
    assert client.post("/api/extra/abort").json["success"] == "false"


def test_check_tells_how_far_it_has_come(client, engine, running):
    engine.step.set()
    pieces = iter(running.response)
    seen = b""
    while seen.count(b"event: message") < 3:
        seen += next(pieces)
    check = {"genkey": "KCPP1234"}
    said = client.post("/api/extra/generate/check", json=check).json
    assert said == {"results": [{"text": " la"}]}
    logprobs = client.post("/api/extra/last_logprobs", json=check).json["logprobs"]
    assert len(logprobs["content"]) == 3


def test_check_knows_its_key_only(client, running):
    said = client.post("/api/extra/generate/check", json={"genkey": "KCPP9"}).json
    assert said == {"results": [{"text": ""}]}


def test_a_key_is_its_addresss_own(client, engine, running):
    other = {"REMOTE_ADDR": "10.0.0.9"}
    check = {"genkey": "KCPP1234"}
    write_a_little(engine, running)
    said = client.post("/api/extra/generate/check", json=check, environ_base=other).json
    assert said == {"results": [{"text": ""}]}
    assert client.post("/api/extra/generate/check", json=check).json["results"][0]["text"]


def test_what_has_ended_is_shown_no_more_and_its_logprobs_once(client, engine, running):
    check = {"genkey": "KCPP1234"}
    engine.step.set()
    b"".join(running.response)
    said = client.post("/api/extra/generate/check", json=check).json
    assert said == {"results": [{"text": ""}]}
    assert client.post("/api/extra/last_logprobs", json=check).json["logprobs"]
    assert client.post("/api/extra/last_logprobs", json=check).json == {"logprobs": None}


def test_who_tries_many_keys_is_shown_nothing(client, engine, running):
    write_a_little(engine, running)
    for guess in range(10):
        client.post("/api/extra/generate/check", json={"genkey": f"KCPP{guess}"})
    said = client.post("/api/extra/generate/check", json={"genkey": "KCPP1234"}).json
    assert said == {"results": [{"text": ""}]}


def test_what_is_made_for_larger_models_is_cut_to_ours(ask, params):
    reply = ask(
        stop_sequence=[f"stop {i}" for i in range(90)],
        banned_tokens=["a", "a phrase of many"],
        temperature="0.5",
        max_length="3",
    )
    assert reply.status_code == 200
    assert len(params.stop) == 64 and params.banned == ["a"]
    assert (params.temperature, params.max_tokens) == (0.5, 3)


def test_a_key_in_use_is_busy(client, running):
    reply = client.post("/api/v1/generate", json={"prompt": "", "genkey": "KCPP1234"})
    assert reply.status_code == 503 and reply.json["detail"]["type"] == "service_unavailable"


def test_a_busy_engine_is_503_which_its_clients_try_again(ask, engine):
    engine.busy = True
    reply = ask()
    assert reply.status_code == 503 and reply.headers["Retry-After"] == "3"
    assert reply.json["detail"]["type"] == "service_unavailable"


@pytest.mark.parametrize(
    "fields, field",
    [
        ({"temperature": "hot"}, "temperature"),
        ({"grammar": "root ::= a"}, "grammar"),
        ({"prompt": None}, "prompt"),
        ({"memory": 5}, "memory"),
        ({"stop_sequence": [5]}, "stop_sequence"),
    ],
)
def test_a_mistake_is_422_by_field(ask, fields, field):
    reply = ask(**fields)
    assert reply.status_code == 422
    [message] = reply.json["detail"][field]
    assert message.endswith(".")


def test_a_failure_in_a_stream_is_an_event(ask, frames, engine):
    engine.fails_after = 1
    detail = frames(ask(STREAM))[-1]["detail"]
    assert detail == {"msg": "The engine stumbled.", "type": "engine_error"}


@pytest.mark.parametrize(
    "path, said",
    [
        ("/api/v1/info/version", {"result": "1.2.5"}),
        ("/api/latest/info/version", {"result": "1.2.5"}),
        ("/api/v1/model", {"result": "fake"}),
        ("/api/v1/config/max_context_length", {"value": 1024}),
        ("/api/extra/true_max_context_length", {"value": 1024}),
        ("/api/v1/config/max_length", {"value": 180}),
        ("/api/v1/config/soft_prompt", {"value": ""}),
        ("/api/extra/preloadstory", {}),
    ],
)
def test_what_clients_ask_before_they_connect(client, path, said):
    assert client.get(path).json == said


def test_the_version_says_what_is_not_here(client):
    said = client.get("/api/extra/version").json
    assert said["result"] == "KoboldCpp" and said["protected"] is False
    assert said["txt2img"] is said["tts"] is False


def test_perf_tells_of_the_last_request(client, ask):
    assert client.get("/api/extra/perf").json["stop_reason"] == -1
    ask(sampler_seed=7)
    said = client.get("/api/extra/perf").json
    assert said["last_token_count"] == 6 and said["last_seed"] == 7 and said["stop_reason"] == 0
    assert said["total_gens"] == 1 and said["queue"] == 0 and said["idle"] == 1


def test_tokens_there_and_back(client):
    said = client.post("/api/extra/tokencount", json={"prompt": "ab"}).json
    assert said == {"value": 2, "ids": [0, 97, 98]}
    said = client.post("/api/extra/detokenize", json={"ids": [97, 98]}).json
    assert said == {"result": "ab", "success": True}


def test_the_request_koboldcpp_lite_sends(client, frames):
    body = json.loads(
        """{"n": 1, "max_context_length": 2048, "max_length": 3, "rep_pen": 1.1,
        "temperature": 0.7, "top_p": 0.92, "top_k": 100, "top_a": 0, "typical": 1, "tfs": 1,
        "rep_pen_range": 320, "rep_pen_slope": 0.7, "sampler_order": [6, 0, 1, 3, 4, 2, 5],
        "memory": "Notes. ", "trim_stop": true, "genkey": "KCPP5823", "min_p": 0,
        "dynatemp_range": 0, "dynatemp_exponent": 1, "smoothing_factor": 0, "nsigma": 0,
        "banned_tokens": [], "render_special": false, "logprobs": false, "presence_penalty": 0,
        "logit_bias": {}, "prompt": "Sing", "quiet": true, "stop_sequence": ["User:"],
        "use_default_badwordsids": false, "bypass_eos": false}"""
    )
    assert frames(client.post(STREAM, json=body))[-1]["finish_reason"] == "length"
