"""torch's Muon, with all matrices of one shape updated together.

A step of Muon is some thirty calls on small matrices; stacked, ten layers take as many calls as
one.
"""

import math
from typing import Any

import torch
from torch import Tensor


class Muon(torch.optim.Muon):
    """The same numbers, except for the order of sums; scaled so that AdamW's rates apply."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            of_shape: dict[torch.Size, list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    of_shape.setdefault(parameter.shape, []).append(parameter)
            for parameters in of_shape.values():
                self._move(parameters, group)

    def _move(self, parameters: list[Tensor], group: dict) -> None:
        momentum, rate = group["momentum"], group["lr"]
        gradients = [p.grad for p in parameters if p.grad is not None]
        buffers = [self._buffer(p) for p in parameters]
        torch._foreach_lerp_(buffers, gradients, 1 - momentum)
        ahead = torch._foreach_lerp(gradients, buffers, momentum)  # Nesterov's
        moves = orthogonal(torch.stack(ahead), group["ns_steps"], group["ns_coefficients"])
        torch._foreach_mul_(parameters, 1 - rate * group["weight_decay"])
        scale = 0.2 * math.sqrt(max(parameters[0].shape))  # each number moves as far as with AdamW
        torch._foreach_add_(parameters, list(moves.float()), alpha=-rate * scale)

    def _buffer(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        return state["momentum_buffer"]


def orthogonal(matrices: Tensor, steps: int, coefficients: tuple[float, float, float]) -> Tensor:
    """The matrices [n, rows, columns] with singular values near 1, in bfloat16."""
    a, b, c = coefficients
    X = matrices.bfloat16()
    is_tall = X.shape[1] > X.shape[2]
    if is_tall:
        X = X.mT
    X = X / X.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(steps):
        G = X @ X.mT
        X = torch.baddbmm(X, torch.baddbmm(G, G, G, beta=b, alpha=c), X, beta=a)
    return X.mT if is_tall else X
