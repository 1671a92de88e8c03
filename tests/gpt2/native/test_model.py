"""The kernel gives the exact model's logits, and the same bits however it is asked for them."""

import dataclasses
import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from app.gpt2 import Config, NativeModel, TorchModel, sampling
from app.gpt2.native import build, library
from app.gpt2.native.model import _quota
from app.gpt2.native.quantize import quantize
from app.gpt2.paged import CANDIDATES, Feed
from app.gpt2.seeds import MAX_SEED
from tests.server import ROOT
from tests.tiny import TINY, random_weights

SMALL = dataclasses.replace(TINY, vocab_size=2000)
ODD = Config(
    vocab_size=77, n_positions=50, n_embd=60, n_layer=3, n_head=5, n_inner=100,
    scale_attn_by_inverse_layer_idx=True,
)  # fmt: skip
WEIGHTS = {config: random_weights(config) for config in (SMALL, ODD)}
IDS = np.random.default_rng(3).integers(0, SMALL.vocab_size, 128).tolist()
PRECISIONS = ("float32", "bfloat16", "int8")


@pytest.fixture(scope="session")
def make(folder):
    def make(config, precision, isa=None, threads=2, kernel=None):
        weights = WEIGHTS[config]
        if precision == "int8":
            weights = quantize(config, weights)
        if kernel is None:
            kernel = library.load(folder) if isa is None else library.load_for(isa, folder)
        model = NativeModel(config, weights, precision, threads, kernel=kernel)
        model.allocate(40)
        return model

    return make


@pytest.fixture(scope="session")
def models(make):
    return {precision: make(SMALL, precision) for precision in PRECISIONS}


def every_logit(model, ids, pages):
    return model.forward([Feed(ids, 0, pages, len(ids))]).logits.copy()


# ---- what it computes ----


@pytest.mark.parametrize("config", [SMALL, ODD], ids=["small", "odd"])
@pytest.mark.parametrize(
    "precision, bound", [("float32", 2e-6), ("bfloat16", 0.03), ("int8", 0.06)]
)
def test_logits_are_the_exact_models(make, config, precision, bound):
    ids = [id % config.vocab_size for id in IDS[: config.n_positions]]
    exact = TorchModel(config, WEIGHTS[config]).forward(torch.tensor([ids]))[0][0].numpy()
    logits = every_logit(make(config, precision), ids, [3, 1, 7, 5])
    assert np.abs(logits - exact).max() < bound * np.abs(exact).max()


def test_candidates_are_the_likeliest_in_falling_order(models):
    turn = models["float32"].forward([Feed(IDS[:5], 0, [0], 2)])
    likeliest = np.argsort(-turn.logits, axis=1, kind="stable")[:, :CANDIDATES]
    assert (turn.top_ids == likeliest).all()
    assert (turn.top_scores == np.take_along_axis(turn.logits, likeliest, axis=1)).all()


SETTINGS = st.builds(
    sampling.Draw,
    seed=st.integers(0, MAX_SEED),
    position=st.integers(-1, 1000),
    temperature=st.sampled_from([0.0, 0.3, 0.8, 1.0, 5.0]),
    top_k=st.sampled_from([0, 1, 2, 40, 100, CANDIDATES, 200]),
    top_p=st.sampled_from([0.0, 0.3, 0.9, 0.999, 1.0]),
    min_p=st.sampled_from([0.0, 0.01, 0.2, 1.0]),
    typical_p=st.sampled_from([0.2, 0.9, 1.0]),
    xtc_probability=st.sampled_from([0.0, 0.5]),
)


@settings(deadline=None, max_examples=300)
@given(id=st.sampled_from(IDS), draws=st.lists(SETTINGS, min_size=1, max_size=8))
def test_it_draws_what_numpy_draws(models, id, draws):
    turn = models["int8"].forward([Feed([id], 0, [row], 1, d) for row, d in enumerate(draws)])
    expected = sampling.choose(turn, draws)
    settled = [row for row, d in enumerate(draws) if 0 < d.top_k <= CANDIDATES or not d.temperature]
    assert (turn.drawn[settled] == expected[settled]).all()
    assert ((turn.drawn == expected) | (turn.drawn == -1)).all()


def test_it_draws_only_the_last_token_and_only_what_it_can(models):
    plain, mixed = sampling.Draw(1, 0, top_k=40), sampling.Draw(1, 0, top_p=0.9, typical_p=0.5)
    feeds = [Feed(IDS[:3], 0, [0], 2, plain), Feed(IDS[:3], 0, [1], 1, mixed)]
    drawn = models["int8"].forward([*feeds, Feed(IDS[:2], 0, [2], 1)]).drawn
    assert (drawn >= 0).tolist() == [False, True, False, False]


def test_equal_candidates_come_by_rising_id(folder):
    """All tokens alike, but for those that are told apart by the sign of a zero."""
    weights = {name: np.zeros_like(array) for name, array in WEIGHTS[SMALL].items()}
    weights["ln_f.bias"][0] = 1
    weights["wte.weight"][1::2, 0] = -0.0
    weights["wte.weight"][1900, 0] = 1
    model = NativeModel(SMALL, weights, threads=2, folder=folder)
    model.allocate(1)
    top_ids = model.forward([Feed(IDS[:1], 0, [0], 1)]).top_ids[0]
    assert top_ids.tolist() == [1900, *range(CANDIDATES - 1)]


def test_a_copied_page_goes_on_like_the_first(models):
    for model in models.values():
        model.forward([Feed(IDS[:20], 0, [10], 0)])
        model.copy_page(10, 11)
        one, two = (Feed(IDS[20:21], 20, [page], 1) for page in (10, 11))
        assert (model.forward([one]).logits.copy() == model.forward([two]).logits).all()


def test_what_is_not_a_number_stays_none(make):
    weights = {name: array.copy() for name, array in WEIGHTS[SMALL].items()}
    weights["h.0.mlp.c_proj.bias"][3] = np.nan
    model = NativeModel(
        SMALL, quantize(SMALL, weights), "int8", 2, kernel=make(SMALL, "int8")._kernel
    )
    model.allocate(1)
    assert np.isnan(model.forward([Feed(IDS[:3], 0, [0], 1)]).logits).all()


# ---- the same bits: on every processor ----


@pytest.mark.parametrize("config", [SMALL, ODD], ids=["small", "odd"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_build_gives_the_bits_of_plain_c(make, config, precision):
    ids = [id % config.vocab_size for id in IDS[: config.n_positions]]
    plain = every_logit(make(config, precision, "plain"), ids, [3, 1, 7, 5])
    for isa in build.runnable():
        for threads in (1, 3):
            logits = every_logit(make(config, precision, isa, threads), ids, [3, 1, 7, 5])
            assert np.array_equal(logits, plain), (isa, threads)


@pytest.fixture(scope="session")
def emulated(folder):
    header = Path(__file__).with_name("avx_vnni.h")
    return library.open_library(build.build("avx2", folder, ["-include", str(header)]), "avx-vnni")


@pytest.mark.skipif("avx2" not in build.runnable(), reason="this processor has no AVX2")
@pytest.mark.parametrize("config", [SMALL, ODD], ids=["small", "odd"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_avx_vnni_gives_them_too_by_an_emulated_instruction(make, emulated, config, precision):
    """It computed nonsense from int8, which shows only on the few processors that have it."""
    ids = [id % config.vocab_size for id in IDS[: config.n_positions]]
    plain = every_logit(make(config, precision, "plain"), ids, [3, 1, 7, 5])
    logits = every_logit(make(config, precision, kernel=emulated), ids, [3, 1, 7, 5])
    assert np.array_equal(logits, plain)


# ---- the same bits: however prompts are cut, in any company ----


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 128), min_size=1, max_size=3),
    most=st.integers(1, 128),
    seed=st.integers(0, 2**32 - 1),
    precision=st.sampled_from(PRECISIONS),
)
def test_a_row_gives_the_same_bits_cut_anywhere_in_any_company(
    models, lengths, most, seed, precision
):
    """Rows fed at most so many tokens a turn; what is wanted is what each row gives when alone."""
    model, rng = models[precision], np.random.default_rng(seed)
    rows = [IDS[-length:] for length in lengths]
    alone = [every_logit(model, ids, [36, 37, 38, 39]) for ids in rows]
    fed = [0] * len(rows)
    while any(n < len(ids) for n, ids in zip(fed, rows, strict=True)):
        feeds, expected = [], []
        for row, ids in enumerate(rows):
            begin, end = fed[row], min(len(ids), fed[row] + int(rng.integers(0, most + 1)))
            if begin < end:
                wanted = int(rng.integers(0, end - begin + 1))
                feeds.append(Feed(ids[begin:end], begin, range(row * 4, row * 4 + 4), wanted))
                expected.append(alone[row][end - wanted : end])
                fed[row] = end
        if feeds:
            assert np.array_equal(model.forward(feeds).logits, np.concatenate(expected))


LONG = Config(vocab_size=300, n_embd=128, n_layer=1, n_head=2, n_inner=512)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_turn_longer_than_what_goes_through_together_gives_the_same_bits(folder, precision):
    weights = random_weights(LONG)
    if precision == "int8":
        weights = quantize(LONG, weights)
    model = NativeModel(LONG, weights, precision, 2, folder)
    model.allocate(64)
    ids = np.random.default_rng(5).integers(0, LONG.vocab_size, 1024).tolist()
    whole = every_logit(model, ids, range(32))
    for begin, end in itertools.pairwise([0, 1, 257, 300, 1023, 1024]):
        logits = model.forward([Feed(ids[begin:end], begin, range(32, 64), end - begin)]).logits
        assert np.array_equal(logits, whole[begin:end]), (begin, end)


# ---- the door ----


@pytest.mark.parametrize(
    "feed, what",
    [
        (Feed([2000], 0, [0], 1), "an id is not in the vocabulary"),
        (Feed([-1], 0, [0], 1), "an id is not in the vocabulary"),
        (Feed([1], 32, [0], 1), "a row has too few pages"),
        (Feed([1] * 33, 0, [0], 1), "a row has too few pages"),
        (Feed([1], 0, [40], 1), "a page does not exist"),
        (Feed([1], 0, [-1], 1), "a page does not exist"),
        (Feed([1], 128, range(5), 1), "a row is longer than the window"),
        (Feed([1], -1, [0], 1), "a row is longer than the window"),
        (Feed([], 0, [0], 0), "a row has no token"),
        (Feed([1], 0, [0], 2), "a count is wrong"),
    ],
)
def test_what_it_cannot_take_is_refused_before_anything_is_touched(models, feed, what):
    with pytest.raises(AssertionError, match=what):
        models["int8"].forward([feed])


def test_a_turn_of_which_nothing_is_wanted_gives_nothing(models):
    turn = models["int8"].forward([Feed(IDS[:5], 0, [0], 0)])
    assert turn.logits.shape == (0, SMALL.vocab_size)
    assert turn.top_ids.shape == turn.top_scores.shape == (0, CANDIDATES)


@pytest.mark.parametrize(
    "files, cores",
    [
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "max 100000"}, 1 << 16),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 1 << 16),
        ({}, 1 << 16),
    ],
)
def test_a_quota_is_read_from_both_versions_of_cgroups(tmp_path, files, cores):
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text + "\n", encoding="ascii")
    assert _quota(tmp_path) == cores


# ---- in a fork ----

IN_A_FORK = """
import os, sys
from pathlib import Path
from app.gpt2 import NativeModel
from app.gpt2.paged import Feed
from tests.tiny import TINY, random_weights
model = NativeModel(TINY, random_weights(TINY), threads=2, folder=Path(sys.argv[1]))
model.allocate(1)
if os.fork() == 0:
    try:
        model.forward([Feed([1], 0, [0], 1)])
    except RuntimeError as error:
        sys.exit(str(error))
_, status = os.wait()
sys.exit(os.waitstatus_to_exitcode(status))
"""


def test_a_fork_without_its_threads_neither_computes_nor_waits_for_them_to_end(folder):
    """Both waited for ever, as a worker of `gunicorn --preload` with a model of its own."""
    command = [sys.executable, "-c", IN_A_FORK, str(folder)]
    ended = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, timeout=60)
    assert ended.returncode == 1 and "open it in the process that uses it" in ended.stderr
