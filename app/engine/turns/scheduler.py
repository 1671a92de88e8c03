"""Who runs next. Plain Python: no tensors, no threads, no clock.

First come, first served. A request starts once there is a slot for each of its rows and every page
that they can ever need is reserved, so memory cannot run out later. Each turn feeds one token to
every row that is writing, and as much of the waiting prompts as the pace allows.

A token's keys and values are the same bits whether read or written, alone or in a chunk. So prompts
may be cut anywhere, and pages that a row wrote are reused like pages that it read.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple

from .cache import PAGE, PageCache, page_keys, pages_for
from .pace import LONGEST, Pace
from .request import Place, Request, Row

SCORED_CHUNK = 64  # tokens in a turn whose logits are all wanted, 200 kB each
SCORED_COST = 4  # a token whose logits are wanted takes as long as this many others
MAX_SCORED = 4  # such requests that may run at once; more would only hold rows and pages


class Step(NamedTuple):
    """What a row does in this turn: feed its ids up to `end`, and then what it may write next."""

    row: Row
    end: int
    guesses: Sequence[int] = ()

    @property
    def n_tokens(self) -> int:
        return self.end - self.row.place.n_computed


class Claim(NamedTuple):
    """The pages that a request reserves before it starts: all it can ever need."""

    found: list[int]  # cached pages that hold the prompt's beginning
    n_common: int  # pages that all rows read and none rewrites, those found included
    n_own: int  # other pages of each row
    n_spare: int  # of each row, to replace the common ones once its window slides

    def n_fresh(self, n_rows: int) -> int:
        return self.n_common - len(self.found) + n_rows * (self.n_own + self.n_spare)


class Copy(NamedTuple):
    """Copy one page into another."""

    source: int
    target: int


class Scheduler:
    def __init__(
        self,
        cache: PageCache,
        window: int,
        max_running: int,
        longest: int = LONGEST,
        n_guesses: int = 0,
    ) -> None:
        self.cache = cache
        self.window = window
        self.max_running = max_running
        self.n_guesses = n_guesses  # tokens that a lone row may guess in a turn
        self.pace = Pace(longest)
        self.waiting: deque[Request] = deque()
        self.running: list[Request] = []

    # ---- coming ----

    def fits(self, request: Request) -> bool:
        """Whether it could start if nothing else ran."""
        is_narrow = len(request.rows) <= self.max_running
        return is_narrow and self.pages_needed(request) <= self.cache.n_pages

    def pages_needed(self, request: Request) -> int:
        """Pages it needs if none of it is cached."""
        return self._claim(request, []).n_fresh(len(request.rows))

    def add(self, request: Request) -> None:
        self.waiting.append(request)

    def admit(self) -> list[Request]:
        """Start requests in order of arrival; one that cannot start holds up those behind it.

        Scored requests wait for each other, but hold up nobody else.
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
        # Holding idle pages may leave too few free ones; then start without them.
        for found in (self._find(request), []):
            claim = self._claim(request, found)
            self.cache.hold(found)
            if claim.n_fresh(len(request.rows)) <= self.cache.n_available:
                self._allocate(request, claim)
                return True
            self.cache.release(found)
        return False

    def _find(self, request: Request) -> list[int]:
        """Cached pages that hold the prompt's beginning, leaving at least one token to read."""
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
        """One token for every row that writes, then chunks of prompts."""
        writing = [
            Step(row, row.place.n_computed + 1)
            for row in self.rows()
            if not row.place.is_prefilling
        ]
        if self.n_guesses and self.n_rows == len(writing) == 1:
            return [self._with_guesses(writing[0])]
        budget = self.pace.budget(len(writing), self.n_rows)
        return writing + self._read(budget) if budget > 0 else writing

    def _with_guesses(self, step: Step) -> Step:
        """As many as have room in the row's pages, in its window, and in what it may write."""
        row, params = step.row, step.row.request.params
        room = min(self.window, len(row.place.pages) * PAGE) - step.end
        if params.max_tokens is not None:
            room = min(room, params.max_tokens - len(row.written.ids) - 1)
        most = max(0, min(room, self.n_guesses))
        return step._replace(guesses=row.guesser.guess(row.ids, most))

    def _read(self, budget: int) -> list[Step]:
        """Prompts in order of arrival, except that shorter ones may overtake the first.

        The first gets at least half of the budget, so that it is never starved. Scored prompts come
        last, a little each turn.
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
        """Rows with a prompt to read. Of rows that share one, only the first reads it."""
        for row in self.rows():
            awaits_fork = row.choice > 0 and not row.request.is_prefilled
            if row.place.is_prefilling and not awaits_fork:
                yield row

    def advance(self, step: Step) -> None:
        """The row's ids up to step.end are now in its pages."""
        step.row.place.n_computed = step.end
        self._publish(step.row)

    def _publish(self, row: Row) -> None:
        """Let others find the row's whole pages that have keys and will not be rewritten."""
        place = row.place
        n_kept = len(row.ids) - len(row.written.held)  # a token not yet sent may be taken back
        n_known = min(min(place.n_computed, n_kept) // PAGE, len(place.keys))
        if place.may_slide and not row.is_over:
            n_known = min(n_known, place.n_shared)  # a row that slides rewrites its own pages
        for at in range(place.n_published, n_known):
            self.cache.publish(place.pages[at], place.keys[at])
            place.n_published = at + 1

    def fork(self, first: Row) -> list[Copy]:
        """The shared prompt is computed: let the other rows go on from it."""
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
        """The row's last ids were taken back."""
        place = row.place
        place.n_computed = min(place.n_computed, len(row.ids))
        place.n_to_prefill = min(place.n_to_prefill, place.n_computed)

    # ---- past the window ----

    def slide(self, row: Row) -> int:
        """Cut a row that outgrew the window down to half of it; returns how many tokens went.

        The newest tokens stay, and in front of them what the request keeps of its prompt.
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
        """The row is over: release its pages, whose tokens stay known."""
        row.is_over = True
        row.place.keys = page_keys(row.ids[: row.place.n_computed])
        self._publish(row)
        self.cache.release(row.place.pages)
        self.cache.release(row.place.spare)
        row.place.pages, row.place.spare = [], []

    def remove(self, request: Request) -> None:
        """Forget a request whose rows are all over, or that never started."""
        if request in self.running:
            self.running.remove(request)
        else:
            self.waiting.remove(request)


def _chunk(row: Row, budget: int) -> Step:
    return Step(row, min(row.place.n_to_prefill, row.place.n_computed + max(1, budget)))
