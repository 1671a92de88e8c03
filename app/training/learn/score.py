"""How well a model predicts a text: exact, with every token counted once."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn

from app.training.corpus.corpus import Corpus
from app.training.learn.batches import IGNORED, Lines
from app.training.learn.plan import Plan


@dataclass(frozen=True)
class Score:
    nats: float  # -log of the probability of the whole text
    tokens: int
    bytes: int  # of the text itself; separators have none

    @property
    def loss(self) -> float:
        return self.nats / self.tokens

    @property
    def perplexity(self) -> float:
        return math.exp(min(self.loss, 700.0))

    @property
    def bits_per_byte(self) -> float:
        """Independent of the vocabulary, so it compares models of any kind."""
        return self.nats / math.log(2) / max(1, self.bytes)

    def __add__(self, other: "Score") -> "Score":
        nats, tokens = self.nats + other.nats, self.tokens + other.tokens
        return Score(nats, tokens, self.bytes + other.bytes)

    def measures(self) -> dict[str, float]:
        return {"perplexity": self.perplexity, "bits_per_byte": self.bits_per_byte}


Rows = Iterator[tuple[np.ndarray, np.ndarray]]


def stream_rows(ids: np.ndarray, window: int, stride: int, batch: int) -> Rows:
    """Windows over the stream, `stride` apart; each token is a label in the first that holds it."""
    n_labels = len(ids) - 1
    starts = range(0, max(1, n_labels - (window - stride)), stride)
    for first in range(0, len(starts), batch):
        group = starts[first : first + batch]
        longest = min(window, n_labels - group[0])
        inputs = np.zeros((len(group), longest), np.int64)
        labels = np.full((len(group), longest), IGNORED, np.int64)
        for row, start in enumerate(group):
            piece = ids[start : start + window + 1].astype(np.int64)
            inputs[row, : len(piece) - 1] = piece[:-1]
            seen = 0 if start == 0 else window - stride
            labels[row, seen : len(piece) - 1] = piece[1 + seen :]
        yield inputs, labels


def line_rows(lines: Lines, batch: int) -> Rows:
    pieces = lines.every_piece()
    while group := list(islice(pieces, batch)):
        yield lines.padded(group)


def score(
    loss: Callable[[Tensor, Tensor], Tensor], rows: Rows, n_bytes: int, device: torch.device
) -> Score:
    """`loss` returns the summed nats of a batch; the sums are added up in double precision."""
    nats, tokens = 0.0, 0
    with torch.no_grad():
        for inputs, labels in rows:
            x, y = torch.from_numpy(inputs), torch.from_numpy(labels)
            nats += float(loss(x.to(device), y.to(device)))
            tokens += int((labels != IGNORED).sum())
    return Score(nats, tokens, n_bytes)


def validate(loss: nn.Module, corpus: Corpus, plan: Plan, device: torch.device) -> Score | None:
    """The score of the validation part, during training; None if it is empty."""
    tokens = corpus.validation
    if len(tokens) < 2:
        return None
    if plan.config.line_by_line:
        rows = line_rows(Lines(tokens, plan.block, plan.config.seed, corpus.pad), plan.batch)
    else:
        rows = stream_rows(tokens.ids, plan.block, plan.block, plan.batch)
    was = loss.training
    loss.eval()
    try:
        return score(loss, rows, tokens.bytes, device)
    finally:
        loss.train(was)
