"""The paged torch model against the oracle; a GPU's path runs here on the CPU's tensors."""

import dataclasses
import logging

import numpy as np
import pytest
import torch

from app.gpt2 import Feed, TorchModel, TorchPagedModel, sampling
from app.gpt2.sampling import Draw
from app.gpt2.torch_backend import graphs as torch_graphs
from app.gpt2.torch_backend.graphs import Recording
from app.gpt2.torch_backend.paged import likeliest
from tests.tiny import TINY, random_weights

SMALL = dataclasses.replace(TINY, vocab_size=2000, n_positions=300)  # 10 pages: steps for 4, 8, 10
WEIGHTS = random_weights(SMALL)
IDS = np.random.default_rng(3).integers(0, SMALL.vocab_size, 300).tolist()
N_PAGES = 100


@pytest.fixture(scope="module")
def exact():
    return TorchModel(SMALL, WEIGHTS).forward(torch.tensor([IDS]))[0][0].numpy()  # [300, V]


@pytest.fixture
def model():
    return make_model()


def make_model(precision="float32", device="cpu"):
    model = TorchPagedModel(SMALL, WEIGHTS, precision, device)
    model.allocate(N_PAGES)
    return model


def pages_of(row):
    """Ten pages of its own for each row, from the last to the first."""
    return range(10 * row + 9, 10 * row - 1, -1)


def read(model, lengths):
    """So many tokens of IDS are in each row's pages."""
    for row, n in enumerate(lengths):
        if n:
            model.forward([Feed(IDS[:n], 0, pages_of(row), 0)])


def next_ones(lengths, wanted=1):
    return [Feed(IDS[n : n + 1], n, pages_of(row), wanted) for row, n in enumerate(lengths)]


def all_of(logits):
    return np.stack([logits[row] for row in range(logits.shape[0])])


def assert_near(logits, expected, bound=2e-6):
    assert np.abs(all_of(logits) - expected).max() < bound * np.abs(expected).max()


@pytest.mark.parametrize("precision, bound", [("float32", 2e-6), ("bfloat16", 0.02)])
def test_logits_in_one_piece_are_the_oracles(exact, precision, bound):
    assert_near(
        make_model(precision).forward([Feed(IDS, 0, pages_of(0), 300)]).logits, exact, bound
    )


def test_logits_fed_token_by_token_and_in_chunks_are_the_oracles(model, exact):
    cuts = [(0, 40), *((at, at + 1) for at in range(40, 70)), (70, 100), (100, 101), (101, 300)]
    for begin, end in cuts:
        turn = model.forward([Feed(IDS[begin:end], begin, pages_of(0), end - begin)])
        assert_near(turn.logits, exact[begin:end])


@pytest.mark.parametrize("n_rows", [1, 2, 3, 5, 8, 9])
def test_rows_of_one_token_and_the_silent_ones_beside_them_give_the_oracles_logits(
    model, exact, n_rows
):
    lengths = [0, 31, 32, 127, 128, 255, 256, 299, 1][:n_rows]
    read(model, lengths)
    turn = model.forward(next_ones(lengths))
    assert_near(turn.logits, exact[lengths])


def test_what_is_wanted_comes_in_the_order_of_the_feeds(model, exact):
    read(model, [0, 50, 0, 20, 7])
    turn = model.forward(
        [
            Feed(IDS[:10], 0, pages_of(0), 3),
            Feed(IDS[50:51], 50, pages_of(1), 1),
            Feed(IDS[:33], 0, pages_of(2), 0),
            Feed(IDS[20:21], 20, pages_of(3), 0),
            Feed(IDS[7:8], 7, pages_of(4), 1),
            Feed(IDS[:5], 0, pages_of(5), 1),
        ]
    )
    assert_near(turn.logits, exact[[7, 8, 9, 50, 7, 4]])
    assert (turn.top_ids[:, 0] == exact[[7, 8, 9, 50, 7, 4]].argmax(axis=1)).all()


def test_a_turn_of_which_nothing_is_wanted_gives_nothing(model):
    turn = model.forward([*next_ones([0], wanted=0), Feed(IDS[:5], 0, pages_of(1), 0)])
    assert turn.logits.shape == (0, SMALL.vocab_size)
    assert turn.top_ids.shape == turn.top_scores.shape == (0, 64)


def test_a_step_writes_its_tokens_and_touches_no_page_of_others(model):
    """Three rows and a silent one; every page there is holds something."""
    lengths = [5, 64, 299]
    model.cache.normal_(generator=torch.Generator().manual_seed(0))
    before = model.cache.clone()
    model.forward(next_ones(lengths))
    changed = (model.cache != before).any(-1).any(-1).any(0).any(0)  # [pages, 32]
    owned = changed[:N_PAGES].nonzero().tolist()
    assert owned == sorted([pages_of(row)[n // 32], n % 32] for row, n in enumerate(lengths))


def test_a_copied_page_goes_on_like_the_first(model):
    read(model, [20])
    model.copy_page(pages_of(0)[0], 50)
    turn = model.forward([Feed(IDS[20:21], 20, [page], 1) for page in (pages_of(0)[0], 50)])
    assert (turn.logits[0] == turn.logits[1]).all()


def test_a_step_never_looks_at_numbers_on_the_device():
    """Tensors of the meta device have shapes but no numbers, and raise where one is asked for."""
    given = torch.zeros((4, 2 + 8), dtype=torch.int64, device="meta")
    logits, top = make_model("bfloat16", "meta")._step(given)
    assert logits.shape == (4, SMALL.vocab_size) and top.shape == (4, 2, 64)


# ---- candidates ----


def test_candidates_are_the_likeliest_with_their_logits(model):
    turn = model.forward([Feed(IDS[:5], 0, pages_of(0), 3), *next_ones([0] * 3)[1:]])
    logits = all_of(turn.logits)
    assert (turn.top_ids == np.argsort(-logits, axis=1, kind="stable")[:, :64]).all()
    assert (turn.top_scores == np.take_along_axis(logits, turn.top_ids, axis=1)).all()


@pytest.mark.parametrize("n_values", [1, 2, 5, 100])
def test_equal_scores_come_in_order_of_id_also_at_the_last_candidate(n_values):
    rng = np.random.default_rng(n_values)
    values = np.append(rng.normal(0, 30, n_values), [0.0, -0.0, -np.inf]).astype(np.float32)
    logits = rng.choice(values, (6, 500))
    logits[0] = rng.choice(values[n_values:], 500)  # zeros of both signs, which are equal
    ids, scores = likeliest(torch.tensor(logits), 64)
    expected = np.argsort(-logits, axis=1, kind="stable")[:, :64]
    assert (ids.numpy() == expected).all()
    assert (scores.numpy() == np.take_along_axis(logits, expected, axis=1)).all()


@pytest.mark.parametrize(
    "setting, is_fetched",
    [
        (dict(temperature=0), False),
        (dict(top_k=40), False),
        (dict(top_k=40, top_p=0.9, typical_p=0.9), False),
        (dict(min_p=0.1), False),
        (dict(top_p=0.5), True),  # a share of all there is
        (dict(temperature=50), True),  # any token may win
    ],
)
def test_only_rows_that_are_asked_for_are_fetched(model, setting, is_fetched):
    turn = model.forward(next_ones([0, 0, 0]))
    ids = sampling.choose(turn, [Draw(1, 0, 0), Draw(seed=2, position=0, **setting), Draw(1, 0, 0)])
    assert list(turn.logits.fetched) == ([1] if is_fetched else [])
    there = turn._replace(logits=all_of(turn.logits))
    assert (
        ids == sampling.choose(there, [Draw(1, 0, 0), Draw(2, 0, **setting), Draw(1, 0, 0)])
    ).all()


# ---- recordings ----


class FakeGraph:
    """Computes where a CUDAGraph would play: from the same tensor, into the same tensors."""

    def __init__(self, function, given, made):
        self.function, self.given, self.made = function, given, made

    def replay(self):
        for old, new in zip(self.made, self.function(self.given), strict=True):
            old.copy_(new)

    def pool(self):
        return "the pool"


def test_a_step_is_recorded_once_for_each_number_of_rows_and_pages(model, exact, monkeypatch):
    recorded = []

    def record(function, given, aside, pool):
        recorded.append((tuple(given.shape), pool))
        made = tuple(torch.zeros_like(t) for t in function(given))
        return Recording(given, made, FakeGraph(function, given, made))

    monkeypatch.setattr(torch_graphs, "record", record)
    model._recorded_step.may_record = True
    read(model, [129, 257, 40])
    for n in range(4):
        lengths = [126 + n, 254 + n, 40][: 1 + n % 3]
        assert_near(model.forward(next_ones(lengths)).logits, exact[lengths])
        assert_near(model.forward(next_ones(lengths[:1])).logits, exact[lengths[:1]])
    assert recorded == [
        ((1, 2 + 4), None),  # lengths to 128
        ((2, 2 + 8), "the pool"),  # to 256
        ((4, 2 + 10), "the pool"),  # to the window
        ((1, 2 + 8), "the pool"),
    ]


def test_a_recording_that_fails_costs_a_warning_and_not_the_turn(model, exact, monkeypatch, caplog):
    def record(function, given, aside, pool):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(torch_graphs, "record", record)
    model._recorded_step.may_record = True
    read(model, [10, 20])
    with caplog.at_level(logging.WARNING):
        for lengths in ([10], [11, 20]):
            assert_near(model.forward(next_ones(lengths)).logits, exact[lengths])
    assert [record.message for record in caplog.records] == [
        "A CUDA graph could not be recorded; turns are slower now: "
        "operation not permitted when stream is capturing"
    ]
