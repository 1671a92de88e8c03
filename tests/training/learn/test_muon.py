"""Matrices moved together move as torch's Muon moves them one by one."""

import torch
from torch import nn

from app.training.learn.muon import Muon


def test_it_is_torch_s_muon():
    torch.manual_seed(1)
    shapes = [(8, 24), (8, 8), (8, 32), (32, 8)] * 2
    ours = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    begun = [p.detach().clone() for p in ours]
    one = Muon(ours, lr=0.01, weight_decay=0.1)
    other = torch.optim.Muon(theirs, lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        for mine, yours in zip(ours, theirs, strict=True):
            mine.grad = torch.randn_like(mine)
            yours.grad = mine.grad.clone()
        one.step()
        other.step()
    for mine, yours, before in zip(ours, theirs, begun, strict=True):
        assert (mine - before).abs().max() > 0.01
        torch.testing.assert_close(mine, yours, rtol=0, atol=2e-3)  # of 0.03: bfloat16's sums
