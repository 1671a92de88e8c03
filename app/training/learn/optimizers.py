"""The optimizers, and the learning rate of each step."""

import math
from collections.abc import Iterable

import torch
from torch import nn

from app.training.config import TrainConfig
from app.training.learn.average import Average
from app.training.learn.muon import Muon


class Optimizers:
    """One or two of torch's optimizers as one, and the average of the weights."""

    def __init__(self, model: nn.Module, config: TrainConfig) -> None:
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        matrices = [p for name, p in named if p.ndim == 2 and ".h." in name]
        decayed = [p for name, p in named if p.ndim == 2 and ".h." not in name]
        vectors = [p for _, p in named if p.ndim != 2]  # biases and norms, which should not decay
        decay = config.weight_decay
        self.each: list[torch.optim.Optimizer] = []
        self.average = Average(model, config.average)
        # float16 ends at 6e-8, so gradients are computed scaled up, and scaled back here.
        device = next(model.parameters()).device.type
        self.scaler = torch.amp.GradScaler(device, enabled=config.precision == "float16")
        if config.optimizer == "muon" and matrices:
            # Orthogonal updates for the blocks' matrices, scaled so that AdamW's rates apply.
            self.each.append(Muon(matrices, weight_decay=decay))
        else:
            decayed += matrices
        groups = [
            {"params": parameters, "weight_decay": pull}
            for parameters, pull in ((decayed, decay), (vectors, 0.0))
            if parameters
        ]
        if config.optimizer == "sgd":
            self.each.append(torch.optim.SGD(groups, lr=0.0, momentum=0.9))
        else:
            self.each.append(torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.95), fused=True))

    def clip(self, longest: float) -> float:
        """Shorten the gradient to `longest`; returns its length before, 0 if float16 overflowed."""
        for optimizer in self.each:
            self.scaler.unscale_(optimizer)
        length = float(torch.nn.utils.clip_grad_norm_(list(self.parameters()), longest))
        return 0.0 if self.scaler.is_enabled() and not math.isfinite(length) else length

    def step(self, learning_rate: float) -> None:
        """Update the weights. After an overflow only the scale becomes smaller."""
        for optimizer in self.each:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            self.scaler.step(optimizer)
            optimizer.zero_grad(set_to_none=True)
        self.scaler.update()

    def state_dict(self) -> dict:
        state = {str(i): optimizer.state_dict() for i, optimizer in enumerate(self.each)}
        if self.average:
            state["average"] = self.average.state_dict()
        if self.scaler.is_enabled():
            state["scaler"] = self.scaler.state_dict()
        return state

    def load_state_dict(self, state: dict) -> None:
        for i, optimizer in enumerate(self.each):
            optimizer.load_state_dict(state[str(i)])
        if "average" in state:
            self.average.load_state_dict(state["average"])
        if "scaler" in state:
            self.scaler.load_state_dict(state["scaler"])

    def parameters(self) -> Iterable[nn.Parameter]:
        return (p for o in self.each for group in o.param_groups for p in group["params"])


def learning_rate(config: TrainConfig, peak: float, step: float, steps: int) -> float:
    """The rate of `step`, from 0, in a run of `steps`. In a timed run `step` may be a fraction."""
    warmup = math.ceil(config.warmup * steps)
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)  # 0 to 1 after the warm-up
    if config.schedule == "cosine":  # down to a tenth
        return peak * (0.1 + 0.45 * (1 + math.cos(math.pi * min(1.0, done))))
    if config.schedule == "linear":
        return peak * max(0.0, 1 - done)
    if config.schedule == "wsd":  # level, then down: `steps` may be changed while it is level
        left = (steps - step) / max(1.0, config.decay * steps)
        return peak * max(0.0, min(1.0, left))
    return peak
