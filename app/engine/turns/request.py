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
from .text import TextStream

if TYPE_CHECKING:
    from app.gpt2 import Logits

    from .adjusting import Adjuster
    from .choosing import Odds


class End(NamedTuple):
    reason: str  # stop | end_of_text
    stop: str | int | None  # the stop text or token, as the caller gave it


class Heal(NamedTuple):
    """A token taken back from the prompt's end; the first draw is among those that begin alike."""

    id: int
    data: bytes  # the token's bytes
    ids: np.ndarray  # that may be drawn: never empty


MOST_REFUSED = 64  # tokens in one place; then a phrase is let through


class Held(NamedTuple):
    """A token drawn and not yet told, and all that is needed to draw another in its place."""

    id: int
    data: bytes
    odds: "Odds | None"
    logits: "Logits | None"  # of its place alone, where it may have to be drawn again
    heal: Heal | None
    refused: list[int]  # ids

    @property
    def may_be_refused(self) -> bool:
        n_others = MOST_REFUSED if self.heal is None else len(self.heal.ids) - 1
        return len(self.refused) < min(MOST_REFUSED, n_others)


@dataclasses.dataclass(eq=False)
class Row:
    """One continuation. `ids` is what the model sees: the end of the text, a window at most."""

    request: "Request"
    choice: int
    seed: int
    ids: list[int]
    text: TextStream
    heal: Heal | None = None  # until the first draw
    n_computed: int = 0  # of ids, from the first: those whose keys and values are in the pages
    n_to_prefill: int = 0  # of ids: those to be read before it writes
    pages: list[int] = dataclasses.field(default_factory=list)
    n_shared: int = 0  # of pages, from the first: those that this row may never write again
    may_slide: bool = False
    spare: list[int] = dataclasses.field(default_factory=list)  # to replace those when it slides
    keys: list[bytes] = dataclasses.field(default_factory=list)  # of pages, as far as known
    n_published: int = 0
    written: list[int] = dataclasses.field(default_factory=list)  # ids of the continuation
    held: list["Held"] = dataclasses.field(default_factory=list)  # the last of these, not yet told
    refused: list[int] = dataclasses.field(default_factory=list)  # ids that must not come next
    adjuster: "Adjuster | None" = None  # once its scores are to be changed
    is_over: bool = False

    @property
    def is_prefilling(self) -> bool:
        return self.n_computed < self.n_to_prefill

    @property
    def n_left(self) -> int:
        """Tokens that are still to be read before it can write."""
        return self.n_to_prefill - self.n_computed

    def take_again(self, id: int) -> bool:
        """The row goes on with this token, if it is the one taken back from the prompt."""
        if self.heal is None or self.heal.id != id:
            return False
        self.ids.append(id)
        self.heal, self.refused = None, []
        return True

    def take(self, id: int, data: bytes, odds: "Odds | None", logits: "Logits | None") -> None:
        """The row goes on with this token, which is still to be told."""
        new = data if self.heal is None else data.removeprefix(self.heal.data)
        self.held.append(Held(id, new, odds, logits, self.heal, self.refused))
        self.ids.append(id)
        self.written.append(id)
        self.heal, self.refused = None, []

    def take_back(self, n: int) -> Held:
        """The last n tokens were not to be. Returns the first of them."""
        first = self.held[-n]
        del self.held[-n:], self.ids[-n:], self.written[-n:]
        self.heal, self.refused = first.heal, [*first.refused, first.id]
        return first

    @property
    def n_told(self) -> int:
        return len(self.written) - len(self.held)

    def find_banned(self) -> int:
        """How many of the last tokens to take back, so that no banned phrase is written."""
        if self.request.phrases is None:
            return 0
        data = b"".join(held.data for held in self.held)
        start = self.request.phrases.find(self.text.until_stop(data))
        if start is None:
            return 0
        at = -1
        while start >= 0:
            at += 1
            start -= len(self.held[at].data)
        return len(self.held) - at if self.held[at].may_be_refused else 0

    def count_certain(self) -> int:
        """How many of the held tokens no banned phrase can begin in."""
        if self.request.phrases is None:
            return len(self.held)
        data = b"".join(held.data for held in self.held)
        n_certain = len(data) - self.request.phrases.n_uncertain(data)
        for n, held in enumerate(self.held):
            n_certain -= len(held.data)
            if n_certain < 0:
                return n
        return len(self.held)


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
        return len(first.ids) + (first.heal is not None) + max(0, n_written - 1)

    @property
    def n_written(self) -> int:
        return sum(len(row.written) for row in self.rows)
