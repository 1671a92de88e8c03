"""What holds in every dialect."""

import json
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app import create_app
from app.settings import Settings
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
    while not engine.completions:
        pass
    engine.cancel(next(iter(engine.completions)))
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
def test_streams_begin_at_once_with_a_comment_and_are_not_stored(client, path):
    reply = client.post(path, json={"prompt": "x", "inputs": "x"} | STREAMS[path], buffered=False)
    assert next(iter(reply.response)).startswith(b":")
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
    " tokens ids t_max_predict_ms banned_tokens top_n_tokens truncate do_sample model".split()
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
    return create_app(Settings(), engine).test_client()


@pytest.mark.parametrize("path", PATHS)
@QUICK
@given(fields=st.dictionaries(st.sampled_from(FIELDS), leaves | values, max_size=3))
def test_whatever_is_sent_is_an_answer_or_a_4xx(lasting_client, path, fields):
    asked = {"prompt": "x", "inputs": "x"} | fields
    if path in ("/", "/generate", "/generate_stream"):
        asked["parameters"] = fields
    body = json.dumps(asked).encode("utf-8", "replace")
    reply = lasting_client.post(path, data=body, content_type="application/json")
    assert reply.status_code == 200 or 400 <= reply.status_code < 500, reply.text[:500]
    if reply.status_code != 200:
        assert reply.json.keys() & {"error", "detail"}
