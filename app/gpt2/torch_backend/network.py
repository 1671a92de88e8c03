"""GPT-2's forward pass in torch, as in the paper and OpenAI's code: the oracle.

Shapes in comments: B rows, T new tokens, P cached tokens, E width, H heads, D head size, V tokens.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from app.gpt2.config import Config

Cache = list[tuple[Tensor, Tensor]]  # per layer: keys and values, each [B, H, P, D]


class TorchModel:
    def __init__(
        self,
        config: Config,
        weights: Mapping[str, np.ndarray],
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.config = config
        self.device = torch.device(device)
        self.w = {
            name: torch.tensor(np.asarray(array)).to(self.device, dtype)
            for name, array in weights.items()
        }

    @torch.inference_mode()
    def forward(self, ids: Tensor, cache: Cache | None = None) -> tuple[Tensor, Cache]:
        """Logits [B, T, V] for ids [B, T] that follow those in `cache`, and the longer cache."""
        past = cache[0][0].shape[2] if cache else 0
        end = past + ids.shape[1]
        assert end <= self.config.n_positions, f"{end} tokens, window {self.config.n_positions}"
        x = self.w["wte.weight"][ids] + self.w["wpe.weight"][past:end]  # [B, T, E]
        longer = []
        for i in range(self.config.n_layer):
            attended, keys_values = self._attend(i, self.norm(x, f"h.{i}.ln_1"), cache)
            x = x + attended
            x = x + self.mlp(i, self.norm(x, f"h.{i}.ln_2"))
            longer.append(keys_values)
        return self.norm(x, "ln_f") @ self.w["wte.weight"].T, longer  # [B, T, V]: the head is tied

    def _attend(self, i: int, x: Tensor, cache: Cache | None) -> tuple[Tensor, tuple]:
        B, T, E = x.shape
        H, D = self.config.n_head, self.config.head_size
        qkv = self.linear(x, f"h.{i}.attn.c_attn").view(B, T, 3, H, D)  # [B, T, 3E] before
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each [B, H, T, D]
        if cache:
            k = torch.cat([cache[i][0], k], dim=2)  # [B, H, P + T, D]
            v = torch.cat([cache[i][1], v], dim=2)
        scale = D**-0.5
        if self.config.scale_attn_by_inverse_layer_idx:
            scale /= i + 1
        scores = q @ k.transpose(2, 3) * scale  # [B, H, T, P + T]
        later = torch.ones(T, k.shape[2], dtype=torch.bool, device=x.device)
        scores = scores.masked_fill(later.triu(k.shape[2] - T + 1), float("-inf"))
        out = scores.softmax(-1) @ v  # [B, H, T, D]
        out = out.transpose(1, 2).reshape(B, T, E)
        return self.linear(out, f"h.{i}.attn.c_proj"), (k, v)

    def mlp(self, i: int, x: Tensor) -> Tensor:
        hidden = self.linear(x, f"h.{i}.mlp.c_fc")
        # OpenAI's GELU is the tanh approximation; the exact one gives slightly different logits.
        return self.linear(F.gelu(hidden, approximate="tanh"), f"h.{i}.mlp.c_proj")

    def linear(self, x: Tensor, name: str) -> Tensor:
        weight, bias = self.w[f"{name}.weight"], self.w[f"{name}.bias"]  # stored [in, out]
        return F.linear(x, weight.T, bias)  # x @ weight + bias in one kernel

    def norm(self, x: Tensor, name: str) -> Tensor:
        weight, bias = self.w[f"{name}.weight"], self.w[f"{name}.bias"]
        return F.layer_norm(x, x.shape[-1:], weight, bias, self.config.layer_norm_epsilon)
