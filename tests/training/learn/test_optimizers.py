"""Which weights are pulled towards 0, how long a gradient may be, and the rate of each step."""

import math

import pytest
import torch

from app.training.config import TrainConfig
from app.training.learn.model import new_model
from app.training.learn.optimizers import Optimizers, learning_rate
from tests.training.conftest import SMALL


@pytest.fixture
def model(corpus):
    return new_model(TrainConfig(**SMALL), corpus)


@pytest.mark.parametrize("optimizer", ["adamw", "muon", "sgd"])
def test_matrices_are_pulled_towards_0_and_biases_and_norms_are_not(model, optimizer):
    optimizers = Optimizers(model, TrainConfig(optimizer=optimizer, weight_decay=0.5))
    for weights in model.parameters():
        torch.nn.init.ones_(weights)
        weights.grad = torch.zeros_like(weights)
    optimizers.step(0.1)
    for name, weights in model.named_parameters():
        kept = 0.95 if weights.ndim == 2 else 1.0
        torch.testing.assert_close(weights, torch.full_like(weights, kept), msg=name)


def test_a_long_gradient_is_shortened_and_its_length_returned(model):
    optimizers = Optimizers(model, TrainConfig())
    for weights in model.parameters():
        weights.grad = torch.zeros_like(weights)
    first, second, *_ = model.parameters()
    first.grad[0, 0], second.grad[0, 0] = 3.0, 4.0
    assert optimizers.clip(1.0) == pytest.approx(5.0)
    assert first.grad[0, 0] == pytest.approx(0.6) and second.grad[0, 0] == pytest.approx(0.8)
    assert optimizers.clip(math.inf) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "schedule, middle, end", [("cosine", 0.55, 0.1), ("linear", 0.5, 0.0), ("wsd", 1.0, 0.0)]
)
def test_the_rate_rises_then_follows_its_schedule(schedule, middle, end):
    config = TrainConfig(schedule=schedule, warmup=0.1)
    rates = [learning_rate(config, 1.0, step, 1000) for step in range(1001)]
    assert rates[0] == 0.01 and math.isclose(rates[99], 1.0)
    assert math.isclose(rates[550], middle, abs_tol=2e-3)
    assert math.isclose(rates[1000], end, abs_tol=2e-3)
