"""Penalties, biases and bans: the scores that a request changes before its row draws.

Each row has an Adjuster, which follows the row's text so that no token is counted twice.
"""

from collections.abc import Sequence

import numpy as np

from app.gpt2 import sampling

from .request import Row

NOTHING = np.array([], np.int64)


class Adjuster:
    def __init__(self, row: Row) -> None:
        p = row.request.params
        self._row = row
        self._penalties = sampling.Penalties(
            p.repetition_penalty, p.presence_penalty, p.frequency_penalty
        )
        self._wants_counts = bool(p.presence_penalty or p.frequency_penalty)
        self._dry = sampling.Dry(p.dry_multiplier, p.dry_base, p.dry_allowed_length)
        self._biased = np.array(list(p.logit_bias), np.int64)
        self._biases = np.array(list(p.logit_bias.values()), np.float32)
        self._banned = np.unique(np.array(row.request.banned, np.int64))
        self._ends = np.array(list(row.request.ends), np.int64)
        self._text = Mirror()
        self._seen = Counts()
        self._counts = Counts()

    def change(self, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ids in rising order, and their new scores [N] in place of those in `logits` [V]."""
        row, p = self._row, self._row.request.params
        seen = written = counts = NOTHING
        if p.repetition_penalty != 1:
            seen, _ = self._seen.follow(row.ids, p.penalty_range)
        if self._wants_counts:
            written, counts = self._counts.follow(row.written.ids, p.penalty_range)
        costs = self._find_repetitions() if p.dry_multiplier else {}
        dry, refused = np.array(list(costs), np.int64), self._find_refused()
        parts = [part for part in (seen, written, dry, self._biased, refused) if part.size]
        if not parts:
            return NOTHING, np.array([], np.float32)
        ids = np.sort(parts[0]) if len(parts) == 1 else np.unique(np.concatenate(parts))
        scores = logits[ids]  # a copy [N]
        if seen.size or written.size:
            is_seen, n_written = np.zeros(len(ids), bool), np.zeros(len(ids), np.int64)
            is_seen[np.searchsorted(ids, seen) if len(parts) > 1 else slice(None)] = seen.size > 0
            if written.size:
                n_written[np.searchsorted(ids, written)] = counts
            sampling.penalize(scores, is_seen, n_written, self._penalties)
        if costs:
            scores[np.searchsorted(ids, dry)] -= np.array(list(costs.values()), np.float32)
        if self._biased.size:
            scores[np.searchsorted(ids, self._biased)] += self._biases
        if refused.size:
            scores[np.searchsorted(ids, refused)] = -np.inf
        return ids, scores

    def _find_refused(self) -> np.ndarray:
        """Ids that must not come next, each once."""
        row, p = self._row, self._row.request.params
        parts = [self._banned]
        if row.written.refused:
            parts.append(np.array(row.written.refused, np.int64))
        if len(row.written.ids) < p.min_tokens:
            parts.append(self._ends)
        if p.no_repeat_ngram:
            text = self._text.follow(row.ids)
            parts.append(sampling.ends_of_ngrams(text, p.no_repeat_ngram))
        return np.unique(np.concatenate(parts)) if len(parts) > 1 else self._banned

    def _find_repetitions(self) -> dict[int, float]:
        """What each token costs that would continue a repetition."""
        row, p = self._row, self._row.request.params
        text = self._text.follow(row.ids)[-p.dry_range :]  # [-0:] is all of it
        assert row.request.is_breaker is not None
        found = sampling.repetitions(text, row.request.is_breaker, sampling.MOST_REPEATED)
        return sampling.dry_costs(found, self._dry)


class Mirror:
    """A row's tokens as an array. A row grows at its end, and may be cut at either end."""

    def __init__(self) -> None:
        self._room = np.empty(64, np.int64)
        self._n = 0

    def follow(self, tokens: Sequence[int]) -> np.ndarray:
        """All tokens. Called before each draw, so a cut shows as a shorter row."""
        if len(tokens) < self._n:
            self._n = 0
        if len(tokens) > len(self._room):
            self._room = np.resize(self._room, 2 * len(tokens))
        self._room[self._n : len(tokens)] = tokens[self._n :]
        self._n = len(tokens)
        return self._room[: self._n]


class Counts:
    """How often each token occurs among the latest of a growing text."""

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._places: dict[int, int] = {}
        self._ids = np.empty(64, np.int64)
        self._counts = np.zeros(64, np.int64)
        self._begin = self._end = 0

    def follow(self, tokens: Sequence[int], n_latest: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids and counts. Called before each draw, so a cut shows as a shorter text."""
        if len(tokens) < self._end:
            self._forget()
        begin = max(0, len(tokens) - n_latest) if n_latest else 0
        for id in tokens[self._end :]:
            self._add(id, 1)
        for id in tokens[self._begin : begin]:
            self._add(id, -1)
        self._begin, self._end = begin, len(tokens)
        n = len(self._places)
        some = self._counts[:n] > 0
        return self._ids[:n][some], self._counts[:n][some]

    def _add(self, id: int, n: int) -> None:
        place = self._places.setdefault(id, len(self._places))
        if place == len(self._ids):
            self._ids = np.resize(self._ids, 2 * place)
            self._counts = np.resize(self._counts, 2 * place)
            self._counts[place:] = 0
        self._ids[place] = id
        self._counts[place] += n
