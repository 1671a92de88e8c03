"""The paged torch model against the oracle; a GPU's path runs here on the CPU's tensors.

test_torch_gpu.py runs the same tests on a GPU.
"""

import dataclasses
import logging

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from app.gpt2 import Feed, Logits, TorchModel, TorchPagedModel, sampling
from app.gpt2.paged import CANDIDATES
from app.gpt2.sampling import Draw
from app.gpt2.seeds import MAX_SEED
from app.gpt2.torch_backend import draws as torch_draws
from app.gpt2.torch_backend import graphs as torch_graphs
from app.gpt2.torch_backend.graphs import Recording
from app.gpt2.torch_backend.paged import FIRST_PAGE, likeliest
from tests.tiny import TINY, random_weights

SMALL = dataclasses.replace(TINY, vocab_size=2000, n_positions=300)  # 10 pages: steps for 4, 8, 10
WEIGHTS = random_weights(SMALL)
IDS = np.random.default_rng(3).integers(0, SMALL.vocab_size, 300).tolist()
N_PAGES = 120


@pytest.fixture(scope="module")
def exact():
    return TorchModel(SMALL, WEIGHTS).forward(torch.tensor([IDS]))[0][0].numpy()  # [300, V]


@pytest.fixture
def device():
    return "cpu"


@pytest.fixture
def model(device):
    return make_model(device)


def make_model(device, precision="float32", **others):
    model = TorchPagedModel(SMALL, WEIGHTS, precision, device, **others)
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


def assert_near(logits, expected, bound=4e-6):
    assert np.abs(all_of(logits) - expected).max() < bound * np.abs(expected).max()


@pytest.mark.parametrize(
    "precision, bound", [("float32", 4e-6), ("bfloat16", 0.03), ("float16", 0.005)]
)
def test_logits_in_one_piece_are_the_oracles(device, exact, precision, bound):
    turn = make_model(device, precision).forward([Feed(IDS, 0, pages_of(0), 300)])
    assert_near(turn.logits, exact, bound)


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


def test_chunks_of_any_lengths_go_together(model, exact):
    """Beginnings and later parts, alike and not: as many attentions as there are kinds."""
    cuts = [(0, 40), (0, 300), (100, 139), (0, 37), (64, 100), (90, 130), (0, 2), (260, 300)]
    read(model, [begin for begin, _ in cuts])
    turn = model.forward(
        [Feed(IDS[b:e], b, pages_of(row), e - b) for row, (b, e) in enumerate(cuts)]
    )
    assert_near(turn.logits, np.concatenate([exact[b:e] for b, e in cuts]))


def test_no_new_shape_of_chunk_waits_for_cudnn_to_plan_it(model, monkeypatch):
    """0.1 s and more at each: 40 readers who came together waited 0.6 s for their first tokens."""
    attend, allowed = torch.nn.functional.scaled_dot_product_attention, []

    def look(*tensors, **others):
        allowed.append(torch.backends.cuda.cudnn_sdp_enabled())
        return attend(*tensors, **others)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", look)
    read(model, [10, 140, 31])
    assert allowed and not any(allowed)


def test_a_turn_of_which_nothing_is_wanted_gives_nothing(model):
    turn = model.forward([*next_ones([0], wanted=0), Feed(IDS[:5], 0, pages_of(1), 0)])
    assert turn.logits.shape == (0, SMALL.vocab_size)
    assert turn.top_ids.shape == turn.top_scores.shape == (0, CANDIDATES)


def test_a_step_writes_its_tokens_and_touches_no_page_of_others(model):
    """Three rows and a silent one; every page there is holds something."""
    lengths = [5, 64, 299]
    model.cache.copy_(torch.randn(model.cache.shape, generator=torch.Generator().manual_seed(0)))
    before = model.cache.clone()
    model.forward(next_ones(lengths))
    changed = (model.cache != before).any(-1).any(-1).any(0).any(0)  # [pages, 32]
    owned = changed[:N_PAGES].nonzero().tolist()
    assert owned == sorted([pages_of(row)[n // 32], n % 32] for row, n in enumerate(lengths))


def test_a_copied_page_goes_on_like_the_first(model, exact):
    read(model, [20])
    model.copy_page(pages_of(0)[0], 50)
    turn = model.forward([Feed(IDS[20:21], 20, [page], 1) for page in (pages_of(0)[0], 50)])
    assert_near(turn.logits, exact[[20, 20]])


def test_a_step_never_looks_at_numbers_on_the_device():
    """Tensors of the meta device have shapes but no numbers, and raise where one is asked for."""
    given = torch.zeros((4, FIRST_PAGE + 8), dtype=torch.int64, device="meta")
    logits, told = make_model("meta", "bfloat16")._step(given)
    assert logits.shape == (4, SMALL.vocab_size) and told.shape == (4, 2 * CANDIDATES + 1)


# ---- candidates ----


def test_candidates_are_the_likeliest_with_their_logits(model):
    turn = model.forward([Feed(IDS[:5], 0, pages_of(0), 3), *next_ones([0] * 3)[1:]])
    logits = all_of(turn.logits)
    assert (turn.top_ids == np.argsort(-logits, axis=1, kind="stable")[:, :CANDIDATES]).all()
    assert (turn.top_scores == np.take_along_axis(logits, turn.top_ids, axis=1)).all()


@pytest.mark.parametrize("n_values", [1, 2, 5, 100])
def test_equal_scores_come_in_order_of_id_also_at_the_last_candidate(device, n_values):
    rng = np.random.default_rng(n_values)
    values = np.append(rng.normal(0, 30, n_values), [0.0, -0.0, -np.inf]).astype(np.float32)
    logits = rng.choice(values, (6, 500))
    logits[0] = rng.choice(values[n_values:], 500)  # zeros of both signs, which are equal
    ids, scores = likeliest(torch.tensor(logits, device=device), 64)
    expected = np.argsort(-logits, axis=1, kind="stable")[:, :64]
    assert (ids.cpu().numpy() == expected).all()
    assert (scores.cpu().numpy() == np.take_along_axis(logits, expected, axis=1)).all()


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


# ---- draws ----

SETTINGS = st.builds(
    Draw,
    seed=st.integers(0, MAX_SEED),
    position=st.integers(-1, 2000),
    temperature=st.sampled_from([0, 0.01, 0.7, 1, 1.5, 40]),
    top_k=st.sampled_from([0, 1, 2, 40, 63, 64, 65, 100, 1999, 2000, 5000]),
    top_p=st.sampled_from([1.0, 0.999, 0.9, 0.3, 0.01]),
    min_p=st.sampled_from([0.0, 0.001, 0.1, 1.0]),
    typical_p=st.just(1.0),
    xtc_probability=st.just(0.0),
)


@hypothesis.settings(
    deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.given(
    draws=st.lists(SETTINGS, min_size=1, max_size=40), scale=st.sampled_from([0.1, 3])
)
def test_a_token_drawn_on_the_device_is_the_one_that_the_cpu_draws(device, draws, scale):
    logits = np.random.default_rng(len(draws)).normal(0, scale, (len(draws), 2000))
    logits = torch.tensor(logits.round(2), dtype=torch.float32, device=device)  # with equals
    ids, scores = likeliest(logits, 64)
    settings = torch.tensor([torch_draws.settings(draw) for draw in draws], device=device)
    turn = Logits(*(each.cpu().numpy() for each in (logits, ids, scores)))
    expected = sampling.choose(turn, draws)
    from_all = torch_draws.draw_from_all(logits, settings, is_ordered=True)
    assert (from_all.cpu().numpy() == expected).all()
    among = torch_draws.draw_among(ids, scores, settings).cpu().numpy()
    is_narrow = [torch_draws.is_narrow(draw, 64) for draw in draws]
    assert (among == expected)[is_narrow].all()


def test_rows_that_say_how_are_drawn_from_in_their_places(model):
    draws = [
        None,
        Draw(1, 2),
        Draw(3, 4, top_k=40),
        Draw(5, 6, temperature=0),
        Draw(7, 8, top_p=0.5),
    ]
    single = [
        feed._replace(draw=draw) for feed, draw in zip(next_ones([0] * 5), draws, strict=True)
    ]
    chunks = [Feed(IDS[:5], 0, pages_of(row), 1 + row % 2, draws[row - 5]) for row in range(5, 10)]
    unwanted = Feed(IDS[:5], 0, pages_of(10), 0, Draw(1, 2))
    feeds = [feed for pair in zip(chunks, single, strict=True) for feed in (*pair, unwanted)]
    turn = model.forward(feeds)
    wanted = [None] * turn.logits.shape[0]
    ends = np.cumsum([feed.wanted for feed in feeds]) - 1
    for end, feed in zip(ends, feeds, strict=True):
        if feed.wanted:
            wanted[end] = feed.draw
    assert [id >= 0 for id in turn.drawn] == [draw is not None for draw in wanted]
    rows = [row for row, draw in enumerate(wanted) if draw]
    there = Logits(all_of(turn.logits)[rows], turn.top_ids[rows], turn.top_scores[rows])
    assert (turn.drawn[rows] == sampling.choose(there, [wanted[row] for row in rows])).all()


def test_what_the_device_cannot_draw_is_left_to_the_caller(model):
    typical = Draw(1, 2, top_k=40, typical_p=0.5)
    single = next_ones([0])[0]._replace(draw=typical)
    chunk = Feed(IDS[:5], 0, pages_of(5), 1, typical)
    assert model.forward([single, chunk]).drawn.tolist() == [-1, -1]


def test_what_is_not_a_number_is_not_drawn_and_spoils_no_page(model, exact):
    weight = model.net.w["wte.weight"]
    good = weight[IDS[3]].clone()
    weight[IDS[3]] = float("nan")
    turn = model.forward([Feed(IDS[:40], 0, pages_of(0), 1, Draw(1, 2))])
    assert turn.drawn.tolist() == [-1] and np.isnan(turn.top_scores[0, 0])
    weight[IDS[3]] = good
    read(model, [10])
    assert_near(model.forward(next_ones([10])).logits, exact[[10]])


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
        ((1, FIRST_PAGE + 4), None),  # lengths to 128
        ((2, FIRST_PAGE + 8), "the pool"),  # to 256
        ((4, FIRST_PAGE + 10), "the pool"),  # to the window
        ((1, FIRST_PAGE + 8), "the pool"),
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
        "Recording a CUDA graph failed, so turns are slower: "
        "operation not permitted when stream is capturing"
    ]
