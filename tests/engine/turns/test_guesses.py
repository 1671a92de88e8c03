"""Guesses of what a lone row writes next: the same text in fewer turns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine import Engine, EngineOptions, Params, Token
from app.engine.turns.guesses import ALIKE, Guesser
from app.gpt2 import NativeModel
from tests.engine.reading import of_kind, read

HABITS = {
    "greedy": {"temperature": 0},
    "a request's defaults": {},
    "all tokens": {"temperature": 0.3, "top_k": 0},
    "penalties": {"temperature": 0.3, "repetition_penalty": 1.1, "dry_multiplier": 0.8},
    "odds": {"temperature": 0.3, "logprobs": 3},
    "a stop text": {"temperature": 0, "stop": ["lamp"]},
    "a banned phrase": {"temperature": 0, "banned_phrases": [" the", "lamp"]},
    "past the window": {"temperature": 0, "max_tokens": 200},
}
PASSAGE = "The house was dark. Anna lit the lamp, and the lamp went out. "


@given(st.lists(st.sampled_from([0, 1, 256]), min_size=1, max_size=400), st.integers(0, 4))
def test_a_guess_is_what_followed_the_same_tokens_last_time(ids, most):
    guesser = Guesser()
    guesser.learn(n_right=4, n=4)
    for n in range(1, len(ids) + 1):
        seen = ids[:n]
        ends = [end for end in range(ALIKE, n) if seen[end - ALIKE : end] == seen[-ALIKE:]]
        expected = [seen[ends[-1] + i % (n - ends[-1])] for i in range(most)] if ends else []
        assert guesser.guess(seen, most) == expected


def test_more_is_guessed_after_luck_and_one_after_bad_luck():
    guesser, ids = Guesser(), [7] * 20
    counts = []
    for n_right in (1, 2, 4, 2, 0):
        counts.append(len(guesser.guess(ids, 4)))
        guesser.learn(n_right, counts[-1])
    assert counts == [1, 2, 4, 4, 1]


def test_a_text_that_was_cut_is_learned_anew():
    guesser = Guesser()
    guesser.guess([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 4)
    assert guesser.guess([1, 2, 3], 4) == []
    assert guesser.guess([5, 1, 2, 3, 6, 1, 2, 3], 4) == [6]


@pytest.fixture(scope="module")
def engines(tiny):
    """With guesses, and without."""
    made = []
    for n_guesses in (NativeModel.n_guesses, 0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(NativeModel, "n_guesses", n_guesses)
            made.append(Engine(EngineOptions(models={"tiny": str(tiny)})))
    yield made
    for engine in made:
        engine.close()


@pytest.mark.parametrize("habit", HABITS)
def test_the_text_is_the_same_with_guesses_and_without(engines, habit):
    told = []
    for engine in engines:
        params = Params(seed=3, **({"max_tokens": 60} | HABITS[habit]))
        told.append(of_kind(read(engine.submit(PASSAGE * 2 + "The house", params)), Token))
    assert told[0] == told[1] and told[0]


def test_a_text_that_repeats_itself_takes_fewer_turns(engines):
    turns = []
    for engine in engines:
        before = engine.stats().turns
        read(engine.submit(PASSAGE, Params(temperature=0, max_tokens=60, logit_bias={11: 100})))
        turns.append(engine.stats().turns - before)
    assert turns[0] < turns[1] / 2
