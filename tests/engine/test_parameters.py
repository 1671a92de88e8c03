import pytest

from app.engine import MAX_SEED, PARAMETERS, InvalidParams, Params, make_params
from app.gpt2.paged import CANDIDATES


def test_no_values_make_the_defaults():
    assert make_params({}) == Params()


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda p: p.name)
def test_each_default_is_within_its_own_bounds(parameter):
    assert getattr(make_params({parameter.name: parameter.default}), parameter.name) == (
        parameter.default
    )


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda p: p.name)
def test_each_parameter_says_in_one_line_what_it_does(parameter):
    assert parameter.help.endswith(".") and len(parameter.help) < 80


BAD = [
    ({"temperature": 5.1}, "temperature must be from 0 to 5; got 5.1."),
    ({"temperature": float("nan")}, "temperature must be from 0 to 5; got nan."),
    ({"temperature": "hot"}, "temperature must be a number; got 'hot'."),
    ({"top_p": -0.1}, "top_p must be from 0 to 1; got -0.1."),
    ({"max_tokens": 1.5}, "max_tokens must be a whole number or null; got 1.5."),
    ({"n": 0}, "n must be from 1 to 64; got 0."),
    ({"n": True}, "n must be a whole number; got True."),
    ({"seed": -1}, f"seed must be from 0 to {MAX_SEED}; got -1."),
    ({"seed": 2**53}, f"seed must be from 0 to {MAX_SEED}; got {2**53}."),
    ({"stop": "."}, "stop must be a list of texts; got '.'."),
    ({"stop": [""]}, "stop holds a text of 0 characters; 1 to 1000 are allowed."),
    ({"stop": ["."] * 65}, "stop has 65 entries; at most 64 are allowed."),
    ({"stop_token_ids": [-1]}, "stop_token_ids must be from 0 to 2147483647; got -1."),
    ({"logit_bias": {"5": 101}}, "logit_bias must be from -100 to 100; got 101.0."),
    ({"logit_bias": {"-5": 1}}, "logit_bias must be from 0 to 2147483647; got -5."),
    # none of these fits in the bytes that go between the processes
    ({"stop_token_ids": [10**20]}, f"stop_token_ids must be from 0 to 2147483647; got {10**20}."),
    ({"banned": [10**20]}, f"banned must be from 0 to 2147483647; got {10**20}."),
    ({"logit_bias": {10**20: 1}}, f"logit_bias must be from 0 to 2147483647; got {10**20}."),
    ({"min_tokens": 9, "max_tokens": 3}, "min_tokens 9 is above max_tokens 3."),
    ({"temprature": 1}, "There is no parameter 'temprature'; did you mean 'temperature'?"),
    ({"xyzzy": 1}, "There is no parameter 'xyzzy'."),
]


@pytest.mark.parametrize("values, sentence", BAD)
def test_a_bad_value_is_named_with_its_bound(values, sentence):
    with pytest.raises(InvalidParams) as caught:
        make_params(values)
    assert str(caught.value) == sentence
    assert caught.value.field == next(iter(values))


def test_params_made_by_hand_are_held_to_the_same_bounds():
    with pytest.raises(InvalidParams, match="top_p must be from 0 to 1"):
        Params(top_p=2)


def test_json_writes_ids_as_texts_and_whole_numbers_as_decimals():
    params = make_params({"logit_bias": {"50256": -100}, "max_tokens": 5.0, "temperature": 1})
    assert params.logit_bias == {50256: -100.0}
    assert params.max_tokens == 5


def test_zero_and_null_are_values():
    params = make_params({"max_tokens": None, "temperature": 0, "logprobs": 0})
    assert (params.max_tokens, params.temperature, params.logprobs) == (None, 0, 0)


def test_no_more_alternatives_can_be_asked_for_than_a_model_names():
    most = {row.name: row.high for row in PARAMETERS}
    assert max(most["logprobs"], most["prompt_logprobs"]) <= CANDIDATES
