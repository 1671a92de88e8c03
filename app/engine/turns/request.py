"""One request inside the engine: its rows, and what each has come to.

Knows no queue and no model: the scheduler moves requests, the lane feeds and samples their rows.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..completion import Event, PromptToken
from ..parameters import Params
from .phrases import Phrases
from .written import Held, Written

if TYPE_CHECKING:
    from app.gpt2 import Logits

    from .adjusting import Adjuster
    from .choosing import Odds


class End(NamedTuple):
    reason: str  # stop | end_of_text
    stop: str | int | None  # the stop text or token, as the caller gave it


@dataclasses.dataclass(eq=False)
class Place:
    """Where a row's keys and values are, and how far they go. Written by the scheduler only."""

    pages: list[int] = dataclasses.field(default_factory=list)
    n_computed: int = 0  # of the row's ids, from the first: those that are in the pages
    n_to_prefill: int = 0  # of the row's ids: those to be read before it writes
    n_shared: int = 0  # of pages, from the first: those that this row must never write again
    may_slide: bool = False
    spare: list[int] = dataclasses.field(default_factory=list)  # for the shared ones, when it does
    keys: list[bytes] = dataclasses.field(default_factory=list)  # of pages, as far as known
    n_published: int = 0

    @property
    def is_prefilling(self) -> bool:
        return self.n_computed < self.n_to_prefill

    @property
    def n_left(self) -> int:
        """Tokens still to be read before the row can write."""
        return self.n_to_prefill - self.n_computed


@dataclasses.dataclass(eq=False)
class Row:
    """One continuation. `ids` is what the model sees: the end of the text, a window at most."""

    request: "Request"
    choice: int
    seed: int
    ids: list[int]
    written: Written
    place: Place = dataclasses.field(default_factory=Place)
    adjuster: "Adjuster | None" = None  # once its scores are to be changed
    is_over: bool = False

    def rebuild(self, id: int) -> bool:
        """Go on with this token if it is the one taken back from the prompt."""
        if not self.written.rebuild(id):
            return False
        self.ids.append(id)
        return True

    def take(self, id: int, data: bytes, odds: "Odds | None", logits: "Logits | None") -> None:
        """Go on with this token, which is still to be told."""
        self.written.take(id, data, odds, logits)
        self.ids.append(id)

    def take_back(self, n: int) -> Held:
        """Undo the last n tokens, none of them told. Returns the first of them."""
        del self.ids[-n:]
        return self.written.take_back(n)


@dataclasses.dataclass(eq=False)
class Request:
    id: str
    params: Params
    put: Callable[[Event], None]  # where its events go
    submitted: float  # by the engine's clock, as all times here
    deadline: float
    prompt_tokens: int
    n_dropped: int  # of the prompt's tokens: those that did not fit in the window
    context_start: int  # the first character that the model sees
    ends: dict[int, End]  # tokens that end a row
    banned: list[int]
    keys: list[bytes]  # of the prompt's whole pages
    phrases: Phrases | None = None  # that must not be written
    is_breaker: np.ndarray | None = None  # [V] tokens that DRY's repetitions stop at
    rows: list[Row] = dataclasses.field(default_factory=list)
    ahead: int | None = None  # requests before it, as last told
    cached_tokens: int = 0
    prompt: list[PromptToken] = dataclasses.field(default_factory=list)
    is_prefilled: bool = False  # the rows have been forked from the first
    started: float | None = None
    first_token: float | None = None
    is_cancelled: bool = False  # set from any thread
    is_over: bool = False

    @property
    def wants_prompt(self) -> bool:
        """Each token of the prompt is still to be given its probability."""
        return self.params.prompt_logprobs is not None and not self.is_prefilled

    @property
    def longest(self) -> float:
        """The most tokens that a row can have fed, if its window never slides.

        A healed prompt may draw the token again that was taken back before it writes anything. The
        last token drawn is never fed.
        """
        if self.params.max_tokens is None:
            return math.inf
        first = self.rows[0]
        n_written = self.params.max_tokens + self.params.finish_sentence
        return len(first.ids) + (first.written.heal is not None) + max(0, n_written - 1)

    @property
    def n_written(self) -> int:
        return sum(len(row.written.ids) for row in self.rows)
