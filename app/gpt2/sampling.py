"""Choose the next tokens: logits in, ids out. Pure NumPy, on the whole batch.

Draws use the Gumbel-max trick: the token with the greatest score + noise wins, which picks token i
with probability softmax(score)[i]. A token's noise is a hash of (row seed, position, token id)
only, so a draw depends neither on other rows nor on tokens that other settings exclude.

    R rows, V tokens of the vocabulary, K candidates: the likeliest tokens, named by the model.

Most rows are settled among their K candidates. Only if not are all of a row's logits fetched and
sorted, which takes milliseconds; native/draws.h draws the same tokens without that. Filters apply
in the usual order: penalties and biases, temperature, top_k, top_p, min_p, typical_p, XTC. Sums run
along candidates in falling order, one by one (cumsum), so that they do not depend on how many
columns follow.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from app.gpt2.paged import Logits
from app.gpt2.seeds import MASK, mix

XTC = 0x585443  # so that its coin differs from the tokens' noise
LEAST_TEMPERATURE = 1e-6  # to divide by if 0 is requested


class Draw(NamedTuple):
    """How one row chooses. The defaults follow the model's own probabilities."""

    seed: int
    position: int  # of the token in its continuation, from 0
    temperature: float = 1.0  # 0 takes the likeliest
    top_k: int = 0  # 0 = off
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0
    xtc_probability: float = 0.0  # 0 = off
    xtc_threshold: float = 0.1

    @property
    def drops_top(self) -> bool:
        """Whether XTC applies to this draw."""
        coin = mix(key_of(self) ^ XTC) >> 11  # 53 bits
        return self.xtc_probability > 0 and coin < self.xtc_probability * 2.0**53


class NothingLeft(ValueError):
    """Every token of a row is banned."""


def choose(turn: Logits, draws: Sequence[Draw]) -> np.ndarray:
    """An id for each row [R] of the turn."""
    logits, top_ids, top_scores, *_ = turn
    if np.isnan(top_scores[:, 0]).any():
        raise ValueError("The model's logits are not numbers.")
    if not np.isfinite(top_scores[:, 0]).all():
        raise NothingLeft("Every token is banned: none is left to choose.")
    table = _Table(draws)
    scores = top_scores / table.temperature  # [R, K] float64
    kept, is_settled = _keep(scores, table, logits.shape[1])
    noise = _gumbel(_hash(table.keys, top_ids))
    best = np.where(kept, scores + noise, -np.inf).argmax(axis=1)
    ids = np.take_along_axis(top_ids, best[:, None], axis=1)[:, 0]
    for row in np.flatnonzero(~is_settled).tolist():
        ids[row] = _choose_from_all(logits[row], draws[row])
    return ids


def _choose_from_all(logits: np.ndarray, draw: Draw) -> int:
    """By definition, on as many tokens in falling order as are needed."""
    ids = candidates(logits, draw.top_k or len(logits))
    return int(choose(Logits(logits[None], ids[None], logits[ids][None]), [draw])[0])


class _Table:
    """Draws as columns, [R, 1] each."""

    def __init__(self, draws: Sequence[Draw]) -> None:
        self.draws = draws
        # Greedy is top_k 1; its temperature must only not be zero.
        self.temperature = np.array([[max(d.temperature, LEAST_TEMPERATURE)] for d in draws])
        self.top_k = np.array([[d.top_k if d.temperature > 0 else 1] for d in draws])
        self.top_p = np.array([[d.top_p] for d in draws])
        self.min_p = np.array([[d.min_p] for d in draws])
        self.typical_p = np.array([[d.typical_p] for d in draws])
        self.keys = np.array([[key_of(d)] for d in draws], np.uint64)


def _keep(scores: np.ndarray, table: _Table, n_tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """Which candidates [R, K] may be chosen, and for which rows [R] these are certainly all.

    top_k, top_p and min_p each keep a prefix of the falling order, so the first token dropped ends
    it. The sum for top_p is known if all of top_k's tokens are.
    """
    K = scores.shape[1]
    weights = np.exp(scores - scores[:, :1])  # [R, K], 1 for the likeliest
    sums = np.cumsum(weights, axis=1)
    kept = np.isfinite(scores) & ((table.top_k == 0) | (np.arange(K) < table.top_k))
    kept &= weights >= table.min_p
    is_whole = (K == n_tokens) | ((table.top_k > 0) & (table.top_k <= K))
    last = np.where(table.top_k == 0, K, np.minimum(table.top_k, K)) - 1
    totals = np.take_along_axis(sums, last, axis=1)
    kept &= (table.top_p >= 1) | ~is_whole | (sums - weights < table.top_p * totals)
    kept[:, 0] = True
    ends = ~kept.all(axis=1, keepdims=True)
    is_settled = is_whole | (ends & ((table.top_p >= 1) | (table.top_k == 1)))
    # Without the sum of all, top_p is settled later; but not what min_p ended before.
    for row in np.flatnonzero((table.typical_p < 1)[:, 0] & is_settled[:, 0]).tolist():
        kept[row] = _typical(weights[row], kept[row], table.typical_p[row, 0])
    for row, draw in enumerate(table.draws):
        if draw.xtc_probability and is_settled[row, 0] and draw.drops_top:
            kept[row, _top_choices(weights[row], kept[row], draw.xtc_threshold)] = False
    return kept, is_settled[:, 0]


def _typical(weights: np.ndarray, kept: np.ndarray, typical_p: float) -> np.ndarray:
    """The kept tokens whose surprise is nearest to the expected one, until they reach p."""
    kept = kept & (weights > 0)  # those of 0 have no surprise that could be computed
    weights = np.where(kept, weights, 0.0)
    total = np.cumsum(weights)[-1]
    p = weights / total
    surprise = -np.log(np.where(kept, p, 1.0))
    expected = np.cumsum(p * surprise)[-1]
    order = np.argsort(np.where(kept, np.abs(surprise - expected), np.inf), kind="stable")
    before = np.cumsum(weights[order]) - weights[order]
    typical = np.zeros_like(kept)
    typical[order] = before < typical_p * total
    typical[0] |= typical_p == 0  # a share of nothing is met by the likeliest
    return typical & kept


def _top_choices(weights: np.ndarray, kept: np.ndarray, threshold: float) -> np.ndarray:
    """The tokens that XTC drops: all that reach the threshold but the least likely of them.

    >>> weights = np.array([10, 4, 4, 2])
    >>> _top_choices(weights, kept=weights > 2, threshold=0.2).tolist()
    [0, 1]
    """
    weights = np.where(kept, weights, 0.0)
    return np.flatnonzero(kept & (weights / weights.sum() >= threshold))[:-1]


# ---- noise ----


def key_of(draw: Draw) -> int:
    """The 64 bits that, with a token's id, give its noise."""
    return mix(mix(draw.seed) ^ (draw.position & MASK))


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
    repetition: float = 1.0  # divides the scores of tokens in the text
    presence: float = 0.0  # subtracted once from tokens written
    frequency: float = 0.0  # subtracted for each time


class Dry(NamedTuple):
    """Don't repeat yourself: the longer the repetition that a token would continue, the worse."""

    multiplier: float
    base: float
    allowed_length: int  # of repetitions that cost nothing


MOST_REPEATED = 64  # tokens of a repetition, at most


def repetitions(text: np.ndarray, is_breaker: np.ndarray, n_most: int) -> dict[int, int]:
    """Tokens that earlier followed what is now the text's end -> the length of the match.

    Matches end at breakers; `is_breaker` has a boolean for each token of the vocabulary.

    >>> repetitions(np.array([1, 2, 3, 9, 2, 3, 8, 1, 2, 3]), np.zeros(10, bool), n_most=64)
    {8: 2, 9: 3}
    """
    ends = np.flatnonzero(text[:-1] == text[-1])
    found: dict[int, int] = {}
    for length in range(1, min(n_most, len(text) - 1) + 1):
        if is_breaker[text[-length]]:
            break
        ends = ends[ends >= length - 1]
        ends = ends[text[ends - (length - 1)] == text[-length]]
        if not ends.size:
            break
        found |= dict.fromkeys(text[ends + 1].tolist(), length)
    return dict(sorted(found.items()))


def dry_costs(found: dict[int, int], dry: Dry) -> dict[int, float]:
    return {
        id: dry.multiplier * dry.base ** (length - dry.allowed_length)
        for id, length in found.items()
        if length >= dry.allowed_length
    }


def ends_of_ngrams(text: np.ndarray, n: int) -> np.ndarray:
    """Tokens that would repeat a sequence of n tokens of the text.

    >>> ends_of_ngrams(np.array([1, 2, 3, 1, 2]), n=3)
    array([3])
    """
    if len(text) < n:
        return text[:0]
    may = np.ones(len(text) - n + 1, bool)
    for at in range(n - 1):
        may &= text[at : at + len(may)] == text[len(text) - n + 1 + at]
    return np.unique(text[n - 1 :][may])


def penalize(
    scores: np.ndarray, is_seen: np.ndarray, counts: np.ndarray, penalties: Penalties
) -> None:
    """Lower, in place, the scores [N] of tokens in the text and of tokens written."""
    if penalties.repetition != 1:
        factor = np.float32(penalties.repetition)
        lower = np.where(scores > 0, scores / factor, scores * factor)
        scores[is_seen] = lower[is_seen]
    if penalties.presence or penalties.frequency:
        cost = np.float32(penalties.presence) + np.float32(penalties.frequency) * counts
        scores -= np.where(counts > 0, cost, 0)


def candidates(logits: np.ndarray, k: int) -> np.ndarray:
    """The k likeliest ids [k] of scores [V], in falling order, equals by rising id."""
    k = min(k, len(logits))
    bar = np.partition(logits, -k)[-k]
    ids = np.flatnonzero(logits >= bar)  # k, or more when several are equal to the last
    return ids[np.argsort(-logits[ids], kind="stable")][:k]


def logprobs(logits: np.ndarray) -> np.ndarray:
    """Natural logarithms of the model's own probabilities, [V]."""
    shifted = logits - logits.max()
    return shifted - np.log(np.exp(shifted).sum(dtype=np.float64)).astype(np.float32)
