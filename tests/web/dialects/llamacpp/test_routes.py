import json
import math

import pytest


@pytest.fixture
def ask(client):
    def post(path="/completion", **fields):
        return client.post(path, json={"prompt": "Sing", "n_predict": 6} | fields)

    return post


def test_a_completion_has_llamacpps_shape(ask):
    said = ask(seed=7).json
    assert said["content"] == " la la" and said["stop"] is True and said["model"] == "fake"
    assert said["tokens_predicted"] == 6 and said["tokens_evaluated"] == 4
    assert said["stop_type"] == "limit" and said["stopping_word"] == ""
    assert said["tokens_cached"] == 9 and said["has_new_line"] is False
    assert said["truncated"] is False and said["prompt"] == "Sing" and said["tokens"] == []
    assert "completion_probabilities" not in said
    assert said["generation_settings"]["seed"] == 7
    assert said["generation_settings"]["temperature"] == 0.8
    assert said["timings"]["predicted_n"] == 6 and said["timings"]["prompt_ms"] == 2.0
    assert said["timings"]["predicted_per_second"] == 100.0


def test_both_its_paths_are_the_same(ask):
    assert ask("/completions").json["content"] == ask("/completion/").json["content"]


@pytest.mark.parametrize(
    "prompt, seen",
    [
        (list(b"Sing"), b"Sing"),
        ([83, "ing"], b"Sing"),
        ({"prompt_string": "Sing"}, b"Sing"),
    ],
)
def test_a_prompt_is_a_text_ids_or_both_mixed(ask, engine, params, prompt, seen):
    said = ask(prompt=prompt).json
    assert said["prompt"] == "Sing" and said["content"] == " la la"


def test_a_list_of_prompts_is_answered_by_a_list(ask):
    said = ask(prompt=["a", "b"]).json
    assert [(one["index"], one["prompt"]) for one in said] == [(0, "a"), (1, "b")]


def test_a_stream_is_parts_and_a_summary_without_done(ask, frames):
    *parts, last = frames(ask(stream=True))
    assert "".join(part["content"] for part in parts) == " la la" and last["content"] == ""
    assert [part["tokens_predicted"] for part in parts] == [1, 2, 3, 4, 5, 6]
    assert all(part["stop"] is False for part in parts) and last["stop"] is True
    assert last["timings"]["predicted_n"] == 6 and parts[0]["tokens"] == [32]


def test_probabilities_come_with_every_part_and_whole(ask, frames):
    (part, *_, last) = frames(ask(stream=True, n_probs=2))
    [entry] = part["completion_probabilities"]
    assert entry["token"] == " " and entry["bytes"] == [32] and entry["logprob"] == -0.5
    assert [top["id"] for top in entry["top_logprobs"]] == [32, 33]
    assert last["completion_probabilities"] == []
    assert len(ask(n_probs=2).json["completion_probabilities"]) == 6


def test_probabilities_in_place_of_logarithms(ask):
    [entry] = ask(n_predict=1, n_probs=1, post_sampling_probs=True).json["completion_probabilities"]
    assert entry["prob"] == entry["top_probs"][0]["prob"] == math.exp(-0.5)
    assert "logprob" not in entry


def test_its_defaults_are_llamacpps(client, engine, params):
    engine.lasts = 1
    client.post("/completion", json={"prompt": "x"})
    assert (params.temperature, params.top_k, params.top_p) == (0.8, 40, 0.95)
    assert (params.min_p, params.penalty_range, params.healing) == (0.05, 64, False)
    assert params.max_tokens == 1024  # endless, within the server's bounds


def test_a_sampler_that_is_not_listed_takes_no_part(ask, params):
    ask(samplers=["top_k", "typical_p"], typical_p=0.5, repeat_penalty=1.3)
    assert (params.top_k, params.typical_p) == (40, 0.5)
    assert (params.temperature, params.top_p, params.min_p) == (1, 1, 0)
    assert params.repetition_penalty == 1


def test_numbers_that_mean_something_of_their_own(ask, params):
    ask(temperature=-1, top_k=-1, repeat_last_n=-1, seed=-1, t_max_predict_ms=1500)
    assert (params.temperature, params.top_k, params.penalty_range) == (0, 0, 0)
    assert params.seed is None and params.max_time == 1.5
    ask(repeat_last_n=0, repeat_penalty=1.5, t_max_predict_ms=10**18, n_keep=5)
    assert (params.repetition_penalty, params.keep) == (1, 5)
    ask(n_keep=-1)
    assert params.keep == 1_000_000


@pytest.mark.parametrize("bias", [[[97, 1.5], ["b", -1], [99, False]], {"97": 1.5, "b": -1}])
def test_biases_are_by_id_or_text(ask, params, bias):
    ask(logit_bias=bias, ignore_eos=True)
    assert params.logit_bias == {97: 1.5, 98: -1}
    assert params.banned == ([0, 99] if isinstance(bias, list) else [0])


@pytest.mark.parametrize(
    "fields",
    [
        {"grammar": "root ::= a"},
        {"json_schema": {"type": "object"}},
        {"json_schema": {}},  # any JSON, which is not any text
        {"prompt": {"prompt_string": "x", "multimodal_data": ["aGk="]}},
        {"prompt": None},
        {"prompt": ["a", "b"], "stream": True},
        {"n_predict": "many"},
        {"logit_bias": [[1]]},
        {"logit_bias": 5},
        {"logit_bias": [[1, 200]]},
        {"logit_bias": [[1, 10**400]]},
        {"logit_bias": {"9" * 5000: 10**400}},
        {"samplers": "kp"},
        {"n_probs": 51},
    ],
)
def test_a_mistake_is_400_in_its_shape(ask, fields):
    reply = ask(**fields)
    assert reply.status_code == 400
    assert reply.json["error"]["code"] == 400
    assert reply.json["error"]["type"] == "invalid_request_error"


def test_too_many_biases_are_refused_by_their_own_limit(ask):
    """The sentence named max_prompts, a setting that has nothing to do with it."""
    message = ask(logit_bias=[[1, 0.5]] * 1025).json["error"]["message"]
    assert message == "logit_bias has 1025 entries; at most 1024 are allowed."


def test_a_failure_in_a_stream_is_an_error_frame(ask, frames, engine):
    engine.fails_after = 1
    error = frames(ask(stream=True))[-1]["error"]
    assert error == {"code": 500, "message": "The engine stumbled.", "type": "server_error"}


def test_props_tell_the_window_and_the_defaults(client):
    said = client.get("/props").json
    assert said["default_generation_settings"]["n_ctx"] == 1024
    assert said["default_generation_settings"]["params"]["top_k"] == 40
    assert said["total_slots"] == 8 and said["chat_template"] == ""


def test_slots_tell_no_text_and_whether_one_is_free(client, engine):
    engine.step.clear()
    asked = {"prompt": "a secret", "stream": True}
    replies = [client.post("/completion", json=asked, buffered=False) for _ in range(4)]
    taken = [slot["is_processing"] for slot in client.get("/slots").json]
    assert taken == [True] * 4 + [False] * 4  # four of each of two models
    assert "secret" not in client.get("/slots").text
    assert client.get("/slots?fail_on_no_slot=1").status_code == 200
    replies += [client.post("/completion", json=asked, buffered=False) for _ in range(4)]
    assert client.get("/slots?fail_on_no_slot=1").status_code == 503
    for reply in replies:
        reply.close()


def test_health_is_loading_until_ready(client, engine):
    assert client.get("/health").json == {"status": "ok"}
    engine.condition = type(engine.condition)(name="loading", message="Loading the model.")
    reply = client.get("/health")
    assert reply.status_code == 503 and reply.json["error"]["type"] == "unavailable_error"


def test_tokens_with_their_pieces(client):
    said = client.post("/tokenize", json={"content": "ab", "with_pieces": True}).json
    assert said == {"tokens": [{"id": 97, "piece": "a"}, {"id": 98, "piece": "b"}]}
    assert client.post("/tokenize", json={"content": "ab"}).json == {"tokens": [97, 98]}
    assert client.post("/detokenize", json={"tokens": [97]}).json["content"] == "a"


def test_pieces_of_a_split_character_are_bytes(client):
    said = client.post("/tokenize", json={"content": "aé", "with_pieces": True}).json["tokens"]
    assert [token["piece"] for token in said] == ["a", [0xC3], [0xA9]]


def test_only_the_fields_that_are_asked_for(ask, frames):
    fields = ["content", "generation_settings/n_predict", "nothing"]
    assert ask(response_fields=fields).json == {"content": " la la", "n_predict": 6}
    assert frames(ask(response_fields=fields, stream=True))[-1] == {"content": "", "n_predict": 6}


def test_the_seed_and_the_samplers_are_told_as_they_were_meant(ask, params):
    said = ask(seed=2**32 - 1, samplers=["top_k"]).json
    assert params.seed is None and said["generation_settings"]["samplers"] == ["top_k"]


def test_models_are_listed_for_its_clients_too(client):
    assert client.get("/models").json["data"] == client.get("/v1/models").json["data"]
    assert client.get("/v1/health").json == {"status": "ok"}


def test_the_request_mikupad_sends(client, frames):
    """Its llama.cpp mode, every field it has."""
    body = json.loads(
        """{"prompt": "Sing", "stream": true, "n_predict": 3, "temperature": 0.8,
        "repeat_penalty": 1.1, "repeat_last_n": 256, "penalize_nl": false,
        "presence_penalty": 0, "frequency_penalty": 0, "top_k": 40, "top_p": 0.95,
        "typical_p": 1, "tfs_z": 1, "mirostat": 0, "mirostat_tau": 5, "mirostat_eta": 0.1,
        "n_probs": 10, "stop": ["\\n\\n"], "seed": -1, "cache_prompt": true, "ignore_eos": true,
        "xtc_threshold": 0.1, "xtc_probability": 0, "dry_multiplier": 0, "dry_base": 1.75,
        "samplers": ["dry", "top_k", "tfs_z", "typical_p", "top_p", "min_p", "temperature"]}"""
    )
    *parts, last = frames(client.post("/completion", json=body))
    assert "".join(part["content"] for part in parts) == " la" and last["stop"] is True
