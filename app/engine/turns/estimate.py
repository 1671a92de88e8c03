"""How long a request will wait: an estimate. Plain arithmetic; no clock, no threads."""

import heapq
from collections.abc import Iterable
from typing import NamedTuple


class Need(NamedTuple):
    """What a request holds while it runs, and for how long: all of it, or what is left."""

    seconds: float
    rows: int
    pages: int


def starts(running: Iterable[Need], waiting: Iterable[Need], rows: int, pages: int) -> list[float]:
    """In how many seconds each of `waiting` starts, in their order, with so much free now.

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
