import pytest

from app.gpt2 import TorchModel, continue_ids

PROMPT = "Once upon a time"


@pytest.fixture(scope="module")
def said(drive):
    return drive("with_huggingface_hub.py")


def test_whole_in_pieces_and_by_events_are_the_same_text(said):
    assert said["full"] == PROMPT + said["text"]
    assert "".join(said["pieces"]) == said["text"]
    assert said["events"][-1]["generated_text"] == said["text"]
    assert said["details"]["generated_text"] == said["text"]


def test_details_count_and_tell_every_token(said):
    details = said["details"]["details"]
    assert details["finish_reason"] == "length" and details["generated_tokens"] == 12
    assert details["seed"] == 7 and len(details["tokens"]) == len(details["top_tokens"]) == 12
    assert [token["text"] for token in details["prefill"]] == ["Once", " upon", " a", " time"]
    assert details["prefill"][0]["logprob"] is None


def test_the_best_comes_with_the_others(said):
    others = said["best"]["details"]["best_of_sequences"]
    assert len({said["best"]["generated_text"], *(one["generated_text"] for one in others)}) == 3


def test_the_last_event_tells_how_it_ended(said):
    details = said["events"][-1]["details"]
    assert details["finish_reason"] == "length" and details["input_length"] == 4
    assert all(event["details"] is None for event in said["events"][:-1])


def test_with_nothing_said_it_is_greedy_and_the_full_text(said, checkpoint):
    """As TGI answers at its root, which is where this client posts."""
    model = TorchModel(checkpoint.config, checkpoint.weights)
    ids = continue_ids(model, checkpoint.tokenizer.encode(PROMPT), 12)
    assert said["greedy"] == PROMPT + checkpoint.tokenizer.decode(list(ids))


def test_a_mistake_is_the_clients_own_exception(said):
    name, message = said["mistake"]
    assert name == "ValidationError" and "`top_p` must be > 0.0 and < 1.0" in message
