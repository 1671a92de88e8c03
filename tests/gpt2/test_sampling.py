import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.gpt2.paged import Logits
from app.gpt2.sampling import (
    Draw,
    NothingLeft,
    Penalties,
    candidates,
    choose,
    ends_of_ngrams,
    logprobs,
    penalize,
    repetitions,
)
from app.gpt2.seeds import MAX_SEED, row_seed

V = 500


def logits_of(rows, seed=0, spread=3.0, n_tokens=V):
    return np.random.default_rng(seed).normal(0, spread, (rows, n_tokens)).astype(np.float32)


def turn_of(logits, top_ids):
    return Logits(logits, top_ids, np.take_along_axis(logits, top_ids, axis=1))


def choose_each(logits, draws, k=64):
    top_ids = np.stack([candidates(row, k) for row in logits])
    return choose(turn_of(logits, top_ids), draws).tolist()


def slow(logits, draw):
    """The definition, one row at a time over the whole sorted vocabulary."""
    order = np.argsort(-logits, kind="stable")
    return choose(turn_of(logits[None], order[None]), [draw])[0]


def odds(logits, draw, n=20_000):
    """How often each token is drawn, over n positions."""
    top_ids = candidates(logits, 64)[None]
    draws = [draw._replace(position=i) for i in range(n)]
    rows = np.broadcast_to(logits, (n, len(logits)))
    ids = choose(turn_of(rows, np.repeat(top_ids, n, axis=0)), draws)
    return np.bincount(ids, minlength=len(logits)) / n


SETTINGS = [
    dict(temperature=0),
    dict(),
    dict(temperature=0.3),
    dict(top_k=1),
    dict(top_k=40),
    dict(top_k=64),
    dict(top_k=100),
    dict(top_k=10_000),
    dict(top_p=0),
    dict(top_p=0.5),
    dict(top_p=0.999),
    dict(top_k=40, top_p=0.9),
    dict(top_k=100, top_p=0.9),
    dict(min_p=0.05),
    dict(min_p=1e-6),
    dict(typical_p=0.3),
    dict(typical_p=0.95, top_k=40),
    dict(xtc_probability=0.7),
    dict(xtc_probability=0.7, xtc_threshold=0.001),
    dict(xtc_probability=0.7, xtc_threshold=0.02, min_p=0.01),
    dict(xtc_probability=0.7, top_k=40, top_p=0.9),
    dict(xtc_probability=0.7, top_p=0.9, typical_p=0.9),
    dict(temperature=2.0, top_k=80, top_p=0.95, min_p=0.01, typical_p=0.9),
]


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_candidates_and_the_whole_vocabulary_give_the_same_draw(setting):
    logits = logits_of(40)
    draws = [Draw(seed=7, position=i, **setting) for i in range(40)]
    assert choose_each(logits, draws) == [slow(*pair) for pair in zip(logits, draws, strict=True)]


def test_a_row_draws_the_same_alone_and_in_any_company():
    logits = logits_of(len(SETTINGS))
    draws = [Draw(seed=i, position=3, **setting) for i, setting in enumerate(SETTINGS)]
    together = choose_each(logits, draws)
    alone = [choose_each(logits[i : i + 1], draws[i : i + 1])[0] for i in range(len(draws))]
    assert together == alone


def test_temperature_0_takes_the_likeliest_and_the_first_of_equals():
    logits = np.zeros((1, V), np.float32)
    logits[0, [7, 300]] = 5
    assert choose_each(logits, [Draw(seed=1, position=0, temperature=0)]) == [7]


@pytest.mark.parametrize(
    "setting, expect",
    [
        (dict(), [0.5, 0.25, 0.15, 0.1]),
        (dict(temperature=0.5), np.array([0.25, 0.0625, 0.0225, 0.01]) / 0.345),
        (dict(top_k=2), [2 / 3, 1 / 3, 0, 0]),
        (dict(top_p=0.6), [2 / 3, 1 / 3, 0, 0]),
        (dict(min_p=0.25), [5 / 9, 2.5 / 9, 1.5 / 9, 0]),
        (dict(top_k=3, top_p=0.5), [1, 0, 0, 0]),  # 0.5 of 0.9 is 0.55: more than half
        (dict(typical_p=0.2), [0, 1, 0, 0]),  # expected surprise 1.21: 0.25's, 1.39, is nearest
    ],
)
def test_draws_have_the_odds_they_should(setting, expect):
    """Chi-square with 3 degrees of freedom: 16.3 is passed once in a thousand right samplers."""
    logits = np.log(np.array([0.5, 0.25, 0.15, 0.1], np.float32))
    n = 20_000
    seen, expect = odds(logits, Draw(seed=11, position=0, **setting), n), np.array(expect)
    assert (seen[expect == 0] == 0).all()
    likely = expect > 0
    assert (n * (seen - expect)[likely] ** 2 / expect[likely]).sum() < 16.3


def test_draws_from_a_wide_vocabulary_have_the_odds_they_should():
    """The path that computes only the noises that could win; 1,999 degrees of freedom."""
    logits = logits_of(1, spread=0.5, n_tokens=2000)[0]
    expect = np.exp(logprobs(logits))
    n = 10_000
    chi_square = (n * (odds(logits, Draw(seed=5, position=0), n) - expect) ** 2 / expect).sum()
    assert abs(chi_square - 1999) < 4 * np.sqrt(2 * 1999)


@pytest.mark.parametrize("vary", ["seed", "position"])
def test_seeds_and_positions_draw_independently(vary):
    draws = [Draw(seed=3, position=3)._replace(**{vary: i}) for i in range(1000)]
    ids = np.array(choose_each(np.zeros((1000, 64), np.float32), draws))
    assert len(set(ids.tolist())) == 64
    assert abs(np.corrcoef(ids[:-1], ids[1:])[0, 1]) < 0.1


def test_the_same_seed_draws_the_same_for_ever():
    """Texts that people keep by their seed stay theirs: these numbers may not change."""
    logits = logits_of(6, spread=1.0)
    draws = [Draw(seed=42, position=i) for i in range(6)]
    assert choose_each(logits, draws) == [338, 227, 336, 120, 39, 64]
    assert [row_seed(42, k) for k in range(3)] == [42, 4385220027024714, 5512094565838406]


def test_row_seeds_are_seeds_and_differ():
    seeds = [row_seed(1, k) for k in range(64)] + [row_seed(2, k) for k in range(64)]
    assert len(set(seeds)) == 128
    assert all(0 <= seed <= MAX_SEED for seed in seeds)


def test_a_row_with_every_token_banned_says_so():
    with pytest.raises(NothingLeft, match="none is left to choose"):
        choose_each(np.full((1, V), -np.inf, np.float32), [Draw(seed=1, position=0)])


def test_banned_tokens_are_never_drawn():
    logits = logits_of(200, spread=0.1)
    logits[:, 100:] = -np.inf
    for setting in (dict(), dict(top_p=0.99), dict(typical_p=0.9), dict(temperature=5)):
        ids = choose_each(logits, [Draw(seed=1, position=i, **setting) for i in range(200)])
        assert max(ids) < 100


def test_candidates_fall_in_order_and_equals_rise_by_id():
    scores = np.array([1, 5, 3, 5, 3, 3], np.float32)
    assert candidates(scores, 4).tolist() == [1, 3, 2, 4]
    assert candidates(scores, 100).tolist() == [1, 3, 2, 4, 5, 0]


def test_penalties_lower_what_is_in_the_text():
    scores = np.array([2, -2, 2, 2], np.float32)
    is_seen, counts = np.array([True, True, False, False]), np.array([0, 2, 0, 0])
    penalize(scores, is_seen, counts, Penalties(repetition=2, presence=0.5, frequency=0.25))
    assert scores.tolist() == [1, -5, 2, 2]


def test_neutral_penalties_change_nothing():
    scores = logits_of(1)[0]
    before = scores.copy()
    penalize(scores, np.ones(V, bool), np.ones(V, int), Penalties())
    assert (scores == before).all()


def slow_repetitions(text, breakers, n_most):
    found = {}
    for end in range(len(text) - 1):
        length = 0
        while (
            length < n_most
            and length <= end
            and text[end - length] == text[-1 - length]
            and text[-1 - length] not in breakers
        ):
            length += 1
        if length:
            found[text[end + 1]] = max(length, found.get(text[end + 1], 0))
    return found


@given(
    text=st.lists(st.integers(0, 4), min_size=1, max_size=40),
    breakers=st.sets(st.integers(0, 4), max_size=2),
    n=st.integers(1, 5),
)
def test_repetitions_and_ngrams_are_those_that_a_plain_search_finds(text, breakers, n):
    is_breaker = np.isin(np.arange(5), list(breakers))
    assert repetitions(np.array(text), is_breaker, 6) == slow_repetitions(text, breakers, 6)
    grams = {tuple(text[i : i + n]) for i in range(len(text) - n + 1)}
    ends = {id for id in range(5) if (*text[len(text) - n + 1 :], id) in grams}
    assert set(ends_of_ngrams(np.array(text), n).tolist()) == (ends if len(text) >= n else set())


def test_xtc_strikes_as_often_as_it_should_and_spares_the_last_of_the_likely():
    logits = np.log(np.array([0.4, 0.3, 0.2, 0.1], np.float32))
    draw = Draw(seed=3, position=0, xtc_probability=0.5, xtc_threshold=0.15)
    expect = np.array([0.4, 0.3, 0.2, 0.1]) / 2 + np.array([0, 0, 2 / 3, 1 / 3]) / 2
    seen, n = odds(logits, draw), 20_000
    assert (n * (seen - expect) ** 2 / expect).sum() < 16.3


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, MAX_SEED),
    temperature=st.floats(0, 5),
    top_k=st.integers(0, 600),
    top_p=st.floats(0, 1),
    min_p=st.floats(0, 1),
    typical_p=st.floats(0, 1),
    xtc_probability=st.sampled_from([0, 0.5, 1]),
    xtc_threshold=st.floats(0, 0.6),
)
def test_any_setting_draws_some_token_and_by_the_definition(seed, **setting):
    logits = logits_of(1, seed=seed % 1000)
    draw = Draw(seed=seed, position=seed % 97, **setting)
    assert choose_each(logits, [draw]) == [slow(logits[0], draw)]
