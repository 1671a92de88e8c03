import json

import pytest

from app.engine import InvalidParams

PATH = "/v1/completions"


@pytest.fixture
def ask(client):
    def post(**fields):
        return client.post(PATH, json={"prompt": "Sing", "max_tokens": 6} | fields)

    return post


def test_a_completion_has_openais_shape(ask):
    said = ask(seed=5).json
    assert said["id"].startswith("cmpl-") and said["object"] == "text_completion"
    assert said["model"] == "fake" and said["created"] > 0
    assert said["choices"] == [
        {
            "index": 0,
            "text": " la la",
            "finish_reason": "length",
            "stop_reason": None,
            "logprobs": None,
            "seed": 5,
        }
    ]
    assert said["usage"] == {
        "prompt_tokens": 4,
        "completion_tokens": 6,
        "total_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


def test_sixteen_tokens_unless_told_otherwise(ask):
    assert ask(max_tokens=None).json["usage"]["completion_tokens"] == 16


def test_its_defaults_are_openais_and_words_are_not_completed(ask, params):
    ask()
    assert params.temperature == 1 and params.top_k == 0 and params.healing is False


def test_choices_are_counted_prompt_by_prompt(ask):
    said = ask(prompt=["a", "b", [99, 100]], n=2, echo=True, max_tokens=3).json
    assert [choice["index"] for choice in said["choices"]] == [0, 1, 2, 3, 4, 5]
    assert [choice["text"] for choice in said["choices"]] == [
        text + " la" for text in ("a", "a", "b", "b", "cd", "cd")
    ]


@pytest.mark.parametrize("prompt", ["Sing", list(b"Sing"), ["Sing"], [list(b"Sing")]])
def test_a_prompt_is_a_text_or_ids_or_a_list_of_either(ask, prompt):
    said = ask(prompt=prompt, echo=True).json
    assert [choice["text"] for choice in said["choices"]] == ["Sing la la"]


def test_the_best_of_many_is_the_one_the_model_likes_most(ask, engine):
    engine.tilt = -0.1  # each further continuation is less likely
    said = ask(n=2, best_of=4, seed=3).json
    assert [choice["seed"] for choice in said["choices"]] == [3, 4]
    assert all(choice["logprobs"] is None for choice in said["choices"])
    assert said["usage"]["completion_tokens"] == 24


def test_logprobs_count_from_the_text_returned(ask):
    said = ask(logprobs=2, max_tokens=3).json["choices"][0]["logprobs"]
    assert said["tokens"] == [" ", "l", "a"]
    assert said["token_logprobs"] == [-0.5, -0.5, -0.5]
    assert said["top_logprobs"][0] == {" ": -0.5, "!": -1.5}
    assert said["text_offset"] == [0, 1, 2]


def test_logprobs_0_is_the_chosen_token_alone(ask):
    said = ask(logprobs=0, max_tokens=1).json["choices"][0]["logprobs"]
    assert said["top_logprobs"] == [{" ": -0.5}]


def test_an_echo_with_logprobs_scores_the_prompt(ask):
    said = ask(echo=True, logprobs=1, max_tokens=0).json
    assert said["choices"][0]["text"] == "Sing"
    logprobs = said["choices"][0]["logprobs"]
    assert logprobs["tokens"] == list("Sing") and logprobs["text_offset"] == [0, 1, 2, 3]
    assert logprobs["token_logprobs"] == [None, -0.5, -0.5, -0.5]
    assert logprobs["top_logprobs"][0] is None and len(logprobs["top_logprobs"]) == 4
    assert said["usage"]["prompt_tokens"] == 4 and said["usage"]["completion_tokens"] == 0


def test_what_evaluations_ask_for_always_has_one_token_more(ask, params):
    ask(echo=True, logprobs=1, max_tokens=1, temperature=0, seed=1234)
    assert params.ignore_eos is True and params.prompt_logprobs == 1


def test_bytes_that_are_no_text_have_names_of_their_own(ask):
    said = ask(prompt="é", echo=True, logprobs=0, max_tokens=0).json["choices"][0]["logprobs"]
    assert said["tokens"] == ["bytes:\\xc3", "bytes:\\xa9"] and said["text_offset"] == [0, 0]


def test_a_stream_is_chunks_of_one_id_then_done(ask, frames):
    *chunks, done = frames(ask(stream=True, seed=5))
    assert done == "[DONE]"
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == " la la"
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in chunks]
    assert reasons == [None] * 6 + ["length"]
    assert "usage" not in chunks[0] and chunks[-1]["choices"][0]["seed"] == 5


def test_a_stream_names_no_events(ask):
    assert "event:" not in ask(stream=True).text


def test_usage_comes_last_when_asked_for(ask, frames):
    *chunks, usage, _ = frames(ask(stream=True, stream_options={"include_usage": True}))
    assert usage["choices"] == [] and usage["usage"]["total_tokens"] == 10
    assert all(chunk["usage"] is None for chunk in chunks)


def test_usage_comes_with_every_chunk_when_asked_for(ask, frames):
    options = {"include_usage": True, "continuous_usage_stats": True}
    chunks = frames(ask(stream=True, stream_options=options))[:-2]
    counts = [chunk["usage"]["completion_tokens"] for chunk in chunks]
    assert counts == [1, 2, 3, 4, 5, 6, 6]


def test_a_list_is_streamed_prompt_by_prompt(ask, frames, engine):
    engine.capacity = 2  # at a time; the rest waits for its turn
    chunks = frames(ask(prompt=["a", "b", "c"], n=2, stream=True, echo=True, max_tokens=3))[:-1]
    texts = dict.fromkeys(range(6), "")
    for chunk in chunks:
        texts[chunk["choices"][0]["index"]] += chunk["choices"][0]["text"]
    assert list(texts.values()) == [text + " la" for text in "aabbcc"]


def test_offsets_of_an_echoed_stream_go_on_after_the_prompt(ask, frames):
    chunks = frames(ask(stream=True, echo=True, logprobs=0, max_tokens=2))[:-2]
    offsets = [chunk["choices"][0]["logprobs"]["text_offset"] for chunk in chunks]
    assert offsets == [[0, 1, 2, 3], [4], [5]]


def test_a_failure_in_a_stream_is_an_error_then_done(ask, frames, engine):
    engine.fails_after = 2
    *_, error, done = frames(ask(stream=True))
    assert done == "[DONE]"
    assert error["error"]["message"] == "The engine stumbled."
    assert error["error"]["type"] == "server_error" and error["error"]["code"] == 500


def test_a_busy_engine_is_429_with_a_time_also_for_streams(ask, engine):
    engine.busy = True
    reply = ask(stream=True)
    assert reply.status_code == 429 and reply.headers["Retry-After"] == "3"
    assert reply.json["error"]["type"] == "rate_limit_error"


@pytest.mark.parametrize(
    "fields, param",
    [
        ({"temperature": 9}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"logprobs": 51}, "logprobs"),
        ({"n": 0}, "n"),
        ({"n": 65}, "n"),
        ({"n": 2, "best_of": 1}, "best_of"),
        ({"best_of": 2, "stream": True}, "best_of"),
        ({"best_of": 65}, "best_of"),
        ({"suffix": "end"}, "suffix"),
        ({"allowed_token_ids": [1]}, "allowed_token_ids"),
        ({"use_beam_search": True}, "use_beam_search"),
        ({"prompt_logprobs": 1}, "prompt_logprobs"),
        ({"bad_words": ["a"] * 1025}, "bad_words"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [1, "a"]}, "prompt"),
        ({"prompt": [256]}, "prompt"),
        ({"prompt": {"a": 1}}, "prompt"),
        ({"stream": "yes"}, "stream"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"guided_json": {"type": "object"}}, "guided_json"),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
        ({"custom_token_bans": "1,x"}, "custom_token_bans"),
        ({"custom_token_bans": "9" * 5000}, "custom_token_bans"),
    ],
)
def test_a_mistake_is_400_and_names_the_field(ask, fields, param):
    reply = ask(**fields)
    assert reply.status_code == 400, reply.text
    assert reply.json["error"]["type"] == "invalid_request_error"
    assert reply.json["error"]["param"] == param
    assert reply.json["error"]["message"].endswith(".")


def test_a_prompt_beyond_the_window_is_refused_by_name(ask):
    reply = ask(prompt="x" * 1025)
    assert reply.status_code == 400
    assert reply.json["error"]["code"] == "context_length_exceeded"
    assert "1024" in reply.json["error"]["message"]


@pytest.mark.parametrize("cut", [{"truncate_prompt_tokens": -1}, {"truncation_length": 2048}])
def test_it_is_cut_at_its_beginning_for_clients_that_say_so(ask, cut):
    reply = ask(prompt="y" * 1000 + "x" * 1000, echo=True, max_tokens=0, **cut)
    assert reply.json["choices"][0]["text"] == "y" * 24 + "x" * 1000


def test_unknown_fields_and_nulls_are_passed_over(ask):
    said = ask(user="u", dry_multiplier=0.8, stop=None, temperature=None, logit_bias=None)
    assert said.status_code == 200


def test_a_stop_is_a_text_or_a_list_and_an_empty_one_stops_nothing(ask, params):
    ask(stop="x")
    assert params.stop == ["x"]
    ask(stop=["", "y"])
    assert params.stop == ["y"]


@pytest.mark.parametrize("sent, told", [(7, 7), (7.0, 7), (2**53 + 7, 7), (-2, 2**53 - 2)])
def test_seeds_are_folded_to_what_json_can_say(ask, sent, told):
    assert ask(seed=sent).json["choices"][0]["seed"] == told


def test_a_seed_of_minus_one_draws_one(ask, params):
    ask(seed=-1)
    assert params.seed is None


def test_the_end_can_be_banned(ask, params):
    ask(ban_eos_token=True, custom_token_bans="5, 6")
    assert params.banned == [5, 6, 0]


def test_an_unknown_model_is_404_where_several_are_served(ask, engine):
    assert ask(model="other").json["model"] == "other"
    reply = ask(model="gpt-9")
    assert reply.status_code == 404 and reply.json["error"]["code"] == "unknown_model"
    assert reply.json["error"]["type"] == "not_found_error"


def test_any_model_name_will_do_where_one_is_served(ask, engine):
    engine.models = lambda: ["fake"]
    assert ask(model="gpt-3.5-turbo-instruct").json["model"] == "fake"


def test_models_are_listed(client):
    listed = client.get("/v1/models").json
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == ["fake", "other"]
    assert client.get("/v1/models/other").json["max_model_len"] == 1024
    assert client.get("/v1/models/gpt-9").json["error"]["type"] == "not_found_error"


def test_chat_is_refused_in_words_that_help(client):
    reply = client.post("/v1/chat/completions", json={"messages": []})
    assert reply.status_code == 400 and "/v1/completions" in reply.json["error"]["message"]


@pytest.mark.parametrize(
    "method, path, status", [("get", "/v1/nothing", 404), ("get", PATH, 405), ("post", PATH, 400)]
)
def test_errors_of_its_paths_have_its_shape(client, method, path, status):
    reply = getattr(client, method)(path, **({"data": "{"} if method == "post" else {}))
    assert reply.status_code == status
    assert set(reply.json["error"]) == {"message", "type", "param", "code"}


def test_a_missing_key_is_said_in_its_shape(make_client):
    reply = make_client(api_keys=("k",)).post(PATH, json={"prompt": ""})
    assert reply.status_code == 401
    assert reply.json["error"]["type"] == "authentication_error"


def test_a_text_sent_as_a_form_is_refused(client):
    assert client.post(PATH, data={"prompt": "x"}).status_code == 415


def test_tokens_as_vllm_counts_them(client):
    said = client.post("/tokenize", json={"prompt": "abc", "add_special_tokens": False}).json
    assert said == {"count": 3, "max_model_len": 1024, "tokens": [97, 98, 99]}
    assert client.post("/detokenize", json={"tokens": [97, 98]}).json["prompt"] == "ab"
    assert client.get("/tokenizer_info").json["eos_token"] == "\x00"


def test_the_request_sillytavern_sends(client, frames, engine, params):
    """Its text completion source, with every alias it has for the same thing."""
    body = json.loads(
        """{"prompt": "Sing", "model": "", "max_new_tokens": 4, "max_tokens": 4,
        "temperature": 0.8, "top_p": 0.9, "typical_p": 1, "typical": 1, "sampler_seed": -1,
        "min_p": 0.05, "repetition_penalty": 1.1, "frequency_penalty": 0, "presence_penalty": 0,
        "top_k": 40, "skew": 0, "min_tokens": 0, "add_bos_token": true, "smoothing_factor": 0,
        "smoothing_curve": 1, "dry_allowed_length": 2, "dry_multiplier": 0, "dry_base": 1.75,
        "dry_sequence_breakers": "[\\"\\\\n\\", \\":\\"]", "dry_penalty_last_n": 0,
        "max_tokens_second": 0, "sampler_priority": ["temperature", "top_k"],
        "stopping_strings": ["\\nYou:"], "stop": ["\\nYou:"], "truncation_length": 8192,
        "ban_eos_token": false, "skip_special_tokens": true, "include_reasoning": true,
        "top_a": 0, "tfs": 1, "mirostat_mode": 0, "mirostat_tau": 5, "mirostat_eta": 0.1,
        "custom_token_bans": "", "banned_strings": [], "api_type": "ooba",
        "api_server": "http://127.0.0.1:5000/", "xtc_threshold": 0.1, "xtc_probability": 0,
        "nsigma": 0, "rep_pen": 1.1, "rep_pen_range": 0, "repetition_penalty_range": 0,
        "encoder_repetition_penalty": 1, "no_repeat_ngram_size": 0, "do_sample": true,
        "seed": -1, "guidance_scale": 1, "negative_prompt": "", "grammar_string": "",
        "json_schema": null, "stream": true, "logprobs": 5, "n": 1, "logit_bias": {}}"""
    )
    chunks = frames(client.post(PATH, json=body))[:-1]
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == " la "
    assert params.stop == ["\nYou:"] and params.repetition_penalty == 1.1
    assert all(len(c["choices"][0]["logprobs"]["tokens"]) == 1 for c in chunks[:-1])


def test_a_prompt_longer_than_sillytavern_knows_is_cut(client, engine, params):
    body = {"prompt": "x" * 3000, "truncation_length": 8192, "max_tokens": 1}
    assert client.post(PATH, json=body).status_code == 200
    assert len(engine.latest_prompt) == 1024


def test_without_a_prompt_it_writes_from_nothing(client, params):
    said = client.post("/v1/completions", json={"max_tokens": 3}).json
    assert said["choices"][0]["text"] == " la" and said["usage"]["prompt_tokens"] == 0


def test_bad_words_are_banned_and_whole_numbers_may_have_a_point(ask, params):
    assert ask(bad_words=["a"], n=2.0, max_tokens=2.0).status_code == 200
    assert (params.banned, params.n, params.max_tokens) == (["a"], 2, 2)


def test_what_the_engine_refuses_is_named_as_the_caller_named_it(ask, engine, monkeypatch):
    def refuse(*_):
        raise InvalidParams("banned", "banned: 'two words' is not one token.")

    monkeypatch.setattr(engine, "submit", refuse)
    error = ask(bad_words=["two words"]).json["error"]
    assert error["param"] == "bad_words" and error["message"].startswith("bad_words:")
