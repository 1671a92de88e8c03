"""Token files -> the rows of each step. Which rows is a function of (seed, step) and nothing else,

so a run that is taken up again needs no position, and no row is lost or seen twice in an epoch.
Knows no model.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import chain

import numpy as np

from app.training.corpus.corpus import Corpus
from app.training.corpus.tokens import TokenFile
from app.training.learn.plan import Plan

IGNORED = -100  # the label of a token that is not learned: padding


class Stream:
    """Rows of `block` tokens from all documents end to end, each epoch in an order of its own.

    The stream is taken as a ring, cut at a place drawn anew each epoch: the up to block - 1 tokens
    that fill no row are others every time.
    """

    def __init__(self, tokens: TokenFile, block: int, seed: int) -> None:
        self.ids, self.block, self.seed = tokens.ids, min(block, len(tokens) - 1), seed
        self.n_rows = len(self.ids) // self.block
        self._epoch = lru_cache(maxsize=2)(self._shuffled)

    def _shuffled(self, epoch: int) -> np.ndarray:
        draw = np.random.default_rng((self.seed, epoch))
        return draw.permutation(self.n_rows) * self.block + draw.integers(self.block)

    def rows(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and labels, both [count, block]; row numbers go on through the epochs."""
        places = [divmod(n, self.n_rows) for n in range(first, first + count)]
        starts = np.array([self._epoch(epoch)[n] for epoch, n in places])
        index = starts[:, None] + np.arange(self.block + 1)  # [count, block + 1]
        ids = self.ids[index % len(self.ids)].astype(np.int64)
        return ids[:, :-1], ids[:, 1:]


class Lines:
    """A row is one document, at most `block` tokens of it; shorter ones are padded."""

    def __init__(self, tokens: TokenFile, block: int, seed: int, pad: int) -> None:
        self.ids, self.block, self.seed, self.pad = tokens.ids, block, seed, pad
        self.bounds = np.append(tokens.starts, len(tokens)).astype(np.int64)
        self.n_rows = len(tokens.starts)
        self._epoch = lru_cache(maxsize=2)(self._shuffled)

    def _shuffled(self, epoch: int) -> np.ndarray:
        return np.random.default_rng((self.seed, epoch)).permutation(self.n_rows)

    def rows(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and labels, both [count, longest]; the labels of padding are IGNORED."""
        places = [divmod(n, self.n_rows) for n in range(first, first + count)]
        firsts = (self._epoch(epoch)[n] for epoch, n in places)
        return self.padded([next(self._pieces(document)) for document in firsts])

    def every_piece(self) -> Iterator[slice]:
        """All documents, in order; every token but the first of each is a label once."""
        return chain.from_iterable(map(self._pieces, range(self.n_rows)))

    def _pieces(self, document: int) -> Iterator[slice]:
        """A document in rows; where one ends the next begins with the same token."""
        start, end = self.bounds[document : document + 2].tolist()
        for at in range(start, max(start + 1, end - 1), self.block):
            yield slice(at, min(at + self.block + 1, end))

    def padded(self, pieces: list[slice]) -> tuple[np.ndarray, np.ndarray]:
        texts = [self.ids[piece] for piece in pieces]
        longest = max(len(text) for text in texts)
        ids = np.full((len(texts), longest), self.pad, np.int64)
        labels = np.full_like(ids, IGNORED)
        for row, text in enumerate(texts):
            ids[row, : len(text)] = labels[row, : len(text)] = text
        return ids[:, :-1], labels[:, 1:]


class Batches:
    """The micro-batches of each step for one of `world` processes.

    Two processes with half the batch take together the very rows that one process takes alone.
    """

    def __init__(self, corpus: Corpus, plan: Plan, rank: int, world: int) -> None:
        config, tokens = plan.config, corpus.train
        if config.line_by_line:
            self.short: Stream | Lines = Lines(tokens, plan.block, config.seed, corpus.pad)
        else:
            self.short = Stream(tokens, plan.block, config.seed)
        self.long = Stream(tokens, plan.window, config.seed + 1) if config.long_every else None
        self.batch, self.accumulate, self.every = plan.batch, config.accumulate, config.long_every
        self.rank, self.world = rank, world
        self.n_vocabulary = corpus.tokenizer.n_tokens

    def at(self, step: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """(inputs, labels) of each micro-batch of `step`, counted from 0."""
        n_long = step // self.every if self.every else 0  # long steps before this one
        if self.long is not None and step % self.every == self.every - 1:
            rows = max(1, self.batch * self.short.block // self.long.block)
            return self._cut(self.long, n_long, rows)
        return self._cut(self.short, step - n_long, self.batch)

    def _cut(self, source: Stream | Lines, number: int, rows: int) -> list:
        first = number * self.accumulate * self.world * rows
        micro = ((m * self.world + self.rank) * rows for m in range(self.accumulate))
        return [source.rows(first + start, rows) for start in micro]
