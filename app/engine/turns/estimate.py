"""Estimate how long a request will wait. Plain arithmetic."""

import dataclasses
import heapq
from collections.abc import Iterable
from typing import NamedTuple


@dataclasses.dataclass
class Speed:
    """How fast a model has lately been, and how long its texts were."""

    written_per_s: float = 100.0  # tokens, all rows together; a guess until measured
    read_per_s: float = 400.0  # tokens of prompts
    scored_per_s: float = 100.0  # tokens of prompts whose logits are all wanted
    length: float = 256.0  # tokens of a continuation

    def note_turn(self, n_written: int, n_read: int, n_scored: int, seconds: float) -> None:
        if n_written:
            self.written_per_s += 0.05 * (n_written / seconds - self.written_per_s)
        if n_read:
            self.read_per_s += 0.2 * (n_read / seconds - self.read_per_s)
        if n_scored:
            self.scored_per_s += 0.2 * (n_scored / seconds - self.scored_per_s)

    def note_length(self, n_tokens: int) -> None:
        self.length += 0.05 * (n_tokens - self.length)

    def tokens_left(self, n_written: int, max_tokens: int | None) -> float:
        """Most texts end long before max_tokens, so expect another text of mean length at most.

        >>> Speed(length=200).tokens_left(0, max_tokens=4096)
        200
        >>> Speed(length=200).tokens_left(4000, max_tokens=4096)
        96
        """
        if max_tokens is None:
            return self.length
        return max(1, min(self.length, max_tokens - n_written))


class Need(NamedTuple):
    """What a request holds while it runs, and for how many more seconds."""

    seconds: float
    rows: int
    pages: int


def starts(running: Iterable[Need], waiting: Iterable[Need], rows: int, pages: int) -> list[float]:
    """In how many seconds each of `waiting` starts, in order, given the free rows and pages.

    >>> starts([Need(5, 1, 8), Need(2, 1, 8)], [Need(9, 1, 8), Need(9, 1, 8)], rows=0, pages=0)
    [2, 5]
    """
    now, found = 0.0, []
    ends = list(running)
    heapq.heapify(ends)
    for need in waiting:
        while ends and (rows < need.rows or pages < need.pages):
            now, freed_rows, freed_pages = heapq.heappop(ends)
            rows, pages = rows + freed_rows, pages + freed_pages
        rows, pages = rows - need.rows, pages - need.pages
        heapq.heappush(ends, Need(now + need.seconds, need.rows, need.pages))
        found.append(now)
    return found
