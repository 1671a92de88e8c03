"""A request inside the engine, and its rows. Knows no queue and no model."""

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..completion import Event, PromptToken
from ..parameters import Params
from .guesses import Guesser
from .phrases import Phrases
from .written import Held, Written

if TYPE_CHECKING:
    from app.gpt2 import Logits

    from .adjusting import Adjuster
    from .choosing import Prediction


class End(NamedTuple):
    reason: str  # stop | end_of_text
    stop: str | int | None  # the stop text or token that the caller gave


@dataclasses.dataclass(eq=False)
class Place:
    """Where a row's keys and values are, and how far they reach. Only the scheduler writes it."""

    pages: list[int] = dataclasses.field(default_factory=list)
    n_computed: int = 0  # of the row's ids: already in the pages
    n_to_prefill: int = 0  # of the row's ids: to be read before it writes
    n_shared: int = 0  # of the first pages: shared, not to be written again
    may_slide: bool = False
    spare: list[int] = dataclasses.field(default_factory=list)  # replace them when it slides
    keys: list[bytes] = dataclasses.field(default_factory=list)  # of its pages, as far as known
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
    """One continuation. `ids` is what the model sees: at most a window, from the text's end."""

    request: "Request"
    choice: int
    seed: int
    ids: list[int]
    written: Written
    told_before: list[int] = dataclasses.field(default_factory=list)  # by an engine that was lost
    place: Place = dataclasses.field(default_factory=Place)
    guesser: Guesser = dataclasses.field(default_factory=Guesser)
    adjuster: "Adjuster | None" = None  # made when scores must be changed
    is_over: bool = False

    @property
    def is_behind(self) -> bool:
        """What comes next has been sent before."""
        written = self.written
        is_certain = written.heal is None and not written.held
        return is_certain and len(self.told_before) > len(written.ids)

    def rebuild(self, id: int) -> bool:
        """Go on with this token if it is the one that was taken back from the prompt."""
        if not self.written.rebuild(id):
            return False
        self.ids.append(id)
        return True

    def take(
        self, id: int, data: bytes, prediction: "Prediction | None", logits: "Logits | None"
    ) -> None:
        """Go on with this token, not sent yet."""
        self.written.take(id, data, prediction, logits)
        self.ids.append(id)

    def take_back(self, n: int) -> Held:
        """Undo the last n tokens, none of them sent. Returns the first of them."""
        del self.ids[-n:]
        return self.written.take_back(n)


@dataclasses.dataclass(eq=False)
class Request:
    id: str
    params: Params
    put: Callable[[Event], None]  # where its events go
    submitted: float  # on the monotonic clock, like all times here
    deadline: float
    prompt_tokens: int
    n_dropped: int  # tokens of the prompt that did not fit in the window
    context_start: int  # the first character that the model sees
    ends: dict[int, End]  # tokens that end a row
    banned: list[int]
    keys: list[bytes]  # of the prompt's whole pages
    phrases: Phrases | None = None  # banned ones
    is_breaker: np.ndarray | None = None  # [V] the tokens that end a repetition for DRY
    rows: list[Row] = dataclasses.field(default_factory=list)
    ahead: int | None = None  # requests before it, as last sent to its reader
    cached_tokens: int = 0
    prompt: list[PromptToken] = dataclasses.field(default_factory=list)
    is_prefilled: bool = False  # the other rows have forked from the first
    started: float | None = None
    first_token: float | None = None
    is_cancelled: bool = False  # set from any thread
    is_over: bool = False

    @property
    def wants_prompt(self) -> bool:
        """The prompt's tokens are still to be scored."""
        return self.params.prompt_logprobs is not None and not self.is_prefilled

    @property
    def longest(self) -> float:
        """The most tokens that a row can feed, if its window never slides.

        A healed prompt may first draw again the token that was taken back. The last token drawn is
        never fed.
        """
        if self.params.max_tokens is None:
            return math.inf
        first = self.rows[0]
        n_written = self.params.max_tokens + self.params.finish_sentence
        return len(first.ids) + (first.written.heal is not None) + max(0, n_written - 1)

    @property
    def n_written(self) -> int:
        return sum(len(row.written.ids) for row in self.rows)
