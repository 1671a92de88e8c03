"""The vocabulary as requests need it: the bytes of ids, and tokens that begin with given bytes.

Healing: a prompt that is cut within a word ends with a token that the model has rarely seen there.
That token is taken back, and the first draw is limited to tokens that begin with its bytes.
"""

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

from app.gpt2 import Tokenizer

from ..completion import TopToken

MOST_KEPT = 16  # results of containing(), a megabyte in all


class Vocabulary:
    def __init__(self, tokenizer: Tokenizer, n_tokens: int) -> None:
        self.tokenizer = tokenizer
        self.n_tokens = n_tokens  # in the model; the tokenizer may know fewer
        special = set(tokenizer.specials.values())
        known = (id for id in range(min(n_tokens, tokenizer.n_tokens)) if id not in special)
        table = sorted((data, id) for id in known if (data := self.bytes_of(id)))
        self._sorted = [data for data, _ in table]
        self._ids = np.array([id for _, id in table], np.int64)
        self._containing: dict[tuple[str, ...], np.ndarray] = {}

    def bytes_of(self, id: int) -> bytes:
        return self.tokenizer.token_bytes(id)

    def top(self, logprobs: np.ndarray, ids: np.ndarray) -> list[TopToken]:
        return [TopToken(id, self.bytes_of(id), float(logprobs[id])) for id in ids.tolist()]

    def agreeing(self, rest: bytes) -> np.ndarray:
        """Ids of tokens that begin with `rest`.

        Tokens shorter than `rest` are left out: the model has not learned what follows them. " tim"
        and then "e" made "Once upon a time" go on as "Once upon a timelongo".
        """
        first, last = self._range(rest)
        return self._ids[first:last]

    def containing(self, texts: Sequence[str]) -> np.ndarray:
        """Which tokens [V] contain one of these. Takes some 10 ms, so results are kept."""
        key = tuple(texts)
        if key not in self._containing:
            if len(self._containing) >= MOST_KEPT:
                self._containing.clear()
            self._containing[key] = self._find_containing([text.encode() for text in texts])
        return self._containing[key]

    def _find_containing(self, parts: Sequence[bytes]) -> np.ndarray:
        found = np.zeros(self.n_tokens, bool)
        for data, id in zip(self._sorted, self._ids.tolist(), strict=True):
            found[id] = any(part in data for part in parts)
        return found

    def _range(self, prefix: bytes) -> tuple[int, int]:
        """Where the tokens that begin with `prefix` are in the sorted table."""
        first = bisect_left(self._sorted, prefix)
        # The least bytes beyond all that begin with `prefix`: its last byte, one higher.
        following = prefix.rstrip(b"\xff")
        if not following:
            return first, len(self._sorted)
        return first, bisect_left(self._sorted, following[:-1] + bytes([following[-1] + 1]))
