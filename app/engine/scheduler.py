"""Who runs next: waiting, running, budgets. Plain Python: no tensors, no threads, no clock.

First come, first served. A request starts when there is a slot for each of its rows and every page
that they can ever need is reserved, so that memory cannot run out later. Each turn feeds all rows
that are writing one token, and cuts as much of the waiting prompts as the pace allows.

Two rules make a row's results the same bits in any company, however prompts are cut; tests hold
them. They come from one fact: a token alone is computed in another way than several in a row.
  - no cut leaves a single token;
  - only pages that were prefilled are used again, never those written token by token.
"""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from .cache import PAGE, PageCache, page_keys, pages_for
from .pace import LEAST, Pace
from .request import Request, Row

SCORED_CHUNK = 64  # tokens of a prompt whose logits are all wanted: 200 kB for each


class Step(NamedTuple):
    """What a row does in this turn: its ids up to `end` are fed."""

    row: Row
    end: int


class Copy(NamedTuple):
    """The tokens of one page, wanted in another."""

    source: int
    target: int


class Scheduler:
    def __init__(self, cache: PageCache, window: int, max_running: int) -> None:
        self.cache = cache
        self.window = window
        self.max_running = max_running
        self.pace = Pace()
        self.waiting: deque[Request] = deque()
        self.running: list[Request] = []

    # ---- coming ----

    def fits(self, request: Request) -> bool:
        """Could it ever start, with everything else gone?"""
        is_narrow = len(request.rows) <= self.max_running
        return is_narrow and self.pages_needed(request) <= self.cache.n_pages

    def pages_needed(self, request: Request) -> int:
        """Where nothing of it is known."""
        return self._n_fresh(request, n_found=0)

    def add(self, request: Request) -> None:
        self.waiting.append(request)

    def admit(self) -> list[Request]:
        """Move those that can start, in order of arrival; whoever cannot holds up the rest."""
        admitted = []
        while self.waiting and self._reserve(self.waiting[0]):
            request = self.waiting.popleft()
            self.running.append(request)
            admitted.append(request)
        return admitted

    def _reserve(self, request: Request) -> bool:
        if self.n_rows + len(request.rows) > self.max_running:
            return False
        keys = page_keys(request.rows[0].ids)
        found = [] if request.wants_prompt else self.cache.find(keys)
        found = found[: max(0, (len(request.rows[0].ids) - 2) // PAGE)]
        for pages in (found, []):  # rather without what is known than not at all
            self.cache.hold(pages)
            if self._n_fresh(request, len(pages)) <= self.cache.n_available:
                self._allocate(request, pages, keys)
                return True
            self.cache.release(pages)
        return False

    def _n_fresh(self, request: Request, n_found: int) -> int:
        """Pages to take: the common beginning once, the rest and the spare ones for each row."""
        n_common, n_own = self._n_pages(request, n_found)
        n_spare = n_common if self._longest(request) > self.window else 0
        return n_common - n_found + len(request.rows) * (n_own + n_spare)

    def _n_pages(self, request: Request, n_found: int) -> tuple[int, int]:
        """Pages that the rows have in common, and others that each has."""
        n_tokens = len(request.rows[0].ids)
        n_common = n_tokens // PAGE if len(request.rows) > 1 else n_found
        return n_common, pages_for(min(self.window, self._longest(request))) - n_common

    def _longest(self, request: Request) -> int:
        """Tokens that a row will have fed at its end, if nothing slides. The last is never fed."""
        if request.params.max_tokens is None:
            return self.window + 1
        return len(request.rows[0].ids) + max(0, request.params.max_tokens - 1)

    def _allocate(self, request: Request, found: list[int], keys: list[bytes]) -> None:
        n_common, n_own = self._n_pages(request, len(found))
        may_slide = self._longest(request) > self.window
        common = found + self.cache.take(n_common - len(found))
        for _ in request.rows[1:]:
            self.cache.hold(common)
        for row in request.rows:
            row.pages = common + self.cache.take(n_own)
            row.n_shared = n_common
            row.may_slide = may_slide
            row.spare = self.cache.take(n_common) if may_slide else []
            row.keys = keys
            row.n_to_prefill = len(row.ids)
        first = request.rows[0]
        first.n_computed = len(found) * PAGE
        first.n_published = len(found)
        request.cached_tokens = first.n_computed

    # ---- a turn ----

    @property
    def n_rows(self) -> int:
        return sum(1 for _ in self.rows())

    def rows(self) -> Iterator[Row]:
        return (row for request in self.running for row in request.rows if not row.is_over)

    def plan(self) -> list[Step]:
        """Everyone who writes, a token each; then chunks of prompts, in order of arrival."""
        writing = [Step(row, row.n_computed + 1) for row in self.rows() if not row.is_prefilling]
        budget = self.pace.budget(len(writing), self.n_rows)
        steps = writing
        for row in self._prefilling():
            if budget <= 0:
                break
            chunk = budget
            if row.request.wants_prompt:
                chunk = min(chunk, SCORED_CHUNK)
            end = cut(row.n_computed, row.n_to_prefill, chunk)
            budget -= end - row.n_computed
            steps.append(Step(row, end))
        return steps

    def _prefilling(self) -> Iterator[Row]:
        """Of rows with a common prompt only the first reads it; the others fork from it."""
        for row in self.rows():
            awaits_fork = row.choice > 0 and not row.request.is_prefilled
            if row.is_prefilling and not awaits_fork:
                yield row

    def advance(self, step: Step) -> None:
        """The row's ids up to step.end are in its pages now."""
        row = step.row
        row.n_computed = step.end
        n_whole = min(row.n_computed, row.n_to_prefill) // PAGE
        n_safe = row.n_shared if row.may_slide else n_whole  # others would be written again
        for at in range(row.n_published, min(n_whole, n_safe)):
            self.cache.publish(row.pages[at], row.keys[at])
            row.n_published = at + 1

    def fork(self, first: Row) -> list[Copy]:
        """The common prompt is computed: the other rows go on from there."""
        first.request.is_prefilled = True
        copies = []
        at, is_partial = divmod(first.n_computed, PAGE)
        for row in first.request.rows[1:]:
            row.n_computed = first.n_computed
            if is_partial:
                copies.append(Copy(first.pages[at], row.pages[at]))
        return copies

    # ---- past the window ----

    def slide(self, row: Row) -> int:
        """Keep the newer half of a row that has outgrown the window; how many tokens went."""
        n_dropped = len(row.ids) - self.window // 2
        del row.ids[:n_dropped]
        self.cache.release(row.pages[: row.n_shared])
        row.pages = row.pages[row.n_shared :] + row.spare
        row.n_shared, row.spare = 0, []
        row.n_computed, row.n_published = 0, 0
        row.n_to_prefill = len(row.ids)
        row.keys = page_keys(row.ids)
        return n_dropped

    # ---- going ----

    def retire(self, row: Row) -> None:
        """The row is over; its pages are free, and those it prefilled stay known."""
        row.is_over = True
        n_whole = min(row.n_computed, row.n_to_prefill) // PAGE
        for at in range(row.n_published, n_whole):
            self.cache.publish(row.pages[at], row.keys[at])
        self.cache.release(row.pages)
        self.cache.release(row.spare)
        row.pages, row.spare = [], []

    def remove(self, request: Request) -> None:
        """All its rows are over, or it never started."""
        if request in self.running:
            self.running.remove(request)
        else:
            self.waiting.remove(request)


def cut(begin: int, n_tokens: int, budget: int) -> int:
    """Where a chunk ends that begins at `begin`, of a prompt of n_tokens.

    >>> cut(0, 100, 64), cut(64, 100, 64), cut(0, 97, 96), cut(0, 17, 3), cut(0, 9, 3)
    (64, 100, 88, 8, 9)
    """
    end = begin + max(LEAST, budget // LEAST * LEAST)
    if end >= n_tokens:
        return n_tokens
    if n_tokens - end > 1:
        return end
    return end - LEAST if end - LEAST > begin else n_tokens
