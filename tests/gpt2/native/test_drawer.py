"""The kernel draws by sampling.py's definition, in every build, and leaves logits as they were."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.gpt2.native import build, drawer, library
from app.gpt2.native.build import BuildError
from app.gpt2.native.drawer import Drawer, open_drawer
from app.gpt2.paged import CANDIDATES
from app.gpt2.sampling import Draw, candidates
from app.gpt2.seeds import MAX_SEED
from tests.gpt2.test_sampling import slow

NONE = np.array([], np.int32), np.array([], np.float32)


@pytest.fixture(scope="session")
def kernels(folder):
    return [library.load_for(isa, folder) for isa in build.runnable()]


def draw_with(kernel, draw, logits, change=NONE):
    top_ids = candidates(logits, CANDIDATES)
    return Drawer(kernel, len(logits))(draw, logits, top_ids, logits[top_ids], *change)


def make_logits(seed, n_tokens, spread, has_equals, share_banned):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, spread, n_tokens).astype(np.float32)
    if has_equals:
        logits = np.round(logits * 2) / 2
    logits[rng.random(n_tokens) < share_banned] = -np.inf
    logits[rng.integers(n_tokens)] = 0
    return logits


def neutral_or(neutral, *others):
    return st.one_of(st.just(neutral), st.sampled_from(others))


LOGITS = st.builds(
    make_logits,
    seed=st.integers(0, 2**32 - 1),
    n_tokens=st.sampled_from([1, 77, 500, 1024, 2003]),
    spread=st.sampled_from([0.0, 0.1, 1.0, 3.0]),
    has_equals=st.booleans(),
    share_banned=st.sampled_from([0.0, 0.0, 0.9]),
)
DRAWS = st.builds(
    Draw,
    seed=st.integers(0, MAX_SEED),
    position=st.integers(-1, 1000),
    temperature=st.sampled_from([0.0, 1e-3, 0.3, 1.0, 5.0]),
    top_k=neutral_or(0, 1, 40, CANDIDATES, 200, 10_000),
    top_p=neutral_or(1.0, 0.0, 0.3, 0.9, 0.999),
    min_p=neutral_or(0.0, 1e-6, 0.01, 0.2, 1.0),
    typical_p=neutral_or(1.0, 0.0, 0.2, 0.9),
    xtc_probability=neutral_or(0.0, 0.5, 1.0),
    xtc_threshold=st.sampled_from([0.0, 0.001, 0.1, 0.5]),
)


def n_filters(draw):
    drops = draw.xtc_probability > 0
    return (draw.top_k > 0) + (draw.top_p < 1) + (draw.typical_p < 1) + drops


@settings(deadline=None, max_examples=500)
@given(logits=LOGITS, draw=DRAWS)
def test_it_draws_by_the_definition_whatever_is_asked(kernels, logits, draw):
    drawn = {draw_with(kernel, draw, logits) for kernel in kernels}
    is_left = drawn == {-1}
    assert is_left or drawn == {slow(logits, draw)}
    if n_filters(draw) <= 1 and not draw.xtc_probability:
        assert not is_left


@settings(deadline=None, max_examples=300)
@given(
    logits=LOGITS,
    draw=DRAWS,
    seed=st.integers(0, 2**32 - 1),
    share=st.sampled_from([0.001, 0.1, 1.0]),
    by=st.sampled_from([0.5, -4.0, -np.inf]),
)
def test_scores_that_a_request_changes_change_nothing_else(kernels, logits, draw, seed, share, by):
    chosen = np.random.default_rng(seed).random(len(logits)) < share
    chosen[0] = False
    ids = np.flatnonzero(chosen).astype(np.int32)
    after = logits.copy()
    after[ids] += np.float32(by)
    if np.isneginf(after).all():
        return
    before, scores = logits.copy(), after[ids]
    drawn = {draw_with(kernel, draw, logits, (ids, scores)) for kernel in kernels}
    assert drawn == {-1} or drawn == {slow(after, draw)}
    assert np.array_equal(logits, before) and np.array_equal(scores, after[ids])


@pytest.mark.parametrize("ids", [[-1], [500], [3, 2**31 - 1]])
def test_ids_outside_the_vocabulary_are_refused_before_anything_is_touched(kernels, ids):
    logits = np.zeros(500, np.float32)
    change = np.array(ids, np.int32), np.ones(len(ids), np.float32)
    assert draw_with(kernels[0], Draw(1, 0), logits, change) == -1
    assert not logits.any()


@pytest.mark.parametrize("bad", [np.nan, -np.inf])
def test_what_cannot_be_drawn_from_is_left_to_sampling(kernels, bad):
    logits = np.full(500, bad, np.float32)
    top = np.arange(CANDIDATES), logits[:CANDIDATES]
    assert Drawer(kernels[0], 500)(Draw(1, 0), logits, *top, *NONE) == -1


def test_without_a_kernel_there_is_none(monkeypatch):
    def fail(folder):
        raise BuildError("There is no C compiler here.")

    monkeypatch.setattr(drawer.library, "load", fail)
    assert open_drawer(77) is None
