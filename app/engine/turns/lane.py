"""One model, its cache and its rows; a turn takes them all a step further.

The engine's thread owns it. Knows no other model, no queue between threads, no socket.
"""

import dataclasses
import logging
import time
from collections import Counter
from collections.abc import Sequence

from app.gpt2 import Checkpoint, DeviceLost, Feed, Logits, PagedModel

from ..completion import (
    Ended,
    Failed,
    Finished,
    PromptToken,
    Queued,
    Slid,
    Started,
    Timings,
    Token,
    Usage,
)
from .cache import PAGE, PageCache, pages_for
from .choosing import Choice, Drawing, Odds, choose, odds_at, plain_draw
from .estimate import Need, starts
from .request import End, Request, Row
from .scheduler import Scheduler, Step
from .vocabulary import Vocabulary

log = logging.getLogger(__name__)

UNKNOWN_LENGTH = 256  # tokens that an endless continuation is counted as, in estimates
FIRST_GUESS = 100.0  # tokens per second, until some have been measured


@dataclasses.dataclass
class Tally:
    """Counters since the start."""

    requests: int = 0
    outcomes: Counter[str] = dataclasses.field(default_factory=Counter)
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    turns: int = 0
    busy_s: float = 0.0
    tokens_per_s: float = FIRST_GUESS  # lately


class Lane:
    def __init__(
        self, checkpoint: Checkpoint, model: PagedModel, cache_bytes: int, max_running: int
    ) -> None:
        self.config = checkpoint.config
        self.model = model
        self.vocabulary = Vocabulary(checkpoint.tokenizer, self.config.vocab_size)
        window = pages_for(self.config.n_positions)
        n_pages = min(max(window, cache_bytes // model.page_bytes), window * max_running)
        model.allocate(n_pages)
        self.scheduler = Scheduler(
            PageCache(n_pages), self.config.n_positions, max_running, model.longest
        )
        self.tally = Tally()

    @property
    def has_work(self) -> bool:
        return bool(self.scheduler.running or self.scheduler.waiting)

    def waits(self, queue: Sequence[Request], now: float) -> list[float]:
        """In how many seconds each of `queue` starts, by measured speed. From any thread."""
        scheduler = self.scheduler
        rate = self.tally.tokens_per_s / max(1, scheduler.n_rows)  # of one row
        return starts(
            [self._need(request, rate, now) for request in list(scheduler.running)],
            [self._need(request, rate, now) for request in queue],
            rows=scheduler.max_running - scheduler.n_rows,
            pages=scheduler.cache.n_available,
        )

    def _need(self, request: Request, rate: float, now: float) -> Need:
        seconds = min(_tokens_left(request) / rate, max(0.0, request.deadline - now))
        return Need(seconds, len(request.rows), self.scheduler.pages_needed(request))

    # ---- a turn ----

    def step(self) -> None:
        """End what is to end, admit, feed, choose, hand out."""
        began, n_before = time.monotonic(), self.tally.completion_tokens
        self._end_overdue(began)
        self._admit(began)
        if steps := self.scheduler.plan():
            n_tokens = sum(step.end - step.row.n_computed for step in steps)
            try:
                self._turn(steps)
            except Exception as error:
                log.exception("A turn failed, and every request in it.")
                for step in steps:
                    self.fail(step.row.request, "engine_error", f"The engine failed: {error}")
                if isinstance(error, DeviceLost):
                    raise  # only a new process could go on
            else:
                self.scheduler.pace.note(n_tokens, time.monotonic() - began)
        self._count(time.monotonic() - began, self.tally.completion_tokens - n_before)

    def _turn(self, steps: list[Step]) -> None:
        logits = self.model.forward([_feed(step) for step in steps])
        drawing = self._advance(steps, logits)
        for choice in choose(drawing, logits):
            if choice.id is None:
                log.error("A request could not be sampled.", exc_info=choice.error)
                message = f"The next token could not be drawn: {choice.error}"
                self.fail(choice.row.request, "engine_error", message)
            else:
                self._hand_out(choice)

    def _count(self, seconds: float, n_tokens: int) -> None:
        self.tally.turns += 1
        self.tally.busy_s += seconds
        if n_tokens:
            self.tally.tokens_per_s += 0.05 * (n_tokens / seconds - self.tally.tokens_per_s)

    # ---- coming ----

    def add(self, request: Request) -> None:
        self.tally.requests += 1
        self.scheduler.add(request)

    def _admit(self, now: float) -> None:
        for request in self.scheduler.admit():
            request.started = now
            if not request.wants_prompt:
                self._tell_started(request)
        waiting = list(self.scheduler.waiting)
        if all(request.ahead == ahead for ahead, request in enumerate(waiting)):
            return
        for ahead, wait_s in enumerate(self.waits(waiting, now)):
            if waiting[ahead].ahead != ahead:
                waiting[ahead].ahead = ahead
                waiting[ahead].put(Queued(ahead, wait_s))

    def _tell_started(self, request: Request) -> None:
        self.tally.prompt_tokens += request.prompt_tokens
        self.tally.cached_tokens += request.cached_tokens
        request.put(
            Started(
                prompt_tokens=request.prompt_tokens,
                cached_tokens=request.cached_tokens,
                truncated=request.n_dropped > 0,
                dropped_tokens=request.n_dropped,
                context_start=request.context_start,
                seeds=[row.seed for row in request.rows],
                prompt=request.prompt or None,
            )
        )
        if request.params.max_tokens == 0:
            self._end_all(request, "length")

    # ---- after the forward pass ----

    def _advance(self, steps: Sequence[Step], logits: Logits) -> list[Drawing]:
        """Note what is computed now; answer who draws a token from which logits."""
        drawing: list[Drawing] = []
        at = 0
        for step in steps:
            row, request, n_wanted = step.row, step.row.request, _n_wanted(step)
            if request.wants_prompt:
                self._score(step, [odds_at(logits, at + i) for i in range(n_wanted)])
            at += n_wanted
            self.scheduler.advance(step)
            if row.is_prefilling:
                continue
            rows = [row] if request.is_prefilled else self._fork(row)
            drawing += [Drawing(row, at - 1) for row in rows]
        return drawing

    def _fork(self, first: Row) -> list[Row]:
        """The prompt is read: all rows of the request go on from here."""
        was_wanted = first.request.wants_prompt
        for copy in self.scheduler.fork(first):
            self.model.copy_page(copy.source, copy.target)
        if was_wanted:
            self._tell_started(first.request)
        return [row for row in first.request.rows if not row.is_over]

    def _score(self, step: Step, odds: list[Odds]) -> None:
        """The odds after each token of a chunk tell how likely the next one was."""
        row, request = step.row, step.row.request
        if not request.prompt:
            request.prompt.append(
                PromptToken(row.ids[0], self.vocabulary.bytes_of(row.ids[0]), None, [])
            )
        following = row.ids[row.n_computed + 1 : step.end + 1]
        for id, (logprobs, top_ids) in zip(following, odds, strict=False):
            top = self.vocabulary.top(logprobs, top_ids[: request.params.prompt_logprobs])
            data = self.vocabulary.bytes_of(id)
            request.prompt.append(PromptToken(id, data, float(logprobs[id]), top))

    # ---- handing out ----

    def _hand_out(self, choice: Choice) -> None:
        row, id = choice.row, choice.id
        request, params = row.request, row.request.params
        if request.is_over or request.is_cancelled or id is None:
            return
        data = self.vocabulary.bytes_of(id)
        if row.heal is not None and row.heal.id == id:  # the token taken back, drawn again
            row.take(id, data)
            return self._slide_if_full(row)
        end = request.ends.get(id)
        if end is not None and (end.reason == "end_of_text" or not params.include_stop):
            return self._end(row, end)
        self._tell_token(row, id, row.take(id, data), choice.odds)
        if row.text.stopped_by is not None:
            end = End("stop", row.text.stopped_by)
        elif end is None and len(row.written) == params.max_tokens:
            end = End("length", None)
        if end is not None:
            self._end(row, end)
        else:
            self._slide_if_full(row)

    def _tell_token(self, row: Row, id: int, data: bytes, odds: Odds | None) -> None:
        request, params = row.request, row.request.params
        row.written.append(id)
        row.text.may_stop = len(row.written) >= params.min_tokens
        text = row.text.push(data)
        self.tally.completion_tokens += 1
        if request.first_token is None:
            request.first_token = time.monotonic()
        if odds is None:
            request.put(Token(row.choice, id, text, data, None, []))
        else:
            top = self.vocabulary.top(odds.logprobs, odds.top_ids[: params.logprobs])
            request.put(Token(row.choice, id, text, data, float(odds.logprobs[id]), top))

    def _slide_if_full(self, row: Row) -> None:
        if len(row.ids) > self.config.n_positions:
            row.request.put(Slid(row.choice, self.scheduler.slide(row)))

    # ---- going ----

    def _end_overdue(self, now: float) -> None:
        for request in [*self.scheduler.running, *self.scheduler.waiting]:
            if request.is_cancelled:
                self._end_all(request, "cancelled")
            elif request.deadline <= now:
                self._end_all(request, "deadline")

    def _end_all(self, request: Request, reason: str) -> None:
        for row in request.rows:
            if not row.is_over:
                self._end(row, End(reason, None))

    def _end(self, row: Row, end: End) -> None:
        request = row.request
        request.put(Ended(row.choice, end.reason, end.stop, row.text.flush()))
        self.scheduler.retire(row)
        if all(other.is_over for other in request.rows):
            is_early = end.reason in ("cancelled", "deadline")
            self._remove(request, end.reason if is_early else "finished")
            usage = Usage(request.prompt_tokens, request.n_written, request.cached_tokens)
            request.put(Finished(usage, _timings(request, time.monotonic())))

    def fail(self, request: Request, kind: str, message: str) -> None:
        """Its reader is told why instead of getting an end."""
        if request.is_over:
            return
        for row in request.rows:
            if not row.is_over:
                self.scheduler.retire(row)
        self._remove(request, "failed")
        request.put(Failed(kind, message))

    def _remove(self, request: Request, outcome: str) -> None:
        request.is_over = True
        self.scheduler.remove(request)
        self.tally.outcomes[outcome] += 1


def _feed(step: Step) -> Feed:
    """The model's door: what goes through must fit in the row's pages, and be its own to write."""
    row = step.row
    assert step.end <= len(row.pages) * PAGE, f"{step.end} tokens in {len(row.pages)} pages"
    assert row.n_computed >= row.n_published * PAGE, "a page that others read must not be written"
    draws_alone = row.request.is_prefilled or len(row.request.rows) == 1
    draw = plain_draw(row) if draws_alone and step.end == len(row.ids) else None
    ids = row.ids[row.n_computed : step.end]
    return Feed(ids, row.n_computed, row.pages, _n_wanted(step), draw)


def _n_wanted(step: Step) -> int:
    """All logits of a prompt that is to be scored, else those after a row's last token."""
    if step.row.request.wants_prompt:
        return step.end - step.row.n_computed
    return int(step.end == len(step.row.ids))


def _tokens_left(request: Request) -> int:
    """Of the row that has the longest way to go."""
    most = request.params.max_tokens
    longest = UNKNOWN_LENGTH if most is None else most
    return max(1, longest - min(len(row.written) for row in request.rows))


def _timings(request: Request, now: float) -> Timings:
    started = now if request.started is None else request.started
    first = now if request.first_token is None else request.first_token
    writing = now - first
    return Timings(
        queue_ms=1000 * (started - request.submitted),
        prefill_ms=1000 * (first - started),
        first_token_ms=1000 * (first - request.submitted),
        tokens_per_s=(request.n_written - len(request.rows)) / writing if writing > 0 else 0.0,
    )
