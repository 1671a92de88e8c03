"""GPT-2 in torch over a paged cache: for a GPU, and wherever OpenVINO has no wheel.

The network is TorchModel's; only attention differs, which reads and writes pages. Rows that feed a
single token go through it together, in a step of few shapes that a GPU can record; chunks of
prompts go one after the other. Candidates are found on the device, and logits stay there until
somebody asks for them.

    B rows of one token, filled up to a power of two; T tokens of chunks, all rows flat; W wanted;
    P pages of a row, S tokens in them; E width, H heads, D head size, V vocabulary, K candidates.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import count, islice
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from app.gpt2.config import Config
from app.gpt2.paged import CANDIDATES, PAGE, Feed, Logits
from app.gpt2.torch_backend.graphs import Recorded, send
from app.gpt2.torch_backend.network import TorchModel

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
LEAST_PAGES = 4  # that a step is made for; then 8, 16, 32: 128 tokens to 1,024

# From q [T, H, D], a layer's keys and values in pages [N, 32, H, D], and the scale: [T, H, D].
Look = Callable[[Tensor, Tensor, Tensor, float], Tensor]


class Chunks(NamedTuple):
    """Where the tokens of chunks come from and go to, on the device."""

    ids: Tensor  # [T]
    positions: Tensor  # [T]
    slots: Tensor  # [T] each token's place in the cache: page * 32 + place in the page
    wanted: Tensor  # [W] which of the T tokens
    rows: list[tuple[slice, Tensor, int]]  # which of the T, pages [P], tokens in them at the end


class FarLogits:
    """Logits [W, V] float32 on the device. A row comes over when it is asked for, once."""

    def __init__(self, places: Sequence[tuple[Tensor, int]], n_tokens: int) -> None:
        self.places = places  # of each row: a tensor, and where in it
        self.shape = (len(places), n_tokens)
        self.fetched: dict[int, np.ndarray] = {}

    def __getitem__(self, row: int) -> np.ndarray:
        if row not in self.fetched:
            tensor, at = self.places[row]
            self.fetched[row] = tensor[at].cpu().numpy()
        return self.fetched[row]


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
        self.dtype = DTYPES[precision]
        self.net = TorchModel(config, weights, device, self.dtype)
        self.page_bytes = 2 * config.n_layer * PAGE * config.n_embd * self.dtype.itemsize

    def allocate(self, n_pages: int) -> None:
        """One page more than asked for is the silent rows'."""
        c = self.config
        shape = (c.n_layer, 2, n_pages + 1, PAGE, c.n_head, c.head_size)
        self.cache = torch.zeros(shape, dtype=self.dtype, device=self.device)
        self._silent_page = n_pages
        self._recorded_step = Recorded(self._step, self.net.device)

    def copy_page(self, source: int, target: int) -> None:
        self.cache[:, :, target] = self.cache[:, :, source]

    @torch.inference_mode()
    def forward(self, feeds: Sequence[Feed]) -> Logits:
        single = [feed for feed in feeds if len(feed.ids) == 1]
        longer = [feed for feed in feeds if len(feed.ids) > 1]
        parts = []  # of both kinds: logits [W, V], candidates [W, 2, K]
        if single:
            logits, top = self._recorded_step(self._pack(single))
            parts.append((logits[: len(single)], top[: len(single)]))
        if longer:
            parts.append(self._read(self._lay_out(longer)))
        return _in_order(feeds, parts)

    # ---- rows of one token ----

    def _pack(self, feeds: Sequence[Feed]) -> Tensor:
        """[B, 2 + P] of each row: its id, its position, its pages. All that a step needs to know.

        Silent rows fill up B; they write to their own page, and nobody reads what they give.
        """
        window = -(-self.config.n_positions // PAGE)
        needed = [feed.past // PAGE + 1 for feed in feeds]
        P = min(window, _step_up(max(needed), LEAST_PAGES))
        given = np.full((_step_up(len(feeds)), 2 + P), self._silent_page, np.int64)
        given[:, :2] = 0
        for row, feed, n in zip(given, feeds, needed, strict=False):
            row[0], row[1] = feed.ids[0], feed.past
            row[2 : 2 + n] = feed.pages[:n]
        return torch.from_numpy(given)

    def _step(self, given: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, V] and candidates [B, 2, K] after the tokens in `given`."""
        ids, positions, pages = given[:, 0], given[:, 1], given[:, 2:]
        page = pages.gather(1, positions[:, None] // PAGE)[:, 0]  # [B]
        places = torch.arange(pages.shape[1] * PAGE, device=given.device)  # [S]
        is_later = places > positions[:, None]  # [B, S]
        mask = torch.zeros(is_later.shape, dtype=self.dtype, device=given.device)
        mask = mask.masked_fill(is_later, float("-inf"))[:, None, None]  # [B, 1, 1, S]

        def look(q: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
            k, v = (paged[pages].flatten(1, 2).transpose(1, 2) for paged in (keys, values))
            seen = F.scaled_dot_product_attention(  # k and v: [B, H, S, D]
                q.unsqueeze(2), k, v, mask, scale=scale
            )  # [B, H, 1, D]
            return seen.squeeze(2)

        return self._head(self._layers(ids, positions, page * PAGE + positions % PAGE, look))

    # ---- chunks of prompts ----

    def _lay_out(self, feeds: Sequence[Feed]) -> Chunks:
        ids, positions, slots, wanted, rows = [], [], [], [], []
        for feed in feeds:
            begin, end = len(ids), feed.past + len(feed.ids)
            pages = feed.pages[: -(-end // PAGE)]
            ids += feed.ids
            positions += range(feed.past, end)
            slots += [pages[at // PAGE] * PAGE + at % PAGE for at in range(feed.past, end)]
            wanted += range(len(ids) - feed.wanted, len(ids))
            rows.append((slice(begin, len(ids)), self._send(pages), end))
        return Chunks(*map(self._send, (ids, positions, slots, wanted)), rows)

    def _read(self, chunks: Chunks) -> tuple[Tensor, Tensor]:
        """Logits [W, V] and candidates [W, 2, K] after the tokens that are wanted."""

        def look(q: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
            out = torch.empty_like(q)
            for where, pages, end in chunks.rows:
                k, v = (paged[pages].flatten(0, 1)[:end] for paged in (keys, values))
                out[where] = _causal(q[where], k, v, scale)
            return out

        x = self._layers(chunks.ids, chunks.positions, chunks.slots, look)
        return self._head(x[chunks.wanted])

    def _send(self, numbers: Sequence[int]) -> Tensor:
        return send(torch.tensor(numbers, dtype=torch.int64), self.net.device)

    # ---- the network ----

    def _layers(self, ids: Tensor, positions: Tensor, slots: Tensor, look: Look) -> Tensor:
        net = self.net
        x = net.w["wte.weight"][ids] + net.w["wpe.weight"][positions]  # [T, E]
        for i in range(self.config.n_layer):
            x = x + self._attend(i, net.norm(x, f"h.{i}.ln_1"), slots, look)
            x = x + net.mlp(i, net.norm(x, f"h.{i}.ln_2"))
        return x

    def _attend(self, i: int, x: Tensor, slots: Tensor, look: Look) -> Tensor:
        c = self.config
        qkv = self.net.linear(x, f"h.{i}.attn.c_attn").unflatten(1, (3, c.n_head, c.head_size))
        q, k, v = qkv.unbind(1)  # [T, H, D]
        keys, values = self.cache[i]  # [N, 32, H, D]
        keys.flatten(0, 1)[slots], values.flatten(0, 1)[slots] = k, v
        scale = c.head_size**-0.5 / (i + 1 if c.scale_attn_by_inverse_layer_idx else 1)
        return self.net.linear(look(q, keys, values, scale).flatten(1), f"h.{i}.attn.c_proj")

    def _head(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [W, V] float32 of x [W, E], and their candidates [W, 2, K]."""
        logits = (self.net.norm(x, "ln_f") @ self.net.w["wte.weight"].T).float()
        ids, scores = likeliest(logits, min(CANDIDATES, self.config.vocab_size))
        # Both in whole numbers of 32 bits, so that one copy takes them to the host.
        return logits, torch.stack([ids.int(), scores.view(torch.int32)], dim=1)


def likeliest(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Ids and scores [W, k] of the greatest in falling order, equals by rising id.

    topk takes and orders equals as it likes. So it gets whole numbers that rise as the scores do
    and are never equal: above, the score's own bits; below, how far its id is from the last one.
    """
    last = logits.shape[1] - 1
    bits = (logits + 0.0).view(torch.int32)  # + 0.0 makes -0.0 the 0.0 that it equals
    rising = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # bits of negative numbers fall as they rise
    from_last = torch.arange(last, -1, -1, device=logits.device)
    keys = rising.long().bitwise_left_shift_(32).add_(from_last)  # [W, V], in place: it is large
    ids = last - (keys.topk(k, dim=1).values & 0xFFFFFFFF)
    return ids, logits.gather(1, ids)


def _in_order(feeds: Sequence[Feed], parts: list[tuple[Tensor, Tensor]]) -> Logits:
    """Of single tokens and then chunks, as they were computed, what is wanted, as it was fed."""
    places = [(logits, at) for logits, _ in parts for at in range(len(logits))]
    single = count()
    longer = count(sum(len(feed.ids) == 1 for feed in feeds))
    order = []
    for feed in feeds:
        if len(feed.ids) == 1:
            order += [next(single)] * feed.wanted
        else:
            order += islice(longer, feed.wanted)
    top = np.concatenate([top.cpu().numpy() for _, top in parts])[order]  # [W, 2, K]
    far = FarLogits([places[at] for at in order], n_tokens=parts[0][0].shape[1])
    return Logits(far, top[:, 0], top[:, 1].view(np.float32))


def _step_up(n: int, least: int = 1) -> int:
    """The first of least, 2 least, 4 least, ... that has room for n."""
    return least << max(0, (-(-n // least) - 1).bit_length())


def _causal(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """Attention of a row's newest tokens q [T, H, D] to all of its own, k and v [S, H, D]."""
    T, S = len(q), len(k)
    sees = torch.ones(T, S, dtype=torch.bool, device=q.device).tril(S - T)
    out = F.scaled_dot_product_attention(
        q.transpose(0, 1), k.transpose(0, 1), v.transpose(0, 1), sees, scale=scale
    )  # [H, T, D]
    return out.transpose(0, 1)
