"""Guess what a row writes next from its own text, so that one turn can check several tokens.

A guess counts only if the row draws that very token in its place, so the text is the same with and
without guesses. A wrong one costs time: the first turn makes one guess, and each turn after it
twice as many if all were right, else one. tests/benchmarks/drafts.py measures the gain.
"""

from collections.abc import Sequence

ALIKE = 3  # last tokens that must have occurred before; with 6, prose gains 1% instead of 5%
LOOKED_AT = 512  # tokens of a prompt, at most


class Guesser:
    """Guesses for one row."""

    def __init__(self) -> None:
        self._after: dict[tuple[int, ...], int] = {}  # tokens -> where what followed them begins
        self._n_known = 0  # ids that are in it
        self._n_next = 1

    def guess(self, ids: Sequence[int], most: int) -> list[int]:
        """What followed the last tokens where they occurred before, repeated if that is short.

        >>> guesser = Guesser()
        >>> guesser.guess([7, 1, 2, 3, 8, 9, 1, 2, 3], most=4)
        [8]
        >>> guesser.learn(n_right=1, n=1)
        >>> guesser.guess([7, 1, 2, 3, 8, 9, 1, 2, 3, 8], most=4)
        [9, 1]
        """
        if len(ids) < self._n_known:  # its window slid, or tokens were taken back
            self._after.clear()
            self._n_known = 0
        for end in range(max(ALIKE, self._n_known, len(ids) - LOOKED_AT), len(ids)):
            self._after[tuple(ids[end - ALIKE : end])] = end
        self._n_known = len(ids)
        begin = self._after.get(tuple(ids[-ALIKE:]))
        if begin is None:
            return []
        period = len(ids) - begin
        return [ids[begin + i % period] for i in range(min(most, self._n_next))]

    def learn(self, n_right: int, n: int) -> None:
        """How many of the last n guesses were right."""
        self._n_next = 2 * n if n_right == n else 1
