"""Average the weights over the last part of a run, so that overshooting steps cancel out."""

import contextlib
import math
from collections.abc import Iterator

import torch
from torch import nn

TIMES = 3.0  # time constants in the averaged span: its first weights count e^-3


class Average:
    """An exponential average over the last `share` of the run; later weights count more."""

    def __init__(self, model: nn.Module, share: float) -> None:
        self.learned: list[torch.Tensor] = [p for p in model.parameters() if p.requires_grad]
        self.share = share
        self.weights: list[torch.Tensor] = []  # empty until it begins
        self.done = 0.0  # the part of the run done when weights were last added, 0 to 1

    def __bool__(self) -> bool:
        return bool(self.weights)

    @torch.no_grad()
    def note(self, done: float) -> None:
        """Add the current weights, when this part of the run is done."""
        if done <= 1 - self.share:
            return
        if not self.weights:
            self.weights = [p.detach().clone() for p in self.learned]
        new = 1 - math.exp(-TIMES * max(0.0, done - self.done) / self.share)
        torch._foreach_lerp_(self.weights, self.learned, new)
        self.done = done

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the averaged weights into the model for a while."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for mine, theirs in zip(self.weights, self.learned, strict=True):
            held = theirs.clone()
            theirs.copy_(mine)
            mine.copy_(held)

    def state_dict(self) -> dict:
        return {"weights": self.weights, "done": self.done}

    def load_state_dict(self, state: dict) -> None:
        device = self.learned[0].device
        self.weights = [w.to(device) for w in state["weights"]]
        self.done = state["done"]
