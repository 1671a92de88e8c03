"""GPT-2 in torch over a paged cache: for a GPU, and wherever OpenVINO has no wheel.

The network is TorchModel's; only attention differs, which reads and writes pages. Rows that feed a
single token go through attention together, chunks of prompts one after the other.

    T tokens of the turn, all rows flat, W of them wanted; B rows of one token; S tokens of cache;
    E width, H heads, D head size.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from app.gpt2.config import Config
from app.gpt2.pages import CANDIDATES, PAGE, Feed, Logits
from app.gpt2.torch_model import TorchModel

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Turn(NamedTuple):
    """Where the tokens of a turn come from and go to, on the device."""

    ids: Tensor  # [T]
    positions: Tensor  # [T]
    slots: Tensor  # [T] each token's place in the cache: page * 32 + place in the page
    wanted: Tensor  # [W]
    single: Tensor  # [B] which of the T tokens are alone in their row
    seen: Tensor  # [B, S] slots of all that each of those can see; any slot where masked
    mask: Tensor  # [B, 1, 1, S]
    chunks: list[tuple[slice, Tensor]]  # of other rows: which of the T tokens, slots they see


class TorchPagedModel:
    backend = "torch"
    perplexity_loss: float | None = None
    notes: Sequence[str] = ()
    same_bits = "same batch"  # torch picks other kernels for batches of other sizes

    def __init__(
        self,
        config: Config,
        weights: Mapping[str, np.ndarray],
        precision: str = "float32",
        device: str = "cpu",
    ) -> None:
        self.config = config
        self.precision = self.cache_precision = precision
        self.device = device
        self.net = TorchModel(config, weights, device, DTYPES[precision])
        size = DTYPES[precision].itemsize
        self.page_bytes = 2 * config.n_layer * PAGE * config.n_embd * size

    def allocate(self, n_pages: int) -> None:
        c = self.config
        shape = (c.n_layer, 2, n_pages * PAGE, c.n_head, c.head_size)
        self.cache = torch.zeros(shape, dtype=DTYPES[self.precision], device=self.device)

    def copy_page(self, source: int, target: int) -> None:
        pages = self.cache.unflatten(2, (-1, PAGE))
        pages[:, :, target] = pages[:, :, source]

    @torch.inference_mode()
    def forward(self, feeds: Sequence[Feed]) -> Logits:
        turn = self._lay_out(feeds)
        net = self.net
        x = net.w["wte.weight"][turn.ids] + net.w["wpe.weight"][turn.positions]  # [T, E]
        for i in range(self.config.n_layer):
            x = x + self._attend(i, net.norm(x, f"h.{i}.ln_1"), turn)
            x = x + net.mlp(i, net.norm(x, f"h.{i}.ln_2"))
        logits = net.norm(x[turn.wanted], "ln_f") @ net.w["wte.weight"].T  # [W, V]
        logits = logits.float()
        k = min(CANDIDATES, self.config.vocab_size)
        # A stable sort, since topk breaks ties as it likes.
        top_ids = logits.sort(dim=1, descending=True, stable=True).indices[:, :k]
        return Logits(logits.cpu().numpy(), top_ids.cpu().numpy())

    def _attend(self, i: int, x: Tensor, turn: Turn) -> Tensor:
        c = self.config
        qkv = self.net.linear(x, f"h.{i}.attn.c_attn").unflatten(1, (3, c.n_head, c.head_size))
        q, k, v = qkv.unbind(1)  # [T, H, D]
        keys, values = self.cache[i]
        keys[turn.slots], values[turn.slots] = k, v
        scale = c.head_size**-0.5 / (i + 1 if c.scale_attn_by_inverse_layer_idx else 1)
        out = torch.empty_like(q)
        if len(turn.single):
            k, v = (
                keys[turn.seen].transpose(1, 2),
                values[turn.seen].transpose(1, 2),
            )  # [B, H, S, D]
            alone = q[turn.single].unsqueeze(2)  # [B, H, 1, D]
            seen = F.scaled_dot_product_attention(alone, k, v, turn.mask, scale=scale)
            out[turn.single] = seen.squeeze(2)
        for where, slots in turn.chunks:
            out[where] = _causal(q[where], keys[slots], values[slots], scale)
        return self.net.linear(out.flatten(1), f"h.{i}.attn.c_proj")

    def _lay_out(self, feeds: Sequence[Feed]) -> Turn:
        ids, positions, slots, wanted, single, seen, chunks = [], [], [], [], [], [], []
        for feed in feeds:
            begin, end = len(ids), feed.past + len(feed.ids)
            row = _slots(feed.pages, end)
            ids += feed.ids
            positions += range(feed.past, end)
            slots += row[feed.past :]
            wanted += range(len(ids) - feed.wanted, len(ids))
            if len(feed.ids) == 1:
                single.append(begin)
                seen.append(row)
            else:
                chunks.append((slice(begin, len(ids)), self._tensor(row)))
        longest = max(map(len, seen), default=0)
        padded = [row + [0] * (longest - len(row)) for row in seen]
        mask = [[at < len(row) for at in range(longest)] for row in seen]
        return Turn(
            ids=self._tensor(ids),
            positions=self._tensor(positions),
            slots=self._tensor(slots),
            wanted=self._tensor(wanted),
            single=self._tensor(single),
            seen=self._tensor(padded),
            mask=torch.tensor(mask, dtype=torch.bool, device=self.device)[:, None, None],
            chunks=chunks,
        )

    def _tensor(self, numbers: list) -> Tensor:
        return torch.tensor(numbers, dtype=torch.int64, device=self.device)


def _slots(pages: Sequence[int], n: int) -> list[int]:
    return [page * PAGE + at for page in pages[: -(-n // PAGE)] for at in range(PAGE)][:n]


def _causal(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """Attention of a row's newest tokens q [T, H, D] to all of its own, k and v [S, H, D]."""
    T, S = len(q), len(k)
    sees = torch.ones(T, S, dtype=torch.bool, device=q.device).tril(S - T)
    out = F.scaled_dot_product_attention(
        q.transpose(0, 1), k.transpose(0, 1), v.transpose(0, 1), sees, scale=scale
    )  # [H, T, D]
    return out.transpose(0, 1)
