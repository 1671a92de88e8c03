"""Logits in, ids out: how the next token is chosen. Pure NumPy, on the whole batch.

A draw is the Gumbel-max trick: the token with the greatest score + noise wins, which picks token i
with probability softmax(score)[i]. The noise of a token is a hash of (row seed, position, token id)
and of nothing else, so a draw depends neither on the neighbours in the batch nor on the tokens that
other settings have excluded.

    R rows, V tokens of the vocabulary, K candidates: the likeliest tokens, named by the model.

Most rows are settled among their K candidates; all of a row's logits are looked at only where not,
since they may have to be fetched from a GPU. The order of what narrows the choice is the usual
one: penalties and biases, temperature, top_k, top_p, min_p, typical_p. Sums run along candidates in
falling order, one by one (cumsum), because they then do not depend on how many columns follow.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from app.gpt2.paged import Logits, Rows

MAX_SEED = 2**53 - 1
MASK = 2**64 - 1
LEAST_TEMPERATURE = 1e-6  # to divide by where 0 is asked for


class Draw(NamedTuple):
    """How one row is to choose. The defaults choose from the model's own odds."""

    seed: int
    position: int  # of the token in its continuation, from 0
    temperature: float = 1.0  # 0 takes the likeliest
    top_k: int = 0  # 0 = off
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0


class NothingLeft(ValueError):
    """Every token of a row is banned."""


def row_seed(seed: int, row: int) -> int:
    """The seed of continuation `row` of a request; sent alone, it gives that continuation."""
    return seed if row == 0 else _mix(_mix(seed) + row) & MAX_SEED


def choose(turn: Logits, draws: Sequence[Draw]) -> np.ndarray:
    """An id for each row [R] of the turn, by as many draws."""
    logits, top_ids, top_scores, _ = turn
    if np.isnan(top_scores[:, 0]).any():
        raise ValueError("The model's scores are not numbers.")
    if not np.isfinite(top_scores[:, 0]).all():
        raise NothingLeft("Every token is banned: nothing is left to choose from.")
    table = _Table(draws)
    scores = top_scores / table.temperature  # [R, K] float64
    totals = _totals(logits, scores, table)
    kept, is_settled = _keep(scores, totals, table, logits.shape[1])
    ids = _draw_among(scores, top_ids, kept, table)
    for row in np.flatnonzero(~is_settled):
        ids[row] = _draw_wide(logits[row], top_ids[row], totals[row : row + 1], table.only(row))
    return ids


class _Table:
    """Draws as columns, [R, 1] each."""

    def __init__(self, draws: Sequence[Draw]) -> None:
        self.draws = draws
        # Greedy is a draw among one; its temperature only may not divide by zero.
        self.temperature = np.array([[max(d.temperature, LEAST_TEMPERATURE)] for d in draws])
        self.top_k = np.array([[d.top_k if d.temperature > 0 else 1] for d in draws])
        self.top_p = np.array([[d.top_p] for d in draws])
        self.min_p = np.array([[d.min_p] for d in draws])
        self.typical_p = np.array([[d.typical_p] for d in draws])
        self.keys = np.array([[key_of(d)] for d in draws], np.uint64)

    def only(self, row: int) -> "_Table":
        return _Table(self.draws[row : row + 1])


# ---- what may be chosen ----


def _keep(
    scores: np.ndarray, totals: np.ndarray, table: _Table, n_tokens: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which of the candidates [R, K] may be chosen, and for which rows [R] they are surely all."""
    K = scores.shape[1]
    weights = np.exp(scores - scores[:, :1])  # [R, K], 1 for the likeliest
    before = np.cumsum(weights, axis=1) - weights  # of the likelier ones
    kept = np.isfinite(scores) & ((table.top_k == 0) | (np.arange(K) < table.top_k))
    kept &= (table.top_p >= 1) | (before < table.top_p * totals)
    kept &= weights >= table.min_p
    kept[:, 0] = True
    # All four keep a beginning of the falling order, so one that is not kept ends it.
    is_settled = ~kept[:, -1] | ((table.top_k == K) | (K == n_tokens))[:, 0]
    is_settled &= ~((table.top_k > K) & (table.top_p < 1))[:, 0] | (K == n_tokens)
    for row in np.flatnonzero((table.typical_p < 1)[:, 0] & is_settled):
        kept[row] = _typical(weights[row], kept[row], table.typical_p[row, 0])
    return kept, is_settled


def _totals(logits: Rows, scores: np.ndarray, table: _Table) -> np.ndarray:
    """What top_p is a share of [R, 1]: the weight of top_k's tokens, or of all."""
    weights = np.exp(scores - scores[:, :1])
    k = np.minimum(table.top_k, scores.shape[1]) - 1
    totals = np.take_along_axis(np.cumsum(weights, axis=1), np.maximum(k, 0), axis=1)
    for row in np.flatnonzero((table.top_p < 1) & (table.top_k == 0)):
        all_scores = logits[row] / np.float32(table.temperature[row, 0])
        totals[row] = np.exp(all_scores - all_scores.max()).sum(dtype=np.float64)
    return totals


def _typical(weights: np.ndarray, kept: np.ndarray, typical_p: float) -> np.ndarray:
    """Of the kept, those whose surprise is nearest to the expected one, until they reach p."""
    p = np.where(kept, weights, 0.0)
    p /= np.cumsum(p)[-1]
    surprise = -np.log(np.where(kept, p, 1.0))
    expected = np.cumsum(p * surprise)[-1]
    order = np.argsort(np.where(kept, np.abs(surprise - expected), np.inf), kind="stable")
    before = np.cumsum(p[order]) - p[order]
    typical = np.zeros_like(kept)
    typical[order] = before < typical_p
    return typical & kept


# ---- drawing ----


def _draw_among(scores: np.ndarray, ids: np.ndarray, kept: np.ndarray, table: _Table) -> np.ndarray:
    noisy = np.where(kept, scores + _gumbel(_hash(table.keys, ids)), -np.inf)
    return np.take_along_axis(ids, noisy.argmax(axis=1)[:, None], axis=1)[:, 0]


def _draw_wide(logits: np.ndarray, top_ids: np.ndarray, total: np.ndarray, table: _Table) -> int:
    """A row [V] that its candidates do not settle: take more of them until they do."""
    if table.top_k[0, 0] == 0 and table.top_p[0, 0] >= 1 and table.typical_p[0, 0] >= 1:
        return _draw_from_all(logits, top_ids, table)
    is_settled, k = np.array([False]), len(top_ids)
    while not is_settled[0]:
        k *= 16
        more = candidates(logits, k)[None]  # [1, k]
        scores = logits[more] / table.temperature
        if table.top_k[0, 0] > 0:
            total = _totals(logits[None], scores, table)
        kept, is_settled = _keep(scores, total, table, len(logits))
    return int(_draw_among(scores, more, kept, table)[0])


def _draw_from_all(logits: np.ndarray, top_ids: np.ndarray, table: _Table) -> int:
    """Nothing is sorted and few noises are computed: only those that could win.

    The best candidate's score + noise is b; the last candidate's score is s, and no other token's
    is higher. So another token needs noise above b - s, that is a hash above a threshold.
    """
    scores = logits[top_ids] / table.temperature[0]  # [K]
    noisy = scores + _gumbel(_hash(table.keys, top_ids[None]))[0]
    noisy[np.exp(scores - scores[0]) < table.min_p[0, 0]] = -np.inf
    need = noisy.max() - scores[-1]
    hashes = _hash(table.keys, np.arange(len(logits), dtype=np.uint32)[None])[0]  # [V]
    others = np.flatnonzero(hashes > np.exp(-np.exp(-need)) * 2.0**32 - 2)
    their_scores = logits[others] / table.temperature[0]
    theirs = their_scores + _gumbel(hashes[others])
    theirs[np.exp(their_scores - scores[0]) < table.min_p[0, 0]] = -np.inf
    ids = np.concatenate([top_ids, others])
    return int(ids[np.concatenate([noisy, theirs]).argmax()])


# ---- noise ----


def key_of(draw: Draw) -> int:
    """The 64 bits that, with a token's id, give its noise."""
    return _mix(_mix(draw.seed) ^ (draw.position & MASK))


def _mix(x: int) -> int:
    """splitmix64: 64 bits in, 64 well mixed bits out."""
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def _hash(keys: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """32 bits for each id [R, N], by its row's 64-bit key [R, 1]: two rounds of a 32-bit mixer."""
    low = keys.astype(np.uint32)
    high = (keys >> np.uint64(32)).astype(np.uint32)
    x = ids.astype(np.uint32) * np.uint32(0x9E3779B1)
    for key in (low, high):
        x += key
        x ^= x >> np.uint32(16)
        x *= np.uint32(0x7FEB352D)
        x ^= x >> np.uint32(15)
        x *= np.uint32(0x846CA68B)
        x ^= x >> np.uint32(16)
    return x


def _gumbel(hashes: np.ndarray) -> np.ndarray:
    """The middle of each of 2^32 equal steps of (0, 1), turned into Gumbel noise: -3.1 to 22.9."""
    return -np.log(-np.log((hashes + 0.5) * 2.0**-32))


# ---- scores changed before anything is chosen ----


class Penalties(NamedTuple):
    repetition: float = 1.0  # divides the score of tokens in the text
    presence: float = 0.0  # taken once from tokens written
    frequency: float = 0.0  # taken for each time


def penalize(
    logits: np.ndarray, text: Sequence[int], written: Sequence[int], penalties: Penalties
) -> None:
    """Lower, in place, the scores [V] of tokens in the text so far, and of those written."""
    if penalties.repetition != 1:
        ids = np.unique(np.asarray(text, np.int64))
        scores, factor = logits[ids], np.float32(penalties.repetition)
        logits[ids] = np.where(scores > 0, scores / factor, scores * factor)
    if written and (penalties.presence or penalties.frequency):
        ids, counts = np.unique(np.asarray(written, np.int64), return_counts=True)
        logits[ids] -= np.float32(penalties.presence) + np.float32(penalties.frequency) * counts


def candidates(logits: np.ndarray, k: int) -> np.ndarray:
    """The k likeliest ids [k] of scores [V], in falling order, equals by rising id."""
    k = min(k, len(logits))
    bar = np.partition(logits, -k)[-k]
    ids = np.flatnonzero(logits >= bar)  # k, or more when several are equal to the last
    return ids[np.argsort(-logits[ids], kind="stable")][:k]


def logprobs(logits: np.ndarray) -> np.ndarray:
    """Natural logarithms of the model's own odds, [V]."""
    shifted = logits - logits.max()
    return shifted - np.log(np.exp(shifted).sum(dtype=np.float64)).astype(np.float32)
