import pytest

from app.gpt2 import TorchModel, continue_ids
from tests.waiting import wait_until

PROMPT = "Once upon a time"


@pytest.fixture(scope="module")
def said(drive):
    return drive("with_openai.py")


def test_models_are_found(said):
    assert said["models"] == ["tiny"] and said["window"] == 128


def test_greedy_text_is_the_plain_loops(said, checkpoint):
    model = TorchModel(checkpoint.config, checkpoint.weights)
    ids = continue_ids(model, checkpoint.tokenizer.encode(PROMPT), 12)
    assert said["greedy"]["choices"][0]["text"] == checkpoint.tokenizer.decode(list(ids))
    assert said["greedy"]["usage"]["total_tokens"] == 16


def test_streamed_and_whole_are_the_same(said):
    *chunks, usage = said["chunks"]
    texts = ["", ""]
    for chunk in chunks:
        [choice] = chunk["choices"]
        texts[choice["index"]] += choice["text"]
    assert texts == [choice["text"] for choice in said["whole"]["choices"]]
    assert usage["choices"] == []
    for count in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert usage["usage"][count] == said["whole"]["usage"][count]


def test_lists_are_answered_in_order_with_their_prompts(said):
    first, second = said["lists"]["choices"]
    assert first["text"].startswith(PROMPT) and second["text"].startswith("The end")


def test_an_echo_is_scored_as_the_model_computes_it(said, checkpoint, odds):
    ids = checkpoint.tokenizer.encode(PROMPT)
    expected = [odds(ids)[at, id].item() for at, id in enumerate(ids[1:])]
    logprobs = said["scored"]["choices"][0]["logprobs"]
    assert said["scored"]["choices"][0]["text"] == PROMPT
    assert logprobs["tokens"] == ["Once", " upon", " a", " time"]
    assert logprobs["token_logprobs"] == [None, *(pytest.approx(e, abs=1e-4) for e in expected)]


def test_one_of_the_best_is_told_and_all_are_counted(said):
    assert len(said["best"]["choices"]) == 1
    assert said["best"]["usage"]["completion_tokens"] == 16


def test_a_bias_is_felt(said):
    assert said["biased"]["choices"][0]["text"] == ",,,,"


def test_mistakes_are_bad_requests_that_name_their_field(said):
    assert [(param, code) for param, code, _ in said["mistakes"]] == [
        ("temperature", "invalid_value"),
        ("suffix", "invalid_value"),
        ("prompt", "context_length_exceeded"),
    ]


def test_chat_is_told_where_to_go(said):
    assert "/v1/completions" in said["chat"]


def test_a_stream_that_is_closed_early_ends_on_the_server(said, server):
    assert isinstance(said["left_after"], str)
    wait_until(lambda: server.metric("continuo_num_requests_running") == 0)
    assert server.metric('continuo_cancelled_total{by="disconnect"') >= 1
