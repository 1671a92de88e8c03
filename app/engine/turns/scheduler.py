"""Who runs next: waiting, running, budgets. Plain Python: no tensors, no threads, no clock.

First come, first served. A request starts when there is a slot for each of its rows and every page
that they can ever need is reserved, so that memory cannot run out later. Each turn feeds all rows
that are writing one token, and cuts as much of the waiting prompts as the pace allows.

A token's keys and values are the same bits read or written, alone or in a chunk: prompts are cut
anywhere, and what a row wrote is known afterwards like what it read.
"""

from collections import deque
from collections.abc import Iterator
from operator import attrgetter
from typing import NamedTuple

from .cache import PAGE, PageCache, page_keys, pages_for
from .pace import LONGEST, Pace
from .request import Place, Request, Row

SCORED_CHUNK = 64  # tokens in a turn whose logits are all wanted: 200 kB for each
SCORED_COST = 4  # times what another token of a prompt takes, for those logits
MAX_SCORED = 4  # requests read for their logits that may hold rows and pages: others would idle


class Step(NamedTuple):
    """What a row does in this turn: its ids up to `end` are fed."""

    row: Row
    end: int

    @property
    def n_tokens(self) -> int:
        return self.end - self.row.place.n_computed


class Claim(NamedTuple):
    """Every page that a request can ever need, reserved before it starts."""

    found: list[int]  # pages of the cache that hold the prompt's beginning
    n_common: int  # pages that all its rows read, those found included, and none rewrites
    n_own: int  # of each row besides
    n_spare: int  # of each row, in place of the common ones once its window slides

    def n_fresh(self, n_rows: int) -> int:
        return self.n_common - len(self.found) + n_rows * (self.n_own + self.n_spare)


class Copy(NamedTuple):
    """The tokens of one page, wanted in another."""

    source: int
    target: int


class Scheduler:
    def __init__(
        self, cache: PageCache, window: int, max_running: int, longest: int = LONGEST
    ) -> None:
        self.cache = cache
        self.window = window
        self.max_running = max_running
        self.pace = Pace(longest)
        self.waiting: deque[Request] = deque()
        self.running: list[Request] = []

    # ---- coming ----

    def fits(self, request: Request) -> bool:
        """Could it ever start, with everything else gone?"""
        is_narrow = len(request.rows) <= self.max_running
        return is_narrow and self.pages_needed(request) <= self.cache.n_pages

    def pages_needed(self, request: Request) -> int:
        """If no page of it is cached."""
        return self._claim(request, []).n_fresh(len(request.rows))

    def add(self, request: Request) -> None:
        self.waiting.append(request)

    def admit(self) -> list[Request]:
        """Move those that can start, in order of arrival; whoever cannot holds up the rest.

        Only requests that are scored wait for each other without holding up the rest.
        """
        admitted = []
        for request in list(self.waiting):
            if request.wants_prompt and self._n_scored >= MAX_SCORED:
                continue
            if not self._reserve(request):
                break
            self.waiting.remove(request)
            self.running.append(request)
            admitted.append(request)
        return admitted

    @property
    def _n_scored(self) -> int:
        return sum(request.wants_prompt for request in self.running)

    def _reserve(self, request: Request) -> bool:
        if self.n_rows + len(request.rows) > self.max_running:
            return False
        # Holding idle pages may leave too few free ones: then start without what is known.
        for found in (self._find(request), []):
            claim = self._claim(request, found)
            self.cache.hold(found)
            if claim.n_fresh(len(request.rows)) <= self.cache.n_available:
                self._allocate(request, claim)
                return True
            self.cache.release(found)
        return False

    def _find(self, request: Request) -> list[int]:
        """The pages that hold the prompt's beginning. One token at least is left to be read."""
        if request.wants_prompt:
            return []
        n_most = (len(request.rows[0].ids) - 1) // PAGE
        return self.cache.find(request.keys[:n_most])

    def _claim(self, request: Request, found: list[int]) -> Claim:
        may_slide = request.longest > self.window
        n_pages = pages_for(self.window if may_slide else int(request.longest))
        n_common = len(request.keys) if len(request.rows) > 1 else len(found)
        return Claim(found, n_common, n_pages - n_common, n_common if may_slide else 0)

    def _allocate(self, request: Request, claim: Claim) -> None:
        common = claim.found + self.cache.take(claim.n_common - len(claim.found))
        for _ in request.rows[1:]:
            self.cache.hold(common)
        for row in request.rows:
            row.place = Place(
                pages=common + self.cache.take(claim.n_own),
                n_to_prefill=len(row.ids),
                n_shared=claim.n_common,
                may_slide=request.longest > self.window,
                spare=self.cache.take(claim.n_spare),
                keys=request.keys,
            )
        first = request.rows[0].place
        first.n_computed = len(claim.found) * PAGE
        first.n_published = len(claim.found)
        request.cached_tokens = first.n_computed

    # ---- a turn ----

    @property
    def n_rows(self) -> int:
        return sum(1 for _ in self.rows())

    def rows(self) -> Iterator[Row]:
        return (row for request in self.running for row in request.rows if not row.is_over)

    def plan(self) -> list[Step]:
        """Everyone who writes, a token each; then chunks of prompts."""
        writing = [
            Step(row, row.place.n_computed + 1)
            for row in self.rows()
            if not row.place.is_prefilling
        ]
        budget = self.pace.budget(len(writing), self.n_rows)
        return writing + self._read(budget) if budget > 0 else writing

    def _read(self, budget: int) -> list[Step]:
        """Prompts in order of arrival, but those with less to read need not wait for the first.

        The first gets half of the budget at least, so that it is read in the end. What is scored
        comes after all others, and is read a little each turn.
        """
        prompts: list[Row] = []
        scored: list[Row] = []
        for row in self._prefilling():
            (scored if row.request.wants_prompt else prompts).append(row)
        steps = []
        if prompts:
            first, *others = prompts
            shorter = sorted(
                (row for row in others if row.place.n_left < first.place.n_left),
                key=attrgetter("place.n_left"),
            )
            wanted = sum(row.place.n_left for row in shorter)
            steps.append(_chunk(first, max(budget // 2, budget - wanted)))
            budget -= steps[-1].n_tokens
            for row in [*shorter, *(row for row in others if row not in shorter)]:
                if budget <= 0:
                    break
                steps.append(_chunk(row, budget))
                budget -= steps[-1].n_tokens
        if scored:
            steps.append(_chunk(scored[0], min(SCORED_CHUNK, budget // SCORED_COST)))
        return steps

    def _prefilling(self) -> Iterator[Row]:
        """Of rows with a common prompt only the first reads it; the others fork from it."""
        for row in self.rows():
            awaits_fork = row.choice > 0 and not row.request.is_prefilled
            if row.place.is_prefilling and not awaits_fork:
                yield row

    def advance(self, step: Step) -> None:
        """The row's ids up to step.end are in its pages now."""
        step.row.place.n_computed = step.end
        self._publish(step.row)

    def _publish(self, row: Row) -> None:
        """Whole pages that have keys and that the row will not rewrite may be found now."""
        place = row.place
        n_kept = len(row.ids) - len(row.written.held)  # what is not told yet may be drawn again
        n_known = min(min(place.n_computed, n_kept) // PAGE, len(place.keys))
        if place.may_slide and not row.is_over:
            n_known = min(n_known, place.n_shared)  # a row that slides rewrites its own pages
        for at in range(place.n_published, n_known):
            self.cache.publish(place.pages[at], place.keys[at])
            place.n_published = at + 1

    def fork(self, first: Row) -> list[Copy]:
        """The common prompt is computed: the other rows go on from there."""
        first.request.is_prefilled = True
        copies = []
        at, is_partial = divmod(first.place.n_computed, PAGE)
        for row in first.request.rows[1:]:
            row.place.n_computed = first.place.n_computed
            row.place.n_published = row.place.n_shared
            if is_partial:
                copies.append(Copy(first.place.pages[at], row.place.pages[at]))
        return copies

    def take_back(self, row: Row) -> None:
        """The row has lost its last ids."""
        place = row.place
        place.n_computed = min(place.n_computed, len(row.ids))
        place.n_to_prefill = min(place.n_to_prefill, place.n_computed)

    # ---- past the window ----

    def slide(self, row: Row) -> int:
        """Half of a row that has outgrown the window stays, and it goes on; how many tokens went.

        It is the newest half, or less of it behind what the request keeps of its prompt.
        """
        place = row.place
        assert place.may_slide, "a row outgrew what it had reserved"
        n_stays = self.window // 2
        n_kept = min(row.request.params.keep, row.request.prompt_tokens, n_stays // 2)
        n_dropped = len(row.ids) - n_stays
        del row.ids[n_kept : n_kept + n_dropped]
        self.cache.release(place.pages[: place.n_shared])
        pages = place.pages[place.n_shared :] + place.spare
        self.cache.forget(pages)
        row.place = Place(pages, n_to_prefill=len(row.ids), may_slide=True, keys=page_keys(row.ids))
        return n_dropped

    # ---- going ----

    def retire(self, row: Row) -> None:
        """The row is over; its pages are free, and what was read and written stays known."""
        row.is_over = True
        row.place.keys = page_keys(row.ids[: row.place.n_computed])
        self._publish(row)
        self.cache.release(row.place.pages)
        self.cache.release(row.place.spare)
        row.place.pages, row.place.spare = [], []

    def remove(self, request: Request) -> None:
        """All its rows are over, or it never started."""
        if request in self.running:
            self.running.remove(request)
        else:
            self.waiting.remove(request)


def _chunk(row: Row, budget: int) -> Step:
    return Step(row, min(row.place.n_to_prefill, row.place.n_computed + max(1, budget)))
