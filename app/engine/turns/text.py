"""Token bytes -> text as it becomes certain.

Text is uncertain while a character lacks some of its bytes, or while it may begin a stop text. Both
are held back no longer than needed.

    >>> stream = TextStream(stop=["END"])
    >>> stream.push("né".encode()[:2]), stream.push("né".encode()[2:])
    ('n', 'é')
    >>> stream.push(b"th E"), stream.push(b"N"), stream.push(b"GINE")
    ('th ', '', 'ENGIN')
    >>> stream.push(b"S ENDED"), stream.stopped_by
    ('ES ', 'END')
"""

import codecs
import re
from collections.abc import Sequence

ENOUGH = 8  # last characters, to see a sentence's end by
# A mark, what closes after it, and white space; or the end of a line.
SENTENCE_END = re.compile(r"""[.!?…。！？]["'”’»)\]」』）]*\s*\Z|\n\s*\Z""")


class TextStream:
    def __init__(self, stop: Sequence[str] = (), include_stop: bool = False) -> None:
        self._stop = stop
        self._include_stop = include_stop
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""
        self._end = ""  # the last characters, those held back included
        self.may_stop = True
        self.stopped_by: str | None = None

    def push(self, data: bytes) -> str:
        """The text that these bytes make certain; check stopped_by afterwards."""
        new = self._decoder.decode(data)
        self._end = (self._end + new)[-ENOUGH:]
        return self._settle(new)

    @property
    def ends_sentence(self) -> bool:
        return SENTENCE_END.search(self._end) is not None

    def until_stop(self, data: bytes) -> bytes:
        """The bytes of `data`, which come next, that precede a stop text."""
        if not self.may_stop or self._include_stop:
            return data
        text = self._held + data.decode(errors="ignore")
        found = self._first_stop(text)
        return data if found is None else text[len(self._held) : found[0]].encode()

    def flush(self) -> str:
        """The text still held back, at the end."""
        text = self._settle(self._decoder.decode(b"", final=True))
        held, self._held = self._held, ""
        return text + held

    def _settle(self, new: str) -> str:
        if self.stopped_by is not None:
            return ""
        text = self._held + new
        if not self._stop or not self.may_stop:
            return text
        if (found := self._first_stop(text)) is not None:
            start, self.stopped_by = found
            self._held = ""
            return text[: start + len(self.stopped_by) * self._include_stop]
        certain = len(text) - self._n_uncertain(text)
        self._held = text[certain:]
        return text[:certain]

    def _first_stop(self, text: str) -> tuple[int, str] | None:
        """The stop text that ends first, so that it does not matter how the text was cut."""
        found = [(text.find(stop), stop) for stop in self._stop if stop in text]
        return min(found, key=lambda at: (at[0] + len(at[1]), at[0]), default=None)

    def _n_uncertain(self, text: str) -> int:
        """How many of the last characters may begin a stop text."""
        longest = max(map(len, self._stop), default=1) - 1
        for n in range(min(longest, len(text)), 0, -1):
            if any(stop.startswith(text[-n:]) for stop in self._stop):
                return n
        return 0
