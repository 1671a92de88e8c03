"""test_paged.py's cases on a GPU, and what only a GPU can show. Skipped where torch finds none."""

import gc
import logging

import numpy as np
import pytest
import torch

from app.engine import Engine, EngineOptions, Params
from app.gpt2 import Feed, Logits, sampling
from app.gpt2.sampling import Draw
from app.gpt2.torch_backend.check import cpu_sample
from app.gpt2.torch_backend.graphs import Recorded
from tests.engine.reading import ids_of
from tests.gpt2.torch_backend.test_paged import *  # noqa: F403
from tests.gpt2.torch_backend.test_paged import (
    IDS,
    SMALL,
    WEIGHTS,
    all_of,
    assert_near,
    make_model,
    pages_of,
)
from tests.gpt2.torch_backend.test_paged import read as read_in

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
PRECISIONS = ["float32", "bfloat16", "float16"]


@pytest.fixture
def device():
    return "cuda"


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_step_is_recorded_before_the_first_turn_and_passes_the_check(precision, caplog):
    sample = cpu_sample(SMALL, WEIGHTS)
    with caplog.at_level(logging.WARNING):
        model = make_model("cuda", precision, max_rows=16, sample=sample)
    assert caplog.records == []
    assert len(model._recorded_step._recordings) == 5 * 3  # 1 to 16 rows; 4, 8 and 10 pages


@pytest.mark.parametrize("precision, bound", [("float32", 2e-6), ("bfloat16", 0.03)])
def test_a_recorded_step_gives_what_the_unrecorded_one_does(precision, bound):
    """Again and again, with other recordings played in between."""
    recorded, plain = (make_model("cuda", precision) for _ in range(2))
    plain._recorded_step.may_record = False
    all_lengths = [10, 140, 270, 31, 64]
    for model in (recorded, plain):
        read_in(model, all_lengths)
    for turn in range(3):
        for n_rows in (5, 1, 2, 4):
            lengths = all_lengths[:n_rows]
            draws = [Draw(turn, n, top_k=40, temperature=n % 3) for n in lengths]
            feeds = [
                Feed(IDS[n : n + 1], n, pages_of(row), 1, draws[row])
                for row, n in enumerate(lengths)
            ]
            played, computed = recorded.forward(feeds), plain.forward(feeds)
            logits = all_of(played.logits)
            assert_near(computed.logits, logits, bound)
            there = Logits(logits, played.top_ids, played.top_scores)
            assert (played.drawn == sampling.choose(there, draws)).all()
    assert len(recorded._recorded_step._recordings) == 4


def test_a_recording_is_not_broken_off_by_a_graph_that_is_given_up_meanwhile(caplog):
    """Python may collect an earlier model, which holds itself, at any moment."""
    others = []

    def step(given):
        if torch.cuda.is_current_stream_capturing():
            others.clear()
            assert len([[] for _ in range(100_000)]) == 100_000  # so many that it collects
        return (given + 1,)

    gc.collect()  # what is made from here on is young
    other = Recorded(step, torch.device("cuda"))
    other(torch.zeros(4))
    other.itself = other
    others.append(other)
    del other
    new = Recorded(step, torch.device("cuda"))
    assert new(torch.zeros(4))[0].tolist() == [1, 1, 1, 1]
    assert len(new._recordings) == 1 and caplog.records == []


def test_out_of_memory_is_a_sentence_and_the_next_turn_goes_on(model, exact):
    feeds = [Feed(IDS[:40], 0, pages_of(0), 40)]
    free, _ = torch.cuda.mem_get_info()
    hog = torch.empty(free - 2**28, dtype=torch.uint8, device="cuda")
    torch.cuda.empty_cache()
    try:
        huge = [Feed(IDS, 0, pages_of(row), 300) for row in range(10)] * 40
        with pytest.raises(MemoryError, match="ran out of memory"):
            model.forward(huge)
    finally:
        del hog
        torch.cuda.empty_cache()
    assert_near(model.forward(feeds).logits, exact[:40])


@pytest.mark.parametrize("precision", ["auto", "float32"])
def test_an_engine_writes_on_the_gpu(tiny, precision):
    engine = Engine(EngineOptions(models={"tiny": str(tiny)}, precision=precision, max_running=8))
    info = engine.info().models[0]
    assert (info.backend, info.device) == ("torch", "cuda")
    kinds = [
        Params(seed=seed, max_tokens=40, temperature=1, top_k=top_k, top_p=top_p)
        for seed, (top_k, top_p) in enumerate([(0, 1.0), (40, 1.0), (0, 0.9), (100, 0.92)])
    ]
    running = [engine.submit("The house", params) for params in kinds * 3]
    written = [ids_of(list(completion)) for completion in running]
    assert all(len(ids) == 40 for ids in written)
    assert len({tuple(ids) for ids in written}) >= 4
    engine.close()


def test_sums_are_exact_where_float32_is_asked_for():
    """No tf32: 10 bits of a product would be far from the CPU's."""
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(512, 512)).astype(np.float32) for _ in range(2))
    made = (torch.tensor(a, device="cuda") @ torch.tensor(b, device="cuda")).cpu().numpy()
    right = a.astype(np.float64) @ b.astype(np.float64)
    assert np.linalg.norm(made - right) / np.linalg.norm(right) < 1e-6
