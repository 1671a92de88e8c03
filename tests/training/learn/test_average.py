"""The average of the weights along the end of a run."""

import math

import torch
from torch import nn

from app.training.learn.average import TIMES, Average


def test_it_begins_with_its_share_and_later_weights_count_more():
    model = nn.Linear(1, 1, bias=False)
    average = Average(model, share=0.5)
    for step in range(1, 11):
        nn.init.constant_(model.weight, step)
        average.note(step / 10)
        assert bool(average) == (step > 5)
    expected = 6.0
    for step in (7, 8, 9, 10):
        expected += (step - expected) * (1 - math.exp(-TIMES * 0.1 / 0.5))
    torch.testing.assert_close(average.weights[0], torch.tensor([[expected]]))
    with average.in_place():
        torch.testing.assert_close(model.weight.data, torch.tensor([[expected]]))
    assert model.weight.item() == 10.0


def test_without_a_share_it_never_begins():
    average = Average(nn.Linear(1, 1), share=0.0)
    average.note(1.0)
    assert not average
