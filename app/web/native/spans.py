"""Where tokens are in a text, in UTF-16 units as in JavaScript and most editors, or by another
length.

"a🙂b": a is 0 to 1, the face is 1 to 3, b is 3 to 4
"""

import codecs
from collections.abc import Callable
from itertools import accumulate


def utf16_length(text: str) -> int:
    return len(text) + sum(char > "\uffff" for char in text)


def utf16_places(text: str) -> list[int]:
    """Where each character begins, and where the last one ends: "a🙂b" -> [0, 1, 3, 4]."""
    return list(accumulate((1 + (char > "\uffff") for char in text), initial=0))


class Spans:
    """The span of each token in turn. A character split across tokens belongs to the token that
    completes it."""

    def __init__(self, start: int = 0, length: Callable[[str], int] = utf16_length) -> None:
        self._end = start
        self._length = length
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def next(self, token: bytes) -> tuple[int, int]:
        start = self._end
        self._end += self._length(self._decoder.decode(token))
        return start, self._end
