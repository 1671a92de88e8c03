"""From the logits of a turn to a token for each row that draws.

Applies penalties, biases, bans and healing, and leaves the drawing itself to gpt2.sampling. If one
row cannot draw, the others still do.
"""

import logging
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from app.gpt2 import Logits, Rows, sampling

from .adjusting import Adjuster
from .request import Row
from .written import Heal

log = logging.getLogger(__name__)


class Drawing(NamedTuple):
    """A row that draws from the logits at place `at`. Rows that fork share a place."""

    row: Row
    at: int


class Prediction(NamedTuple):
    """What the model itself finds likely, before the request's own settings."""

    logprobs: np.ndarray  # [V] natural logarithms
    top_ids: np.ndarray  # [K] the likeliest first


class Drawn(NamedTuple):
    row: Row
    at: int  # the place of its logits
    id: int
    prediction: Prediction | None  # with logprobs


def choose(
    drawing: list[Drawing], logits: Logits, fail: Callable[[Row, Exception], None]
) -> list[Drawn]:
    """A token for each row; a row that cannot draw is passed to `fail` and left out."""
    try:
        ids = _choose_together(drawing, logits).tolist() if drawing else []
    except Exception:
        log.exception("Sampling the batch failed; trying its rows one by one.")
        ids = [_choose_one(each, logits, fail) for each in drawing]
    return [
        Drawn(
            row,
            at,
            id,
            prediction_at(logits, at) if row.request.params.logprobs is not None else None,
        )
        for (row, at), id in zip(drawing, ids, strict=True)
        if id is not None
    ]


def logits_at(logits: Logits, at: int) -> Logits:
    """A copy of the logits at one place, which outlives the turn."""
    return Logits(
        np.array(logits.logits[at])[None],
        logits.top_ids[at : at + 1].copy(),
        logits.top_scores[at : at + 1].copy(),
        draw_row=logits.draw_row,
    )


def prediction_at(logits: Logits, at: int) -> Prediction:
    return Prediction(sampling.logprobs(logits.logits[at]), logits.top_ids[at])


Change = tuple[np.ndarray, np.ndarray]  # ids, each of them once, and their scores [N]
UNCHANGED: Change = np.array([], np.int32), np.array([], np.float32)


class _Scores:
    """The logits [R, V] of the rows that draw: the model's, or a copy where a row changes some."""

    def __init__(self, logits: Rows, places: list[int], changes: list[Change]) -> None:
        self.logits, self.places, self.changes = logits, places, changes
        self.shape = (len(places), logits.shape[1])

    def __getitem__(self, i: int) -> np.ndarray:
        own = self.logits[self.places[i]]
        return own if self.changes[i] is UNCHANGED else _changed(own, self.changes[i])


def _changed(logits: np.ndarray, change: Change) -> np.ndarray:
    own = logits.copy()
    own[change[0]] = change[1]
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
    ids = np.full(len(drawing), -1)
    changes = [_change(row, logits.logits, at) for row, at in drawing]
    for i, (row, at) in enumerate(drawing):
        ids[i] = _draw_in_c(_draw(row), logits, at, changes[i])
    if (rest := np.flatnonzero(ids < 0)).size:
        ids[rest] = _choose_in_numpy([drawing[i] for i in rest], logits, [changes[i] for i in rest])
    return ids


def _draw_in_c(draw: sampling.Draw, logits: Logits, at: int, change: Change) -> int:
    """An id, or -1: among candidates NumPy is as fast, since it draws all rows at once."""
    K = logits.top_ids.shape[1]
    if logits.draw_row is None or (change is UNCHANGED and 0 < draw.top_k <= K):
        return -1
    own = logits.logits[at], logits.top_ids[at], logits.top_scores[at]
    return logits.draw_row(draw, *own, *change)


def _choose_in_numpy(drawing: list[Drawing], logits: Logits, changes: list[Change]) -> np.ndarray:
    places = [at for _, at in drawing]
    scores = _Scores(logits.logits, places, changes)
    top_ids, top_scores = logits.top_ids[places], logits.top_scores[places]  # copies [R, K]
    for i, change in enumerate(changes):
        if change is not UNCHANGED:
            own = scores[i]
            top_ids[i] = sampling.candidates(own, top_ids.shape[1])
            top_scores[i] = own[top_ids[i]]
    turn = Logits(scores, top_ids, top_scores)
    return sampling.choose(turn, [_draw(row) for row, _ in drawing])


def _change(row: Row, logits: Rows, at: int) -> Change:
    """What the row's request makes of the logits at one place."""
    if not _is_adjusted(row):
        return UNCHANGED
    if row.adjuster is None:
        row.adjuster = Adjuster(row)
    change = row.adjuster.change(logits[at])
    heal = row.written.heal
    return change if heal is None else _only(heal, _changed(logits[at], change))


def _only(heal: Heal, scores: np.ndarray) -> Change:
    """-inf for all tokens but those that heal.

    If all of these are refused, as repetitions may be, the token taken back is drawn again.
    """
    changed = np.full_like(scores, -np.inf)
    changed[heal.ids] = scores[heal.ids]
    if np.isneginf(changed[heal.ids]).all():
        changed[heal.id] = 0
    return np.arange(len(scores)), changed


def plain_draw(row: Row) -> sampling.Draw | None:
    """How the row draws its next token, if that takes nothing but the logits; else None."""
    return None if _is_adjusted(row) else _draw(row)


def _draw(row: Row) -> sampling.Draw:
    p = row.request.params
    # A draw that may only rebuild the prompt comes before position 0.
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
