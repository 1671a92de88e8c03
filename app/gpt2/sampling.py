"""Choose the next tokens: logits in, ids out. Pure NumPy, on the whole batch.

Draws use the Gumbel-max trick: the token with the greatest score + noise wins, which picks token i
with probability softmax(score)[i]. A token's noise is a hash of (row seed, position, token id)
only, so a draw depends neither on other rows nor on tokens that other settings exclude.

    R rows, V tokens of the vocabulary, K candidates: the likeliest tokens, named by the model.

Most rows are settled among their K candidates. Only if not are all of a row's logits examined,
since they may have to be fetched from a GPU. Filters apply in the usual order: penalties and
biases, temperature, top_k, top_p, min_p, typical_p. Sums run along candidates in falling order, one
by one (cumsum), so that they do not depend on how many columns follow.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from app.gpt2.paged import Logits, Loud
from app.gpt2.seeds import MASK, mix

XTC = 0x585443  # so that its coin differs from the tokens' noise
PIECE = 8192  # hashes computed at a time
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


def choose(turn: Logits, draws: Sequence[Draw], n_known: Sequence[int] | None = None) -> np.ndarray:
    """An id for each row [R] of the turn.

    `n_known`: how many candidates of each row are certainly its likeliest, if not all K; V if no
    other token may be chosen.
    """
    logits, top_ids, top_scores, *_ = turn
    R, K = top_ids.shape
    if np.isnan(top_scores[:, 0]).any():
        raise ValueError("The model's logits are not numbers.")
    if not np.isfinite(top_scores[:, 0]).all():
        raise NothingLeft("Every token is banned: none is left to choose.")
    table = _Table(draws)
    known = np.full((R, 1), K) if n_known is None else np.array(n_known)[:, None]
    known[known >= logits.shape[1]] = logits.shape[1]
    scores = top_scores / table.temperature  # [R, K] float64
    kept, is_settled = _keep(scores, known, table, logits.shape[1])
    noise = _gumbel(_hash(table.keys, top_ids))
    best = np.where(kept, scores + noise, -np.inf).argmax(axis=1)
    ids = np.take_along_axis(top_ids, best[:, None], axis=1)[:, 0]
    for row in np.flatnonzero(~is_settled).tolist():
        n = min(int(known[row, 0]), K)
        wide = _Wide(logits[row], top_ids[row, :n], noise[row, :n], draws[row], turn.loud)
        ids[row] = wide.draw()
    return ids


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


# ---- among the candidates ----


def _keep(
    scores: np.ndarray, known: np.ndarray, table: _Table, n_tokens: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which candidates [R, K] may be chosen, and for which rows [R] these are certainly all.

    top_k, top_p and min_p each keep a prefix of the falling order, so the first token dropped ends
    it. The sum for top_p is known if all of top_k's tokens are.
    """
    weights = np.exp(scores - scores[:, :1])  # [R, K], 1 for the likeliest
    sums = np.cumsum(weights, axis=1)
    places = np.arange(scores.shape[1])
    within = places < known
    kept = within & np.isfinite(scores) & ((table.top_k == 0) | (places < table.top_k))
    kept &= weights >= table.min_p
    is_whole = (known == n_tokens) | ((table.top_k > 0) & (table.top_k <= known))
    last = np.where(table.top_k == 0, known, np.minimum(table.top_k, known)) - 1
    totals = np.take_along_axis(sums, np.minimum(last, scores.shape[1] - 1), axis=1)
    kept &= (table.top_p >= 1) | ~is_whole | (sums - weights < table.top_p * totals)
    kept[:, 0] = True
    ends = (within & ~kept).any(axis=1, keepdims=True)
    is_settled = is_whole | (ends & ((table.top_p >= 1) | (table.top_k == 1)))
    # Without the sum of all, top_p is settled later; but not what min_p ended before.
    for row in np.flatnonzero((table.typical_p < 1)[:, 0] & is_settled[:, 0]).tolist():
        kept[row] = _typical(weights[row], kept[row], table.typical_p[row, 0])
    for row, draw in enumerate(table.draws):
        if draw.xtc_probability and is_settled[row, 0] and draw.drops_top:
            p = np.where(kept[row], weights[row], 0.0)
            kept[row, _top_choices(p / p.sum(), draw.xtc_threshold)] = False
    return kept, is_settled[:, 0]


def _typical(weights: np.ndarray, kept: np.ndarray, typical_p: float) -> np.ndarray:
    """The kept tokens whose surprise is nearest to the expected one, until they reach p."""
    p = np.where(kept, weights, 0.0)
    p /= np.cumsum(p)[-1]
    surprise = -np.log(np.where(kept, p, 1.0))
    expected = np.cumsum(p * surprise)[-1]
    order = np.argsort(np.where(kept, np.abs(surprise - expected), np.inf), kind="stable")
    before = np.cumsum(p[order]) - p[order]
    typical = np.zeros_like(kept)
    typical[order] = before < typical_p
    typical[0] |= typical_p == 0  # a share of nothing is met by the likeliest
    return typical & kept


def _top_choices(p: np.ndarray, threshold: float) -> np.ndarray:
    """The tokens that XTC drops: all that reach the threshold but the least likely of them.

    >>> _top_choices(np.array([0.5, 0.2, 0.2, 0.1]), threshold=0.15).tolist()
    [0, 1]
    """
    return np.flatnonzero(p >= threshold)[:-1]


# ---- among all tokens ----


class _Wide:
    """Draw from all of a row's logits [V], without sorting them.

    Each filter keeps a prefix of some order of the tokens. So first find the winner of all, and sum
    what precedes it to see whether it is kept. If not, nothing behind it is either, and the winner
    among those before it is next.
    """

    def __init__(
        self,
        logits: np.ndarray,
        top_ids: np.ndarray,
        top_noise: np.ndarray,
        draw: Draw,
        loud: Loud | None,
    ) -> None:
        self.logits, self.top_ids, self.top_noise = logits, top_ids, top_noise
        self.settings, self.loud = draw, loud
        self.temperature = max(draw.temperature, LEAST_TEMPERATURE)
        self.key = key_of(draw)
        self.hashes: np.ndarray | None = None  # [V]
        self.top = logits[top_ids] / self.temperature  # [K] float64, in falling order
        self.best = self.top[0]
        self.weights = np.exp(self.top - self.best)
        self.struck = top_ids[:0]

    def draw(self) -> int:
        d = self.settings
        if d.xtc_probability and d.drops_top:
            if d.top_k > 0 or d.top_p < 1 or d.typical_p < 1 or not self._drop_top():
                return self._draw_sorted()
        if d.typical_p >= 1 and (d.top_k == 0 or d.top_p >= 1):
            return self._draw_likely()
        if d.top_k == 0 and d.top_p >= 1:
            return self._draw_typical()
        return self._draw_sorted()

    def _drop_top(self) -> bool:
        """XTC when all tokens may be chosen; False if it may drop more than the candidates."""
        weights = np.exp(self.logits / self.temperature - self.best)
        p = self.weights / weights[weights >= self.settings.min_p].sum()
        self.struck = self.top_ids[_top_choices(p, self.settings.xtc_threshold)]
        return bool(p[-1] < self.settings.xtc_threshold)

    def _draw_likely(self) -> int:
        """With top_k, top_p and min_p, which order tokens by likelihood."""
        least, bound, bound_id = self.settings.min_p, -np.inf, 0

        def may(ids: np.ndarray) -> np.ndarray:
            scores = self.logits[ids]
            before = (scores > bound) | ((scores == bound) & (ids < bound_id))
            if least == 0:
                return before
            return before & (np.exp(scores / self.temperature - self.best) >= least)

        while True:
            id = self._winner(may)
            if id == self.top_ids[0] or self._is_kept(id):
                return id
            bound, bound_id = self.logits[id], id

    def _is_kept(self, id: int) -> bool:
        """Whether fewer than top_k tokens are likelier, or they add up to less than top_p."""
        top_k, top_p = self.settings.top_k, self.settings.top_p
        place = np.flatnonzero(self.top_ids == id)
        if top_k > 0:
            return bool(place.size) or int(np.count_nonzero(self._likelier(id))) < top_k
        if top_p >= 1:
            return True
        if place.size:
            before = float(self.weights[: place[0]].sum())
            if before < 0.999 * top_p * float(self.weights.sum()):
                return True  # of all tokens it is an even smaller share
        else:
            likelier = self.logits[self._likelier(id)] / self.temperature
            before = float(np.exp(likelier - self.best).sum())
        scores = self.logits / np.float32(self.temperature)
        total = np.exp(scores - scores.max()).sum(dtype=np.float64)
        return bool(before < top_p * total)

    def _likelier(self, id: int) -> np.ndarray:
        own = self.logits[id]
        likelier = self.logits > own  # [V]
        equals = np.flatnonzero(self.logits == own)
        likelier[equals[equals < id]] = True
        return likelier

    def _draw_typical(self) -> int:
        """With typical_p, which orders tokens by how far their surprise is from the expected."""
        share = self.settings.typical_p
        if share == 0:
            return int(self.top_ids[0])
        rarer = (self.logits.max() - self.logits) / np.float32(self.temperature)  # [V] float32
        weights = np.exp(-rarer)
        dropped = np.flatnonzero(weights < max(self.settings.min_p, 1e-30))  # banned ones too
        weights[dropped], rarer[dropped] = 0, 0
        total = weights.sum(dtype=np.float64)
        expected = np.float32((weights * rarer).sum(dtype=np.float64) / total)
        far = np.abs(rarer - expected)
        far[dropped] = np.inf
        while True:
            id = self._winner(lambda ids: np.isfinite(far[ids]))
            if (weights * (far < far[id])).sum(dtype=np.float64) < share * total:
                return id
            far[far >= far[id]] = np.inf

    def _draw_sorted(self) -> int:
        """The slow way: by definition, on as many tokens in falling order as are needed."""
        n = self.settings.top_k or len(self.logits)
        ids = candidates(self.logits, n)[None]
        turn = Logits(self.logits[None], ids, self.logits[ids])
        return int(choose(turn, [self.settings], [len(self.logits)])[0])

    def _winner(self, may: Callable[[np.ndarray], np.ndarray]) -> int:
        """The token with the greatest score + noise, among those that may win.

        The best candidate has b; the last candidate has the score s, and no other token has more.
        So another token needs noise above b - s, which means a hash above a threshold.
        """
        noisy = np.where(may(self.top_ids), self.top + self.top_noise, -np.inf)
        if self.struck.size:
            noisy[np.isin(self.top_ids, self.struck)] = -np.inf
        best = int(noisy.argmax())
        others, hashes = self._find_loud(noisy[best] - self.top[-1])
        allowed = may(others)
        if self.struck.size:
            allowed &= ~np.isin(others, self.struck)
        others, hashes = others[allowed], hashes[allowed]
        if others.size:
            theirs = self.logits[others] / self.temperature + _gumbel(hashes)
            other = int(theirs.argmax())
            if theirs[other] > noisy[best]:
                return int(others[other])
        return int(self.top_ids[best])

    def _find_loud(self, noise: float) -> tuple[np.ndarray, np.ndarray]:
        """Ids and hashes of all tokens with at least about that much noise."""
        bar = max(0, int(np.exp(-np.exp(-noise)) * 2.0**32 - 2))
        if self.loud is not None:
            return self.loud(self.key, len(self.logits), bar)
        if self.hashes is None:
            self.hashes = _hash_all(self.key, len(self.logits))
        others = np.flatnonzero(self.hashes >= np.uint32(bar))
        return others, self.hashes[others]


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
        _mix_32(x, np.empty_like(x))
    return x


def _hash_all(key: int, n_tokens: int) -> np.ndarray:
    """_hash of the ids 0 to n_tokens - 1, by pieces that stay in the processor's cache."""
    hashes = np.arange(n_tokens, dtype=np.uint32)
    low, high = np.uint32(key & 0xFFFFFFFF), np.uint32(key >> 32)
    shifted = np.empty(min(PIECE, n_tokens), np.uint32)
    for begin in range(0, n_tokens, PIECE):
        x = hashes[begin : begin + PIECE]
        x *= np.uint32(0x9E3779B1)
        for half in (low, high):
            x += half
            _mix_32(x, shifted[: len(x)])
    return hashes


def _mix_32(x: np.ndarray, shifted: np.ndarray) -> None:
    """In place; `shifted` is scratch space of the same size."""
    x ^= np.right_shift(x, 16, out=shifted)
    x *= np.uint32(0x7FEB352D)
    x ^= np.right_shift(x, 15, out=shifted)
    x *= np.uint32(0x846CA68B)
    x ^= np.right_shift(x, 16, out=shifted)


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


def rerank(
    top_ids: np.ndarray, top_scores: np.ndarray, ids: np.ndarray, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The likeliest tokens, at most K, after `ids` (rising) have got other scores.

    All other tokens are at most as likely as the last candidate was, so the order of those above it
    is certain.
    """
    bar = top_scores[-1]
    at = np.minimum(np.searchsorted(ids, top_ids), len(ids) - 1)
    stays = (ids[at] != top_ids) & (top_scores > bar)
    comes = scores > bar
    new_ids = np.concatenate([top_ids[stays], ids[comes]])
    new_scores = np.concatenate([top_scores[stays], scores[comes]])
    order = np.lexsort((new_ids, -new_scores))[: len(top_ids)]
    return new_ids[order], new_scores[order]


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
