"""What every paged model is fed in a turn, and what it gives: the one interface of the backends.

A model keeps keys and values in numbered pages of 32 tokens. Who owns which page is the caller's
business; the model writes where it is told. A turn may mix single tokens, chunks of prompts and
whole prompts of any rows.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from app.gpt2.config import Config

if TYPE_CHECKING:
    from app.gpt2.sampling import Draw

PAGE = 32  # tokens, as kernel.c has it too
CANDIDATES = 128  # likeliest tokens that a model names, so that most draws need not see them all


class Feed(NamedTuple):
    """The next tokens of one row."""

    ids: Sequence[int]
    past: int  # tokens of this row already in its pages
    pages: Sequence[int]  # in order; enough of them for past + len(ids) tokens
    wanted: int  # of how many of these tokens, counted from the last, logits are wanted
    draw: "Draw | None" = None  # how the next token is drawn, for models that can do it themselves


class Rows(Protocol):
    """Numbers [W, V] of which a row is had by asking for it: an array, or what fetches it."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, row: int, /) -> np.ndarray: ...


# (key, V, bar) -> the ids below V whose hash by sampling.py is at least bar, and those hashes.
Loud = Callable[[int, int, int], tuple[np.ndarray, np.ndarray]]


class Logits(NamedTuple):
    """A row for each wanted token, in the order of the feeds. Valid until the next forward."""

    logits: Rows  # [W, V] float32
    top_ids: np.ndarray  # [W, K] the likeliest, in falling order, equals by rising id
    top_scores: np.ndarray  # [W, K] float32, their logits
    drawn: np.ndarray | None = None  # [W] ids, or -1 where the model has not drawn
    loud: Loud | None = None  # a faster way than NumPy's, where the model has one


class DeviceLost(RuntimeError):
    """The device cannot be used any more in this process; a new one may use it again."""


class PagedModel(Protocol):
    config: Config
    backend: str  # native | torch
    device: str  # cpu | cuda
    instruction_set: str | None  # of the native backend: avx512-vnni | avx-vnni | avx2 | plain
    precision: str  # of the weights: float32 | bfloat16 | int8
    cache_precision: str
    same_bits: str  # "always": a row's logits do not depend on its neighbours; or "same batch"
    perplexity_loss: float | None  # growth over float32, where it has been measured; 0.001 = 0.1%
    notes: Sequence[str]  # what that found, in sentences
    page_bytes: int  # keys and values of one page, all layers
    longest: int  # tokens of prompts that a turn may take in

    def allocate(self, n_pages: int) -> None:
        """Make room for pages 0 to n_pages - 1."""
        ...

    def forward(self, feeds: Sequence[Feed]) -> Logits: ...

    def copy_page(self, source: int, target: int) -> None: ...
