"""The chunked loss is the usual one."""

import pytest
import torch
from torch.nn import functional as F

from app.training.learn import loss as module
from app.training.learn.batches import IGNORED
from app.training.learn.loss import HeadAndCrossEntropy


@pytest.mark.parametrize("chunk", [7 * 50, 1 << 20])
def test_loss_and_gradients_are_those_of_cross_entropy(monkeypatch, chunk):
    monkeypatch.setattr(module, "CHUNK", chunk)
    torch.manual_seed(0)
    hidden = torch.randn(33, 16, requires_grad=True)
    weight = torch.randn(50, 16, requires_grad=True)
    labels = torch.randint(0, 50, (33,))
    labels[5:9] = IGNORED
    ours = HeadAndCrossEntropy.apply(hidden, weight, labels, torch.float32, True)
    got = torch.autograd.grad(ours * 3, (hidden, weight))
    theirs = F.cross_entropy(hidden @ weight.T, labels, ignore_index=IGNORED, reduction="sum")
    expected = torch.autograd.grad(theirs * 3, (hidden, weight))
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(got, expected)


def test_frozen_embeddings_get_no_gradient():
    hidden, weight = torch.randn(4, 8, requires_grad=True), torch.randn(10, 8)
    labels = torch.arange(4)
    HeadAndCrossEntropy.apply(hidden, weight, labels, torch.float32, True).backward()
    assert hidden.grad is not None and weight.grad is None
