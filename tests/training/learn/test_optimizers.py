import math

import pytest

from app.training.config import TrainConfig
from app.training.learn.optimizers import learning_rate


@pytest.mark.parametrize(
    "schedule, middle, end", [("cosine", 0.55, 0.1), ("linear", 0.5, 0.0), ("wsd", 1.0, 0.0)]
)
def test_the_rate_rises_then_follows_its_schedule(schedule, middle, end):
    config = TrainConfig(schedule=schedule, warmup=0.1)
    rates = [learning_rate(config, 1.0, step, 1000) for step in range(1001)]
    assert rates[0] == 0.01 and math.isclose(rates[99], 1.0)
    assert math.isclose(rates[550], middle, abs_tol=2e-3)
    assert math.isclose(rates[1000], end, abs_tol=2e-3)
