import json

import pytest


@pytest.fixture
def ask(client):
    def post(path="/generate", inputs="Sing", stream=None, **parameters):
        said = {"inputs": inputs, "parameters": {"max_new_tokens": 6} | parameters}
        return client.post(path, json=said | ({} if stream is None else {"stream": stream}))

    return post


def test_inputs_at_generate_are_answered_as_tgi_does(ask):
    assert ask().json == {"generated_text": " la la"}


def test_the_root_answers_with_a_list(ask):
    assert ask("/", return_full_text=False).json == [{"generated_text": " la la"}]
    assert ask("/").json == [{"generated_text": "Sing la la"}]  # TGI's default there


def test_the_full_text_has_the_prompt_in_front(ask):
    assert ask(return_full_text=True).json["generated_text"] == "Sing la la"


def test_details_tell_every_token(ask):
    said = ask(details=True, do_sample=True, seed=7, max_new_tokens=2).json["details"]
    assert said == {
        "finish_reason": "length",
        "generated_tokens": 2,
        "seed": 7,
        "prefill": [],
        "tokens": [
            {"id": 32, "text": " ", "logprob": -0.5, "special": False},
            {"id": 108, "text": "l", "logprob": -0.5, "special": False},
        ],
    }


def test_the_prompts_tokens_and_alternatives_are_told_when_asked_for(ask):
    said = ask(decoder_input_details=True, top_n_tokens=2, max_new_tokens=1).json["details"]
    assert said["prefill"][0] == {"id": 83, "text": "S", "logprob": None}
    assert said["prefill"][1] == {"id": 105, "text": "i", "logprob": -0.5}
    assert [top["id"] for top in said["top_tokens"][0]] == [32, 33]


def test_the_end_of_the_text_is_a_token_too(ask, engine):
    engine.lasts = 2
    said = ask(details=True).json["details"]
    assert said["finish_reason"] == "eos_token" and said["generated_tokens"] == 3
    assert said["tokens"][-1] == {"id": 0, "text": "", "logprob": -0.25, "special": True}


def test_best_of_tells_the_best_and_then_the_others(ask, engine):
    engine.tilt = -0.1
    said = ask(best_of=3, do_sample=True, seed=1, details=True).json["details"]
    assert said["seed"] == 1
    assert [other["seed"] for other in said["best_of_sequences"]] == [2, 3]


@pytest.mark.parametrize(
    "parameters, temperature",
    [
        ({}, 0),
        ({"temperature": 1.0}, 0),
        ({"do_sample": False}, 0),
        ({"do_sample": True}, 1),
        ({"temperature": 0.5}, 0.5),
        ({"top_k": 5}, 1),
        ({"top_p": 0.9}, 1),
        ({"typical_p": 0.9, "temperature": 2.0}, 2),
    ],
)
def test_it_draws_only_when_told_to(ask, params, parameters, temperature):
    assert ask(**parameters).status_code == 200
    assert params.temperature == temperature


def test_texts_end_with_what_stopped_them_and_words_are_not_completed(ask, params):
    ask(stop=["la"])
    assert params.stop == ["la"] and params.include_stop is True and params.healing is False


def test_without_a_length_the_window_is_the_length(client, engine, params):
    engine.lasts = 3
    client.post("/generate", json={"inputs": "Sing"})
    assert params.max_tokens == 1020


def test_truncate_keeps_the_end(ask, engine, params):
    ask(inputs="x" * 2000 + "end", truncate=3)
    assert engine.latest_prompt == list(b"end")


def test_a_stream_ends_with_a_token_the_whole_text_and_the_details(ask, frames):
    events = frames(ask("/generate_stream", details=True, seed=7, max_new_tokens=3))
    assert [event["index"] for event in events] == [1, 2, 3]
    assert events[0] == {
        "index": 1,
        "token": {"id": 32, "text": " ", "logprob": -0.5, "special": False},
        "generated_text": None,
        "details": None,
    }
    assert events[-1]["token"]["text"] == "a"
    assert events[-1]["generated_text"] == " la"
    assert events[-1]["details"] == {
        "finish_reason": "length",
        "generated_tokens": 3,
        "seed": 7,
        "input_length": 4,
    }


def test_the_root_streams_when_told_to(ask, frames):
    texts = [event["token"]["text"] for event in frames(ask("/", stream=True))]
    assert texts == list(" la la")


@pytest.mark.parametrize("stop", [None, ["zzz"]])
def test_a_stream_that_reaches_the_end_of_the_text_says_so(ask, frames, engine, stop):
    engine.lasts = 2
    *tokens, last = frames(ask("/generate_stream", stop=stop))
    assert [event["token"]["text"] for event in tokens] == [" ", "l"]
    assert last["index"] == 3 and last["token"]["special"] is True
    assert last["details"]["finish_reason"] == "eos_token" and last["generated_text"] == " l"


def test_a_stream_has_no_done_and_names_no_events(ask):
    text = ask("/generate_stream").text
    assert "[DONE]" not in text and "event:" not in text


def test_a_failure_in_a_stream_is_an_event(ask, frames, engine):
    engine.fails_after = 2
    error = frames(ask("/generate_stream"))[-1]
    assert error == {"error": "The engine stumbled.", "error_type": "generation"}


def test_a_failure_before_is_a_status(ask, engine):
    engine.fails_after = 2
    reply = ask()
    assert reply.status_code == 424 and reply.json["error_type"] == "generation"


@pytest.mark.parametrize("path", ["/generate", "/generate_stream", "/"])
def test_a_busy_engine_is_429_everywhere(ask, engine, path):
    engine.busy = True
    reply = ask(path, stream=True)
    assert reply.status_code == 429 and reply.headers["Retry-After"] == "3"
    assert reply.json["error_type"] == "overloaded"


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"temperature": 0}, "`temperature` must be strictly positive"),
        ({"top_k": 0}, "`top_k` must be strictly positive"),
        ({"best_of": 0}, "`best_of` must be strictly positive"),
        ({"best_of": 2}, "you must use sampling when `best_of` is > 1"),
        ({"top_p": 1.0}, "`top_p` must be > 0.0 and < 1.0"),
        ({"typical_p": 0}, "`typical_p` must be > 0.0 and < 1.0"),
        ({"max_new_tokens": 0}, "`max_new_tokens` must be strictly positive"),
        ({"max_new_tokens": 1021}, "`inputs` tokens + `max_new_tokens` must be <= 1024. Given: 4"),
        ({"inputs": ""}, "`inputs` must be non-empty"),
        ({"grammar": {"type": "regex", "value": "a"}}, "grammar is not supported"),
        ({"frequency_penalty": "much"}, "frequency_penalty must be a number"),
    ],
)
def test_a_mistake_is_422_in_tgis_words(ask, parameters, message):
    reply = ask(**parameters)
    assert reply.status_code == 422 and reply.json["error_type"] == "validation"
    assert reply.json["error"].startswith(message)


@pytest.mark.parametrize("name", ["best_of", "decoder_input_details"])
def test_what_cannot_be_streamed_is_refused_before_the_first_byte(ask, name):
    reply = ask("/generate_stream", do_sample=True, **{name: 2 if name == "best_of" else True})
    assert reply.status_code == 422 and reply.json["error"].startswith(f"`{name}` ")


def test_a_body_that_is_not_json_is_422(client):
    assert client.post("/generate_stream", data="{").status_code == 422


def test_info_tells_the_model_and_its_limits(client):
    said = client.get("/info").json
    assert said["model_id"] == "fake" and said["max_total_tokens"] == 1024
    assert said["max_best_of"] == 64 and said["max_stop_sequences"] == 64
    assert said["backend"] == "native" and said["precision"] == "int8"
    assert said["cache"] == {"precision": "u8", "bytes": 2**20}


def test_tokens_and_where_they_lie(client):
    said = client.post("/tokenize", json={"inputs": "ab"}).json
    assert said == [
        {"id": 97, "text": "a", "start": 0, "stop": 1},
        {"id": 98, "text": "b", "start": 1, "stop": 2},
    ]


def test_the_request_text_generation_sends(client, frames):
    """Every field of its Parameters, as its 0.7 sends them."""
    body = json.loads(
        """{"inputs": "Sing", "stream": true, "parameters": {"do_sample": false,
        "max_new_tokens": 3, "repetition_penalty": null, "frequency_penalty": null,
        "return_full_text": false, "stop": [], "seed": null, "temperature": null, "top_k": null,
        "top_p": null, "truncate": null, "typical_p": null, "best_of": null, "watermark": false,
        "details": true, "decoder_input_details": false, "top_n_tokens": null, "grammar": null}}"""
    )
    events = frames(client.post("/", json=body))
    assert events[-1]["generated_text"] == " la"
