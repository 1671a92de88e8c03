"""Banned phrases: find one in what a row drew, and the end that may become one.

>>> phrases = Phrases(["heart of hearts"])
>>> phrases.find(b"in her Heart of Hearts"), phrases.n_uncertain(b"in her hea")
(7, 3)
"""

from collections.abc import Sequence


class Phrases:
    def __init__(self, texts: Sequence[str]) -> None:
        # Case is ignored for ASCII letters only: these are bytes.
        self._phrases = [text.encode().lower() for text in texts]
        self._beginnings = {phrase[:n] for phrase in self._phrases for n in range(1, len(phrase))}
        self._longest = max(map(len, self._phrases))

    def find(self, data: bytes) -> int | None:
        """Where the first whole phrase begins."""
        found = [at for phrase in self._phrases if (at := data.lower().find(phrase)) >= 0]
        return min(found, default=None)

    def n_uncertain(self, data: bytes) -> int:
        """How many of the last bytes may begin a phrase."""
        end = data[-self._longest :].lower()
        return max((n for n in range(1, len(end) + 1) if end[-n:] in self._beginnings), default=0)
