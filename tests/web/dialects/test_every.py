"""What holds in every dialect."""

import json
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app import create_app
from app.settings import Settings
from app.web.dialects.kobold import recent
from app.web.run.run import Run
from tests.fake_engine import FakeEngine
from tests.web.test_fuzz import leaves, values

BODIES = {
    "/v1/completions": {"prompt": "Sing", "max_tokens": 2},
    "/generate": {"inputs": "Sing", "parameters": {"max_new_tokens": 2}},
    "/completion": {"prompt": "Sing", "n_predict": 2},
    "/api/v1/generate": {"prompt": "Sing", "max_length": 2},
}
STREAMS = {
    "/v1/completions": {"stream": True},
    "/generate_stream": {},
    "/completion": {"stream": True},
    "/api/extra/generate/stream": {},
}


@pytest.mark.parametrize("path", BODIES)
def test_a_request_cancelled_while_it_waits_is_answered(client, engine, path):
    engine.begin.clear()
    replies = []
    more = {"echo": True, "logprobs": 1} if path == "/v1/completions" else {}
    if path == "/generate":
        more = {"parameters": {"details": True, "decoder_input_details": True}}
    asking = threading.Thread(
        target=lambda: replies.append(client.post(path, json=BODIES[path] | more))
    )
    asking.start()
    engine.cancel(engine.submitted.get(timeout=30))
    asking.join()
    assert replies[0].status_code == 200


@pytest.mark.parametrize("path", STREAMS)
def test_a_stream_cancelled_while_it_waits_ends(client, engine, path):
    engine.begin.clear()
    body = {"prompt": "x", "inputs": "x"} | STREAMS[path]
    reply = client.post(path, json=body, buffered=False)
    engine.cancel(next(iter(engine.completions)))
    assert b"data:" in b"".join(reply.response)


@pytest.mark.parametrize("path", STREAMS)
def test_streams_begin_at_once_and_are_not_stored(client, engine, path):
    """With the headers alone: clients of llama.cpp took a first comment for text."""
    engine.begin.clear()
    reply = client.post(path, json={"prompt": "x", "inputs": "x"} | STREAMS[path], buffered=False)
    assert next(iter(reply.response)) == b""
    assert reply.headers["X-Accel-Buffering"] == "no"
    assert "no-store" in reply.headers["Cache-Control"]
    reply.close()


@pytest.mark.parametrize("path", STREAMS)
def test_a_reader_who_leaves_ends_the_request(client, engine, path):
    engine.step.clear()
    client.post(path, json={"prompt": "x", "inputs": "x"} | STREAMS[path], buffered=False).close()
    (completion,) = engine.completions.values()
    assert list(completion)
    assert engine.cancelled == [completion.id]


@pytest.mark.parametrize("path", ["/v1/completions", "/completion"])
@pytest.mark.parametrize("prompt", ["Sing", [83, 105], [83, "ing"], ["Sing"]])
@pytest.mark.parametrize("more", [{}, {"logprobs": 1, "echo": True, "n_probs": 1}])
def test_a_stream_of_any_prompt_ends_well(client, frames, path, prompt, more):
    if path == "/v1/completions" and prompt == [83, "ing"]:
        prompt = [[83, 105, 110, 103]]
    events = frames(client.post(path, json={"prompt": prompt, "stream": True} | more))
    assert events[-1] == "[DONE]" or events[-1]["stop"] is True


@pytest.mark.parametrize("path", STREAMS)
def test_a_stream_keeps_no_alternatives(client, engine, path):
    """7 kB a token, until the end. koboldcpp's clients may ask for them later, of a short one."""
    more = {"logprobs": 5, "n_probs": 5, "parameters": {"top_n_tokens": 5}} | STREAMS[path]
    body = {"prompt": "x", "inputs": "x", "max_length": 5000, "logprobs": 5} | more
    engine.lasts = 20
    kept = []
    original = Run._note

    def note(run, event):
        original(run, event)
        kept.append(sum(len(choice.tokens) for choice in run.choices))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recent, "MOST_TOKENS", 1000)
        patch.setattr(Run, "_note", note)
        client.post(path, json=body).get_data()
    assert kept and max(kept) == 0


def test_a_reply_that_would_not_fit_in_memory_is_refused(client):
    asked = {"prompt": "x", "logprobs": 50, "n": 64, "max_tokens": 100_000}
    reply = client.post("/generate", json=asked)
    assert reply.status_code == 422 and reply.json["error"]["field"] == "logprobs"


# ---- as mikupad sent them, recorded

RECORDED = [
    (
        "/completion",
        """{"model": "", "prompt": "It was a dark and stormy night", "temperature": 0.7,
        "repeat_penalty": 1.1, "repeat_last_n": 256, "penalize_nl": false, "ignore_eos": false,
        "presence_penalty": 0, "frequency_penalty": 0, "top_p": 0.95, "top_k": 40, "min_p": 0,
        "n_predict": 40, "n_probs": 10, "post_sampling_probs": true, "stream": true,
        "cache_prompt": true}""",
        lambda event: event["content"],
    ),
    (
        "/v1/completions",
        """{"model": "starter", "prompt": "It was a dark and stormy night", "temperature": 0.7,
        "penalize_nl": false, "presence_penalty": 0, "frequency_penalty": 0, "top_p": 0.95,
        "top_k": 40, "min_p": 0, "stream": true, "max_tokens": 40, "logprobs": 10,
        "repetition_penalty": 1.1, "repetition_penalty_range": 256, "ban_eos_token": false}""",
        lambda event: event["choices"][0]["text"],
    ),
    (
        "/api/extra/generate/stream",
        """{"prompt": "It was a dark and stormy night", "temperature": 0.7, "penalize_nl": false,
        "presence_penalty": 0, "frequency_penalty": 0, "top_p": 0.95, "top_k": 40, "min_p": 0,
        "stream": true, "max_length": 40, "logprobs": 10, "rep_pen": 1.1, "rep_pen_range": 256,
        "use_default_badwordsids": false}""",
        lambda event: event["token"],
    ),
]


@pytest.mark.parametrize("path, body, text", RECORDED, ids=[path for path, _, _ in RECORDED])
def test_mikupad_writes(engine, frames, path, body, text):
    client = create_app(Settings(origins=("*",)), OneModel()).test_client()
    events = frames(client.post(path, data=body, content_type="application/json"))
    written = "".join(text(event) for event in events if event != "[DONE]")
    assert written == (" la" * 14)[:40]


@pytest.mark.parametrize(
    "path, body, count",
    [
        ("/tokenize", {"content": "It was"}, lambda said: len(said["tokens"])),
        ("/v1/internal/token-count", {"text": "It was"}, lambda said: said["length"]),
    ],
)
def test_mikupad_counts(client, path, body, count):
    assert count(client.post(path, json=body).json) == 6


def test_mikupad_asks_what_is_not_there_and_hears_so(make_client):
    client = make_client(origins=("*",))
    origin = {"Origin": "null", "Access-Control-Request-Method": "POST"}
    assert client.options("/v1/token/encode", headers=origin).status_code == 204
    reply = client.post("/v1/token/encode", json={"prompt": "x"}, headers={"Origin": "null"})
    assert reply.status_code == 404 and reply.headers["Access-Control-Allow-Origin"] == "null"


class OneModel(FakeEngine):
    def models(self):
        return ["fake"]


def test_a_reader_of_a_list_who_leaves_ends_all_of_it(client, engine):
    engine.step.clear()
    body = {"prompt": ["a", "b", "c"], "stream": True}
    client.post("/v1/completions", json=body, buffered=False).close()
    for completion in engine.completions.values():
        assert list(completion)
    assert sorted(engine.cancelled) == sorted(engine.completions)


# ---- whatever is sent

FIELDS = sorted(
    "prompt inputs parameters memory stream n best_of echo logprobs stop seed logit_bias samplers"
    " n_probs n_predict temperature max_tokens max_length max_context_length genkey suffix grammar"
    " truncate_prompt_tokens stream_options custom_token_bans stop_sequence trim_stop text content"
    " tokens ids t_max_predict_ms banned_tokens top_n_tokens truncate do_sample model"
    " messages".split()
)
PATHS = [
    *STREAMS,
    *BODIES,
    "/",
    "/tokenize",
    "/api/extra/abort",
    "/api/extra/tokencount",
    "/api/extra/detokenize",
    "/api/extra/generate/check",
    "/v1/internal/encode",
    "/v1/internal/decode",
    "/v1/internal/logits",
    "/v1/chat/completions",
]
QUICK = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def lasting_client():
    engine = FakeEngine()
    engine.lasts = 20
    engine.cards["fake"] = {"speakers": ["JOEY", "ROSS"]}
    return create_app(Settings(), engine).test_client()


@pytest.mark.parametrize("path", PATHS)
@QUICK
@given(fields=st.dictionaries(st.sampled_from(FIELDS), leaves | values, max_size=3))
def test_whatever_is_sent_is_an_answer_or_a_4xx(lasting_client, path, fields):
    asked = {"prompt": "x", "inputs": "x"} | fields
    if path in ("/", "/generate", "/generate_stream"):
        asked["parameters"] = fields
    if path == "/v1/chat/completions":
        asked = {"messages": [{"role": "user", "content": "Hi!"} | fields]} | asked
    body = json.dumps(asked).encode("utf-8", "replace")
    reply = lasting_client.post(path, data=body, content_type="application/json")
    assert reply.status_code == 200 or 400 <= reply.status_code < 500, reply.text[:500]
    if reply.status_code != 200:
        assert reply.json.keys() & {"error", "detail"}


@pytest.mark.parametrize("path", ["/v1/completions", "/completion", "/api/v1/generate"])
def test_dry_and_xtc_go_by_the_names_that_clients_know(client, params, path):
    """Breakers as a list, or as SillyTavern sends them: a list written as JSON."""
    wanted = {
        "dry_multiplier": 0.8,
        "dry_base": 1.5,
        "dry_allowed_length": 3,
        "dry_penalty_last_n": -1,
        "xtc_probability": 0.5,
        "xtc_threshold": 0.2,
    }
    for breakers in (["\n", "*"], '["\\n", "*"]'):
        body = BODIES[path] | wanted | {"dry_sequence_breakers": breakers}
        assert client.post(path, json=body).status_code == 200
        assert (params.dry_multiplier, params.dry_base, params.dry_range) == (0.8, 1.5, 0)
        assert (params.dry_allowed_length, params.dry_breakers) == (3, ["\n", "*"])
        assert (params.xtc_probability, params.xtc_threshold) == (0.5, 0.2)


@pytest.mark.parametrize("path", ["/v1/completions", "/api/v1/generate"])
def test_phrases_can_be_banned(client, params, path):
    assert (
        client.post(path, json=BODIES[path] | {"banned_strings": ["of hearts"]}).status_code == 200
    )
    assert params.banned_phrases == ["of hearts"]


def test_llama_cpps_samplers_switch_them_off(client, params):
    body = BODIES["/completion"] | {"dry_multiplier": 1, "xtc_probability": 1}
    client.post("/completion", json=body | {"samplers": ["top_k", "xtc"]})
    assert (params.dry_multiplier, params.xtc_probability) == (0, 1)
    client.post("/completion", json=body | {"dry_penalty_last_n": 0})
    assert (params.dry_multiplier, params.xtc_probability) == (0, 1)
