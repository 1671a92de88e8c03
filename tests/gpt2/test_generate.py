import pytest

from app import gpt2
from app.gpt2 import TorchModel, continue_ids


@pytest.fixture(scope="module")
def model(tiny) -> TorchModel:
    checkpoint = gpt2.load(tiny)
    return TorchModel(checkpoint.config, checkpoint.weights)


def test_an_empty_prompt_starts_from_the_beginning_of_a_text(model):
    assert list(continue_ids(model, [], 5)) == list(continue_ids(model, [50256], 5))


def test_it_goes_on_past_the_window(model):
    assert len(list(continue_ids(model, list(range(100)), 200))) == 200


def test_a_prompt_longer_than_the_window_loses_its_beginning(model):
    long = list(range(1000, 1300))
    assert list(continue_ids(model, long, 5)) == list(continue_ids(model, long[-128:], 5))


def test_a_stop_token_ends_it_and_is_not_part_of_it(model):
    free = list(continue_ids(model, [1, 2, 3], 10))
    assert list(continue_ids(model, [1, 2, 3], 10, stop=[free[4]])) == free[: free.index(free[4])]


def test_the_choice_is_the_callers(model):
    assert list(continue_ids(model, [1], 3, pick=lambda logits: 7)) == [7, 7, 7]
