"""The loss of a batch and its gradient, without holding all the logits at once.

The logits are by far the largest tensor of a batch (32 x 256 tokens with 8,192 logits: 268 MB, and
the usual way makes four of them). Here a few rows at a time are computed, and their gradient with
them. The result is the usual cross entropy; only the order of the sums differs.
"""

import contextlib
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GPT2LMHeadModel

from app.training.learn.batches import IGNORED

CHUNK = 4 << 20  # logits at a time: 16 MB, which fit in a CPU's cache
GPU_CHUNK = 256 << 20  # 1 GB: small pieces are slow on a GPU


class HeadAndCrossEntropy(torch.autograd.Function):
    """sum over rows of -log softmax(hidden @ weight.T)[label], in nats."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor, dtype: torch.dtype, learning: bool
    ) -> Tensor:
        N, V = hidden.shape[0], weight.shape[0]
        h, w = hidden.to(dtype), weight.to(dtype)  # [N, E], [V, E]
        d_hidden = torch.empty_like(h) if learning else None
        d_weight = None
        if learning and ctx.needs_input_grad[1]:
            d_weight = torch.zeros_like(weight, dtype=torch.float32)
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        rows = max(1, (GPU_CHUNK if hidden.is_cuda else CHUNK) // V)
        for start in range(0, N, rows):
            part = slice(start, start + rows)
            logs = (h[part] @ w.T).log_softmax(dim=1, dtype=torch.float32)  # [rows, V]
            counted = labels[part] != IGNORED  # [rows]
            label = labels[part].clamp(min=0)[:, None]
            total -= (logs.gather(1, label)[:, 0] * counted).sum()
            if d_hidden is None:
                continue
            gradient = logs.exp_()  # softmax, less 1 at the label
            gradient.scatter_add_(1, label, gradient.new_full(label.shape, -1.0))
            gradient = gradient.to(dtype)
            # Ignored labels are masked where rows are narrow, [rows, E].
            torch.mul(gradient @ w, counted[:, None], out=d_hidden[part])
            if d_weight is not None:
                d_weight += gradient.T @ (h[part] * counted[:, None])
        ctx.save_for_backward(d_hidden, d_weight)
        ctx.dtypes = hidden.dtype, weight.dtype
        return total

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        d_hidden, d_weight = ctx.saved_tensors
        d_hidden = (d_hidden * scale).to(ctx.dtypes[0])
        if d_weight is not None:
            d_weight = (d_weight * scale).to(ctx.dtypes[1])
        return d_hidden, d_weight, None, None, None


class SummedLoss(nn.Module):
    """A language model that returns its summed loss when called; DDP wraps this."""

    compiled = False  # whether the compiled blocks are used in training

    def __init__(self, model: GPT2LMHeadModel, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.model, self.dtype = model, dtype  # of the multiplications; weights stay in float32

    def forward(self, ids: Tensor, labels: Tensor) -> Tensor:
        compiled = torch.compiler.set_stance("default") if self.compiled and self.training else None
        with (
            compiled or contextlib.nullcontext(),
            torch.autocast(ids.device.type, self.dtype, enabled=self.dtype != torch.float32),
        ):
            hidden = self.model.transformer(ids, use_cache=False).last_hidden_state  # [B, T, E]
        return HeadAndCrossEntropy.apply(
            hidden.reshape(-1, hidden.shape[-1]),
            self.model.lm_head.weight,
            labels.reshape(-1),
            self.dtype,
            torch.is_grad_enabled(),
        )
