"""From the logits of a turn to an id for each row that draws.

Applies what a request asked for (penalties, biases, bans, healing) and leaves the drawing itself to
gpt2.sampling. What goes wrong for one row is that row's alone.
"""

import logging
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from app.gpt2 import Logits, Rows, sampling

from .adjusting import Adjuster
from .request import Row

log = logging.getLogger(__name__)


class Drawing(NamedTuple):
    """A row that draws a token from the logits in place `at`. Rows that fork share a place."""

    row: Row
    at: int


class Odds(NamedTuple):
    """What the model itself finds likely, whatever the request makes of it."""

    logprobs: np.ndarray  # [V] natural logarithms
    top_ids: np.ndarray  # [K] in falling order


class Drawn(NamedTuple):
    row: Row
    at: int  # the place of its logits
    id: int
    odds: Odds | None  # where the row wants to tell them


def choose(
    drawing: list[Drawing], logits: Logits, fail: Callable[[Row, Exception], None]
) -> list[Drawn]:
    """A token for each row that draws; calls `fail` for a row that cannot, and leaves it out."""
    try:
        ids = _choose_together(drawing, logits).tolist() if drawing else []
    except Exception:
        log.exception("The batch could not be sampled; its rows are tried one by one.")
        ids = [_choose_one(each, logits, fail) for each in drawing]
    return [
        Drawn(row, at, id, odds_at(logits, at) if row.request.params.logprobs is not None else None)
        for (row, at), id in zip(drawing, ids, strict=True)
        if id is not None
    ]


def logits_at(logits: Logits, at: int) -> Logits:
    """A copy of those in one place, which outlives the turn."""
    return Logits(
        np.array(logits.logits[at])[None],
        logits.top_ids[at : at + 1].copy(),
        logits.top_scores[at : at + 1].copy(),
        loud=logits.loud,
    )


def odds_at(logits: Logits, at: int) -> Odds:
    return Odds(sampling.logprobs(logits.logits[at]), logits.top_ids[at])


class _Scores:
    """The logits of the rows that draw [R, V]: the model's, or for a changed row its own copy."""

    def __init__(self, logits: Rows, places: list[int]) -> None:
        self.logits, self.places = logits, places
        self.shape = (len(places), logits.shape[1])
        self.changes: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # ids and their scores

    def __getitem__(self, i: int) -> np.ndarray:
        own = self.logits[self.places[i]]
        if i in self.changes:
            ids, scores = self.changes[i]
            own = own.copy()
            own[ids] = scores
        return own


def _choose_one(
    drawing: Drawing, logits: Logits, fail: Callable[[Row, Exception], None]
) -> int | None:
    try:
        return int(_choose_together([drawing], logits)[0])
    except Exception as error:
        fail(drawing.row, error)
        return None


def _choose_together(drawing: list[Drawing], logits: Logits) -> np.ndarray:
    if logits.drawn is None:
        return _choose_here(drawing, logits)
    ids = logits.drawn[[at for _, at in drawing]]
    if (here := np.flatnonzero(ids < 0)).size:
        ids[here] = _choose_here([drawing[i] for i in here], logits)
    return ids


def _choose_here(drawing: list[Drawing], logits: Logits) -> np.ndarray:
    places = [at for _, at in drawing]
    scores = _Scores(logits.logits, places)
    top_ids, top_scores = logits.top_ids[places], logits.top_scores[places]  # copies [R, K]
    K = top_ids.shape[1]
    n_known = [K] * len(drawing)
    for i, (row, _) in enumerate(drawing):
        if not _is_adjusted(row):
            continue
        if row.adjuster is None:
            row.adjuster = Adjuster(row)
        ids, changed = scores.changes[i] = row.adjuster.change(scores[i])
        heal = row.written.heal
        if heal is not None:
            ids, changed = scores.changes[i] = _only(heal.ids, scores[i])
        if not ids.size:
            continue
        new_ids, new_scores = sampling.rerank(top_ids[i], top_scores[i], ids, changed)
        if not new_ids.size or heal is not None or K >= scores.shape[1]:
            own = scores[i]
            new_ids = sampling.candidates(own, K)
            new_scores = own[new_ids]
        n_known[i] = n = len(new_ids)
        top_ids[i, :n], top_scores[i, :n], top_scores[i, n:] = new_ids, new_scores, -np.inf
    turn = Logits(scores, top_ids, top_scores, loud=logits.loud)
    return sampling.choose(turn, [_draw(row) for row, _ in drawing], n_known)


def _only(ids: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores for all tokens: none but `ids` may be drawn."""
    changed = np.full_like(scores, -np.inf)
    changed[ids] = scores[ids]
    return np.arange(len(scores)), changed


def plain_draw(row: Row) -> sampling.Draw | None:
    """How its next token is drawn, where a model that has never heard of requests can do it."""
    p = row.request.params
    is_plain = p.typical_p >= 1 and p.xtc_probability == 0 and not _is_adjusted(row)
    return _draw(row) if is_plain else None


def _draw(row: Row) -> sampling.Draw:
    p = row.request.params
    # A draw that may only rebuild the prompt comes before the continuation's first position.
    position = len(row.written.ids) if row.written.heal is None else -1
    return sampling.Draw(
        row.seed,
        position,
        p.temperature,
        p.top_k,
        p.top_p,
        p.min_p,
        p.typical_p,
        p.xtc_probability,
        p.xtc_threshold,
    )


def _is_adjusted(row: Row) -> bool:
    p = row.request.params
    return bool(
        row.written.heal
        or row.written.refused
        or row.request.banned
        or p.logit_bias
        or p.repetition_penalty != 1
        or p.presence_penalty
        or p.frequency_penalty
        or p.dry_multiplier
        or p.no_repeat_ngram
        or len(row.written.ids) < p.min_tokens
    )
