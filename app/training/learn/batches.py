"""The rows of each step, from token files. Knows no model.

The rows depend on (seed, step) only, so a resumed run needs no position, and no row is lost or seen
twice in an epoch.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from app.training.corpus.corpus import Corpus
from app.training.corpus.tokens import TokenFile
from app.training.learn.plan import Plan

IGNORED = -100  # the label of a token that is not learned: padding
Micro = list[tuple[np.ndarray, np.ndarray]]  # inputs and labels of a step's micro-batches


class Stream:
    """Rows of `block` tokens from all documents end to end, in a new order each epoch.

    The stream is a ring, cut at a random place each epoch, so that different tokens are left over
    at its end. `reshuffle` also shuffles the documents each epoch, so that other texts meet in a
    row.
    """

    def __init__(self, tokens: TokenFile, block: int, seed: int, reshuffle: bool = False) -> None:
        self.ids, self.block, self.seed = tokens.ids, min(block, len(tokens) - 1), seed
        self.n_rows = len(self.ids) // self.block
        # What precedes the first document, if anything, stays with it.
        self.starts = np.array(tokens.starts[1:] if reshuffle else (), np.int64)
        self._epoch = lru_cache(maxsize=2)(self._shuffled)
        self._laid = lru_cache(maxsize=2)(self._documents)

    def _shuffled(self, epoch: int) -> np.ndarray:
        draw = np.random.default_rng((self.seed, epoch))
        return draw.permutation(self.n_rows) * self.block + draw.integers(self.block)

    def _documents(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Where the epoch's documents begin: in its stream, and in the file."""
        if not len(self.starts):
            return np.zeros(1, np.int64), np.zeros(1, np.int64)
        bounds = np.concatenate(([0], self.starts, [len(self.ids)]))
        order = np.random.default_rng((self.seed, epoch, 1)).permutation(len(bounds) - 1)
        ends = np.cumsum(np.diff(bounds)[order])
        return np.concatenate(([0], ends[:-1])), bounds[order]

    def rows(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and labels, both [count, block]; rows are numbered through all epochs."""
        ids = np.empty((count, self.block + 1), np.int64)
        for row in range(count):
            epoch, n = divmod(first + row, self.n_rows)
            self._fill(ids[row], int(self._epoch(epoch)[n]), *self._laid(epoch))
        return ids[:, :-1], ids[:, 1:]

    def _fill(self, row: np.ndarray, at: int, begins: np.ndarray, sources: np.ndarray) -> None:
        """Fill a row from `at` on. The stream's pieces begin at `begins`, and lie at `sources`."""
        filled = 0
        while filled < len(row):
            at %= len(self.ids)
            piece = int(np.searchsorted(begins, at, side="right")) - 1
            end = int(begins[piece + 1]) if piece + 1 < len(begins) else len(self.ids)
            taken = min(end - at, len(row) - filled)
            source = int(sources[piece]) + at - int(begins[piece])
            row[filled : filled + taken] = self.ids[source : source + taken]
            at, filled = at + taken, filled + taken


class Lines:
    """A row is a document, or part of a longer one; shorter rows are padded."""

    def __init__(self, tokens: TokenFile, block: int, seed: int, pad: int) -> None:
        self.ids, self.block, self.seed, self.pad = tokens.ids, block, seed, pad
        self.begins, self.ends = tokens.pieces(block)
        self.n_rows = len(self.begins)
        self._epoch = lru_cache(maxsize=2)(self._shuffled)

    def _shuffled(self, epoch: int) -> np.ndarray:
        return np.random.default_rng((self.seed, epoch)).permutation(self.n_rows)

    def rows(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and labels, both [count, longest]; the labels of padding are IGNORED."""
        places = [divmod(n, self.n_rows) for n in range(first, first + count)]
        return self.padded([self._piece(self._epoch(epoch)[n]) for epoch, n in places])

    def every_piece(self) -> Iterator[slice]:
        """All documents, in order."""
        return map(self._piece, range(self.n_rows))

    def _piece(self, n: int) -> slice:
        return slice(int(self.begins[n]), int(self.ends[n]))

    def padded(self, pieces: list[slice]) -> tuple[np.ndarray, np.ndarray]:
        texts = [self.ids[piece] for piece in pieces]
        longest = max(len(text) for text in texts)
        ids = np.full((len(texts), longest), self.pad, np.int64)
        labels = np.full_like(ids, IGNORED)
        for row, text in enumerate(texts):
            ids[row, : len(text)] = labels[row, : len(text)] = text
        return ids[:, :-1], labels[:, 1:]


class Batches:
    """The micro-batches of each step, for one of `world` processes.

    Two processes with half the batch each take the same rows as one process alone.
    """

    def __init__(self, corpus: Corpus, plan: Plan, rank: int, world: int) -> None:
        config, tokens = plan.config, corpus.train
        if config.line_by_line:
            self.short: Stream | Lines = Lines(tokens, plan.block, config.seed, corpus.pad)
        else:
            self.short = Stream(tokens, plan.block, config.seed, config.reshuffle)
        self.long: Stream | None = None
        if config.long_every:
            self.long = Stream(tokens, plan.window, config.seed + 1, config.reshuffle)
        self.batch, self.accumulate, self.every = plan.batch, config.accumulate, config.long_every
        self.rank, self.world = rank, world
        self.n_vocabulary = corpus.tokenizer.n_tokens
        self._ahead: tuple[int, Micro] = (-1, [])

    def prepare(self, step: int) -> None:
        """Prepare the rows of `step` while a GPU still works on the step before."""
        self._ahead = step, self._of(step)

    def at(self, step: int) -> Micro:
        """(inputs, labels) of each micro-batch of `step`, counted from 0."""
        ahead, micro = self._ahead
        return micro if ahead == step else self._of(step)

    def _of(self, step: int) -> Micro:
        n_long = step // self.every if self.every else 0  # long steps before this one
        if self.long is not None and step % self.every == self.every - 1:
            rows = max(1, self.batch * self.short.block // self.long.block)
            return self._cut(self.long, n_long, rows)
        return self._cut(self.short, step - n_long, self.batch)

    def _cut(self, source: Stream | Lines, number: int, rows: int) -> Micro:
        first = number * self.accumulate * self.world * rows
        micro = ((m * self.world + self.rank) * rows for m in range(self.accumulate))
        return [source.rows(first + start, rows) for start in micro]
