"""The interface of the backends: what a paged model is fed in a turn, and what it returns.

A model keeps keys and values in numbered pages of 32 tokens, and writes to the pages that the
caller names. A turn may mix single tokens, chunks and whole prompts of any rows.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from app.gpt2.config import Config

if TYPE_CHECKING:
    from app.gpt2.sampling import Draw

PAGE = 32  # tokens; the same as in kernel.c
CANDIDATES = 128  # likeliest tokens that a model returns; most draws need no others


class Feed(NamedTuple):
    """The next tokens of one row."""

    ids: Sequence[int]
    past: int  # tokens of this row already in its pages
    pages: Sequence[int]  # in order; enough of them for past + len(ids) tokens
    wanted: int  # for how many of these tokens, from the last, logits are wanted
    draw: "Draw | None" = None  # how to draw the next token, for models that can draw themselves
    n_guesses: int = 0  # of the last ids; `draw` is for the first of them, and each draws another


class Rows(Protocol):
    """Numbers [W, V], read row by row: an array, or something that fetches rows."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, row: int, /) -> np.ndarray: ...


# A draw, logits [V], the likeliest ids and their scores [K], ids that get other scores [N] -> an
# id, or -1 if sampling.py must draw.
DrawRow = Callable[["Draw", np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray], int]


class Logits(NamedTuple):
    """A row for each wanted token, in the order of the feeds. Valid until the next forward."""

    logits: Rows  # [W, V] float32
    top_ids: np.ndarray  # [W, K] the likeliest first, equals by rising id
    top_scores: np.ndarray  # [W, K] float32, their logits
    drawn: np.ndarray | None = None  # [W] ids; -1 if the model has not drawn
    draw_row: DrawRow | None = None  # in C, for rows that the model has not drawn; native/drawer.py


class DeviceLost(RuntimeError):
    """This process cannot use the device any more; a new process may."""


class PagedModel(Protocol):
    config: Config
    backend: str  # native | torch
    device: str  # cpu | cuda
    instruction_set: str | None  # of the native backend: avx512-vnni | avx-vnni | avx2 | plain
    threads: int  # of the CPU that compute
    precision: str  # of the weights: float32 | bfloat16 | int8
    cache_precision: str
    same_bits: str  # "always" if a row's logits never depend on its neighbours, or "same batch"
    perplexity_loss: float | None  # over float32, if measured; 0.001 is 0.1% worse
    notes: Sequence[str]  # what measuring it found, in sentences
    page_bytes: int  # keys and values of one page, all layers
    longest: int  # tokens of prompts in a turn
    n_guesses: int  # that a lone row may feed besides its last token, for little more time

    def allocate(self, n_pages: int) -> None:
        """Make room for pages 0 to n_pages - 1."""
        ...

    def forward(self, feeds: Sequence[Feed]) -> Logits: ...

    def copy_page(self, source: int, target: int) -> None: ...
