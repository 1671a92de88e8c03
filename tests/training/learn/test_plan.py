"""What is said before the start."""

import re

import pytest
import torch

from app.training.config import SIZES, TrainConfig, spelled
from app.training.errors import TrainingError
from app.training.learn.batches import Batches
from app.training.learn.model import new_model
from app.training.learn.plan import (
    check_memory,
    make_plan,
    measure,
    memory_needed,
    usual_rate,
    validation_seconds,
)
from app.training.train import loss_of, settled
from tests.training.conftest import SMALL


@pytest.fixture
def planned(corpus):
    def planned(**told):
        config = settled(TrainConfig(**(SMALL | told)))
        model = new_model(config, corpus)
        return make_plan(config, corpus, model), model

    return planned


def test_the_plan_is_told_before_the_first_step(begin):
    told = []
    begin(tell=told.append)
    words = [line.split()[0] for line in told[:7]]
    assert words == ["text", "model", "steps", "learning", "memory", "time", "result"]
    assert any(re.search(r"time .* per 100 steps here, ", line) for line in told)


def test_a_step_takes_no_more_rows_than_there_are(planned, corpus):
    """One line of text was read 1,600 times in a step of 2,048 rows."""
    plan, _ = planned(batch=None, steps=None, epochs=1.0)
    assert plan.batch == len(corpus.train) // plan.block < 8192 // plan.block and plan.steps == 1


def test_measuring_moves_nothing(planned, corpus):
    plan, model = planned()
    before = {name: p.clone() for name, p in model.named_parameters()}
    batches = Batches(corpus, plan, 0, 1)
    assert measure(loss_of(model, plan), batches.at(0), torch.device("cpu")) > 0
    assert all(torch.equal(before[name], p) for name, p in model.named_parameters())
    assert all(p.grad is None for p in model.parameters())


def test_too_little_memory_is_said_with_what_would_fit(planned):
    plan, model = planned(batch=512, width=64, layers=8, checkpointing=True)
    small, _ = planned(batch=64, width=64, layers=8, checkpointing=True)
    check_memory(plan, model, plan.memory)
    with pytest.raises(TrainingError, match="this would fit: --batch 64 --accumulate 8."):
        check_memory(plan, model, small.memory)
    with pytest.raises(TrainingError, match="not even one row fits"):
        check_memory(plan, model, 1000)


def test_recomputing_is_offered_before_smaller_batches(planned):
    plan, model = planned(batch=512, layers=8)
    again, _ = planned(batch=512, layers=8, checkpointing=True)
    with pytest.raises(TrainingError, match="fit: --batch 512 --checkpointing"):
        check_memory(plan, model, again.memory)


@pytest.mark.parametrize(
    "told, n_bytes, rate",
    [
        ({"base": "gpt2"}, 2_000_000, 5e-5),
        ({"base": "gpt2"}, 900_000, 1e-5),
        ({"width": 1600, "heads": 25}, 2_000_000, 0.55 / 1600),
        ({"width": 64, "heads": 1}, 1000, 2e-3),
    ],
)
def test_the_usual_rate(told, n_bytes, rate):
    assert usual_rate(TrainConfig(**told), n_bytes) == rate


def test_no_field_is_left_open_and_a_long_block_is_refused(planned):
    plan, _ = planned(steps=None, epochs=2.0, batch=None, block=None)
    assert plan.steps > 0 and plan.block == 32 and plan.batch > 0
    with pytest.raises(TrainingError, match="block is 64, more than the model's window of 32"):
        planned(block=64)


@pytest.mark.parametrize(
    "told", [{"schedule": "up"}, {"noise": 1.5}, {"batch": 0}, {"width": 10, "heads": 3},
             {"lora": 4}, {"long_every": 2, "line_by_line": True}],
)  # fmt: skip
def test_what_cannot_be_is_named(told):
    with pytest.raises(TrainingError, match=spelled(next(iter(told)))):
        TrainConfig(**told)


def test_sizes_are_shapes():
    assert all(width % heads == 0 for _, width, heads in SIZES.values())


def test_memory_grows_with_the_batch(planned):
    plan, model = planned()
    more = memory_needed(model, plan.config, plan.learned, plan.batch * 100, plan.block)
    assert more > plan.memory


def test_a_plan_counts_all_processes(corpus):
    config = settled(TrainConfig(**SMALL))
    one, two = (make_plan(config, corpus, new_model(config, corpus), world) for world in (1, 2))
    assert two.tokens_per_step == 2 * one.tokens_per_step
    assert two.rows_per_step == [2 * rows for rows in one.rows_per_step] == [8, 0]
    seconds = [validation_seconds(plan, 1.0, len(corpus.validation)) for plan in (one, two)]
    assert seconds[0] == seconds[1] > 0  # each process validates all of it
