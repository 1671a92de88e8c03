"""What a row has written: its tokens, which of them have been sent, and their text.

The first draw may only rebuild the end of the prompt (`heal`). Tokens in which a banned phrase may
begin are held back; if it is completed they are taken back, and another is drawn in their place.
Knows no page and no turn.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..parameters import Params
from .phrases import Phrases
from .text import TextStream

if TYPE_CHECKING:
    from app.gpt2 import Logits

    from .choosing import Prediction

MOST_REFUSED = 64  # tokens in one place; then a phrase is let through


class Heal(NamedTuple):
    """A token taken back from the prompt's end; the first draw is among tokens that begin alike."""

    id: int
    data: bytes  # the token's bytes
    ids: np.ndarray  # that may be drawn, never empty


class Held(NamedTuple):
    """A token drawn and not yet sent, with what it takes to draw another in its place."""

    id: int
    data: bytes
    prediction: "Prediction | None"
    logits: "Logits | None"  # of this place alone, if it may be drawn again
    heal: Heal | None
    refused: list[int]  # ids

    @property
    def may_be_refused(self) -> bool:
        n_others = MOST_REFUSED if self.heal is None else len(self.heal.ids) - 1
        return len(self.refused) < min(MOST_REFUSED, n_others)


class Written:
    def __init__(
        self, params: Params, phrases: Phrases | None = None, heal: Heal | None = None
    ) -> None:
        self.ids: list[int] = []
        self.held: list[Held] = []  # the last of these, not yet sent
        self.heal = heal  # until the first draw
        self.refused: list[int] = []  # ids that must not come next
        self._params, self._phrases = params, phrases
        self._stream = TextStream(params.stop, params.include_stop)

    @property
    def stopped_by(self) -> str | None:
        """The stop text that ended what was sent."""
        return self._stream.stopped_by

    @property
    def is_long_enough(self) -> bool:
        params, n = self._params, len(self.ids)
        if params.max_tokens is None or n < params.max_tokens:
            return False
        is_at_end = not self.held and self._stream.ends_sentence
        return is_at_end or n >= params.max_tokens + params.finish_sentence

    # ---- drawn ----

    def rebuild(self, id: int) -> bool:
        """Whether this token is the one taken back from the prompt: then nothing new is written."""
        if self.heal is None or self.heal.id != id:
            return False
        self.heal, self.refused = None, []
        return True

    def take(
        self, id: int, data: bytes, prediction: "Prediction | None", logits: "Logits | None"
    ) -> None:
        """Add a token, not sent yet."""
        new = data if self.heal is None else data.removeprefix(self.heal.data)
        self.held.append(Held(id, new, prediction, logits, self.heal, self.refused))
        self.ids.append(id)
        self.heal, self.refused = None, []

    def take_back(self, n: int) -> Held:
        """Undo the last n tokens, none of them sent. Returns the first of them."""
        first = self.held[-n]
        del self.held[-n:], self.ids[-n:]
        self.heal, self.refused = first.heal, [*first.refused, first.id]
        return first

    # ---- banned phrases ----

    def count_banned(self) -> int:
        """How many of the last tokens to take back, so that no banned phrase is written."""
        if self._phrases is None:
            return 0
        start = self._phrases.find(self._stream.until_stop(self._held_data()))
        if start is None:
            return 0
        at = -1
        while start >= 0:
            at += 1
            start -= len(self.held[at].data)
        return len(self.held) - at if self.held[at].may_be_refused else 0

    def count_certain(self) -> int:
        """How many of the held tokens no banned phrase can begin in."""
        if self._phrases is None:
            return len(self.held)
        data = self._held_data()
        n_certain = len(data) - self._phrases.n_uncertain(data)
        for n, held in enumerate(self.held):
            n_certain -= len(held.data)
            if n_certain < 0:
                return n
        return len(self.held)

    def _held_data(self) -> bytes:
        return b"".join(held.data for held in self.held)

    # ---- sent ----

    def release(self, n: int) -> Iterator[tuple[Held, str]]:
        """The first n held tokens, each with its text; up to one that completes a stop text."""
        for _ in range(n):
            if self.stopped_by is not None:
                return
            held = self.held.pop(0)
            n_sent = len(self.ids) - len(self.held)
            self._stream.may_stop = n_sent >= self._params.min_tokens
            yield held, self._stream.push(held.data)

    def flush(self) -> str:
        """The text that was held back, which nothing will complete now."""
        return self._stream.flush()
