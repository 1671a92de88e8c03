import dataclasses
import itertools

import numpy as np
import pytest
import torch

from app.gpt2 import Config, TorchModel
from app.gpt2.native.quantize import quantize
from app.gpt2.openvino_backend.model import OpenVINOModel, sums_fit
from app.gpt2.paged import Feed
from tests.tiny import TINY, random_weights

SMALL = dataclasses.replace(TINY, vocab_size=2000)
WEIGHTS = random_weights(SMALL)
IDS = np.random.default_rng(3).integers(0, SMALL.vocab_size, 128).tolist()


@pytest.fixture(scope="module")
def models():
    made = {}
    for precision in ("float32", "bfloat16", "int8"):
        weights = quantize(SMALL, WEIGHTS) if precision == "int8" else WEIGHTS
        made[precision] = OpenVINOModel(SMALL, weights, precision, threads=2)
        made[precision].allocate(40)
    return made


@pytest.fixture(scope="module")
def exact():
    return TorchModel(SMALL, WEIGHTS).forward(torch.tensor([IDS]))[0][0].numpy()  # [128, V]


def every_logit(model, ids, pages):
    return model.forward([Feed(ids, 0, pages, len(ids))]).logits


@pytest.mark.parametrize(
    "precision, bound", [("float32", 2e-6), ("bfloat16", 0.02), ("int8", 0.05)]
)
def test_logits_are_the_exact_models(models, exact, precision, bound):
    logits = every_logit(models[precision], IDS, [3, 1, 7, 5])
    assert np.abs(logits - exact).max() < bound * np.abs(exact).max()


def test_logits_fed_token_by_token_and_in_chunks_are_the_exact_models(models, exact):
    model, pages = models["float32"], [9, 8, 2, 4]
    got = [model.forward([Feed(IDS[:40], 0, pages, 40)]).logits.copy()]
    for i in range(40, 80):
        got.append(model.forward([Feed(IDS[i : i + 1], i, pages, 1)]).logits.copy())
    got.append(model.forward([Feed(IDS[80:], 80, pages, 48)]).logits.copy())
    assert np.abs(np.concatenate(got) - exact).max() < 2e-6 * np.abs(exact).max()


@pytest.mark.parametrize("has_vnni", [sums_fit(), False])
def test_int8_is_exact_enough_and_the_same_bits_alone_and_in_company(has_vnni, exact, monkeypatch):
    """With the kernels for int8, and with those for float32, which every processor has."""
    monkeypatch.setattr("app.gpt2.openvino_backend.model.sums_fit", lambda: has_vnni)
    model = OpenVINOModel(SMALL, quantize(SMALL, WEIGHTS), "int8", threads=2)
    model.allocate(12)
    logits = every_logit(model, IDS, [3, 1, 7, 5]).copy()
    assert np.abs(logits - exact).max() < 0.05 * np.abs(exact).max()
    others = [Feed(IDS[:96], 0, [8, 9, 10], 1), Feed(IDS[:2], 0, [11], 1)]
    for n_before in (40, 100):
        one = Feed(IDS[n_before : n_before + 1], n_before, [3, 1, 7, 5], 1)
        alone = model.forward([one]).logits[0].copy()
        assert (model.forward([one, *others]).logits[0] == alone).all()
        assert (model.forward([*others, one]).logits[2] == alone).all()


def test_inverse_layer_scaling_and_odd_sizes_are_computed_too():
    config = Config(
        vocab_size=77, n_positions=32, n_embd=48, n_layer=3, n_head=3, n_inner=100,
        scale_attn_by_inverse_layer_idx=True,
    )  # fmt: skip
    weights, ids = random_weights(config), list(range(20))
    model = OpenVINOModel(config, weights)
    model.allocate(1)
    exact = TorchModel(config, weights).forward(torch.tensor([ids]))[0][0].numpy()
    assert np.abs(every_logit(model, ids, [0]) - exact).max() < 2e-6 * np.abs(exact).max()


def test_candidates_are_the_likeliest_in_falling_order(models):
    logits, top_ids, top_scores = models["float32"].forward([Feed(IDS[:5], 0, [0], 2)])
    assert (top_ids == np.argsort(-logits, axis=1, kind="stable")[:, :64]).all()
    assert (top_scores == np.take_along_axis(logits, top_ids, axis=1)).all()


def test_a_copied_page_goes_on_like_the_first(models):
    for model in models.values():
        model.forward([Feed(IDS[:20], 0, [10], 0)])
        model.copy_page(10, 11)
        one, two = (Feed(IDS[20:21], 20, [page], 1) for page in (10, 11))
        assert (model.forward([one]).logits.copy() == model.forward([two]).logits).all()


# ---- the same bits in any company ----

LENGTHS = [1, 2, 31, 32, 33, 34, 63, 64, 65, 66, 95, 96, 97, 98, 120]
STEPS = 6  # tokens fed one at a time after each prompt


def alone(model, length, pages):
    """The last logits of a prompt prefilled whole, and of each token fed after it."""
    feeds = [Feed(IDS[:length], 0, pages, 1)]
    feeds += [Feed(IDS[i : i + 1], i, pages, 1) for i in range(length, length + STEPS)]
    return [model.forward([feed]).logits[0].copy() for feed in feeds]


def in_company(model, rng):
    """The same for all LENGTHS at once: rows join at random, some prompts come in chunks."""
    waiting, free = rng.permutation(LENGTHS).tolist(), list(range(36))
    running, got = {}, {length: [] for length in LENGTHS}
    while waiting or running:
        if waiting and len(free) >= 4 and (not running or rng.random() < 0.6):
            running[waiting.pop()] = (0, [free.pop() for _ in range(4)])
        feeds = []
        for length, (done, pages) in running.items():
            end = max(length, done + 1)
            if length - done > 33 and rng.random() < 0.5:
                end = done + rng.integers(2, 32)
            feeds.append(Feed(IDS[done:end], done, pages, 1))
        for feed, length, row in zip(
            feeds, list(running), model.forward(feeds).logits, strict=True
        ):
            done = feed.past + len(feed.ids)
            running[length] = (done, feed.pages)
            if done >= length:
                got[length].append(row.copy())
            if done == length + STEPS:
                free += running.pop(length)[1]
    return got


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_a_row_gives_the_same_bits_alone_and_in_any_company(models, precision):
    expected = {n: alone(models[precision], n, [36, 37, 38, 39]) for n in LENGTHS}
    for seed in range(3):
        got = in_company(models[precision], np.random.default_rng(seed))
        for length in LENGTHS:
            assert np.array_equal(got[length], expected[length]), f"prompt of {length}"


WIDE = Config(vocab_size=500, n_embd=768, n_layer=1, n_head=12)  # the width of the 124M model


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_a_prompt_gives_the_same_bits_however_it_is_cut(precision):
    """Also where matrices are so large that kernels add up in blocks, if rows are many."""
    weights = random_weights(WIDE, spread=0.1)
    model = OpenVINOModel(
        WIDE, quantize(WIDE, weights) if precision == "int8" else weights, precision, threads=2
    )
    model.allocate(10)
    ids = np.random.default_rng(5).integers(0, WIDE.vocab_size, 300).tolist()
    whole = every_logit(model, ids, range(10)).copy()
    for ends in ([2, 5, 40, 300], [80, 82, 300], [*range(8, 300, 8), 300], [31, 65, 298, 300]):
        for begin, end in itertools.pairwise([0, *ends]):
            logits = model.forward([Feed(ids[begin:end], begin, range(10), end - begin)]).logits
            assert np.array_equal(logits, whole[begin:end]), ends
