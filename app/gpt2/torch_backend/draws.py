"""The draws of sampling.py, token for token, on the device, as functions that a GPU can record.

Settings are passed as 64-bit integers, floats by their bits. A row that is certainly settled among
its candidates is drawn from those, others from the whole vocabulary.

    R rows, V tokens of the vocabulary, K candidates.
"""

import functools

import numpy as np
import torch
from torch import Tensor

from app.gpt2.sampling import LEAST_TEMPERATURE, Draw, key_of

N_SETTINGS = 6  # low and high half of the key, temperature, top_k, top_p, min_p
NOT_DRAWN = -1  # instead of an id: the scores are not numbers
AT_ONCE = 32  # rows drawn from the whole vocabulary at a time: 13 MB for each float64 of V 50,257
NOBODYS = Draw(seed=0, position=0)

MASK = 0xFFFFFFFF


def can_draw(draw: Draw) -> bool:
    return draw.typical_p >= 1 and draw.xtc_probability == 0


def is_narrow(draw: Draw, n_candidates: int) -> bool:
    """Whether the candidates settle this draw, whatever the logits."""
    return draw.temperature == 0 or 0 < draw.top_k <= n_candidates


def settings(draw: Draw) -> tuple[int, ...]:
    key = key_of(draw)
    top_k = draw.top_k if draw.temperature > 0 else 1
    temperature, top_p, min_p = _bits(
        max(draw.temperature, LEAST_TEMPERATURE), draw.top_p, draw.min_p
    )
    return key & MASK, key >> 32, temperature, top_k, top_p, min_p


@functools.lru_cache(maxsize=1024)  # the same for a row in every turn
def _bits(*floats: float) -> list[int]:
    return np.array(floats, np.float64).view(np.int64).tolist()


class _Table:
    """Settings [R, 6] as columns, [R, 1] each."""

    def __init__(self, given: Tensor) -> None:
        self.low, self.high, temperature, self.top_k, top_p, min_p = given.split(1, dim=1)
        floats = torch.stack([temperature, top_p, min_p]).view(torch.float64)
        self.temperature, self.top_p, self.min_p = floats.unbind()


def draw_among(ids: Tensor, scores: Tensor, given: Tensor) -> Tensor:
    """An id for each row [R] of candidates [R, K] in falling order."""
    table = _Table(given)
    scores = scores / table.temperature  # [R, K] float64
    return _draw(ids, scores, _kept(scores, table), table)


def draw_from_all(logits: Tensor, given: Tensor, is_ordered: bool) -> Tensor:
    """An id for each row [R] of logits [R, V]; only top_k and top_p need them ordered."""
    parts = zip(logits.split(AT_ONCE), given.split(AT_ONCE), strict=True)
    return torch.cat([_draw_from_all(*part, is_ordered) for part in parts])


def _draw_from_all(logits: Tensor, given: Tensor, is_ordered: bool) -> Tensor:
    table = _Table(given)
    if is_ordered:
        # Equals by rising id, as the candidates are.
        falling, ids = logits.sort(dim=1, descending=True, stable=True)
        scores = falling / table.temperature  # [R, V] float64
        return _draw(ids, scores, _kept(scores, table), table)
    scores = logits / table.temperature
    weights = (scores - scores.amax(dim=1, keepdim=True)).exp_()
    return _draw(
        torch.arange(logits.shape[1], device=logits.device), scores, weights >= table.min_p, table
    )


def _kept(scores: Tensor, table: _Table) -> Tensor:
    """Which of the scores [R, N], in falling order, may be drawn. The likeliest always may."""
    places = torch.arange(scores.shape[1], device=scores.device)
    within = (table.top_k == 0) | (places < table.top_k)
    weights = (scores - scores[:, :1]).exp()
    sums = (weights * within).cumsum(dim=1)
    before = sums - weights
    kept = within & (weights >= table.min_p)
    kept &= (table.top_p >= 1) | (before < table.top_p * sums[:, -1:])
    return kept | (places == 0)


def _draw(ids: Tensor, scores: Tensor, kept: Tensor, table: _Table) -> Tensor:
    """The kept token with the greatest score + noise."""
    noisy = scores.add(_gumbel(_hash(table, ids))).masked_fill_(~kept, float("-inf"))
    best, at = noisy.max(dim=1, keepdim=True)
    ids = ids.expand_as(noisy).gather(1, at)
    return torch.where(best.isfinite(), ids, NOT_DRAWN)[:, 0]


def _hash(table: _Table, ids: Tensor) -> Tensor:
    """sampling's 32-bit hash of each id [R, N], computed exactly in 64-bit integers."""
    x = ((ids * 0x9E3779B1) & MASK).expand(len(table.low), -1).clone()
    for key in (table.low, table.high):
        x.add_(key).bitwise_and_(MASK)
        x.bitwise_xor_(x >> 16)
        x.mul_(0x7FEB352D).bitwise_and_(MASK)
        x.bitwise_xor_(x >> 15)
        x.mul_(0x846CA68B).bitwise_and_(MASK)
        x.bitwise_xor_(x >> 16)
    return x


def _gumbel(hashes: Tensor) -> Tensor:
    uniform = hashes.double().add_(0.5).mul_(2.0**-32)
    return uniform.log_().neg_().log_().neg_()
