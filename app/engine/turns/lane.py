"""One model, its cache and its rows; a turn takes all rows one step further.

Owned by the engine's thread. Knows no other model.
"""

import dataclasses
import logging
import time
from collections.abc import Sequence
from typing import NamedTuple

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
from .choosing import Drawing, Drawn, Prediction, choose, logits_at, plain_draw, prediction_at
from .estimate import Need, Speed, starts
from .request import End, Request, Row
from .scheduler import Scheduler, Step
from .vocabulary import Vocabulary
from .written import Held

log = logging.getLogger(__name__)

OUTCOMES = ("finished", "cancelled", "deadline", "failed")


@dataclasses.dataclass
class Tally:
    """Counters since the start."""

    requests: int = 0
    outcomes: dict[str, int] = dataclasses.field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    turns: int = 0
    busy_s: float = 0.0


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
            PageCache(n_pages),
            self.config.n_positions,
            max_running,
            model.longest,
            model.n_guesses,
        )
        self.tally = Tally()
        self.speed = Speed()

    @property
    def has_work(self) -> bool:
        return bool(self.scheduler.running or self.scheduler.waiting)

    def waits(self, queue: Sequence[Request], now: float) -> list[float]:
        """In how many seconds each of `queue` starts. May be called from any thread."""
        scheduler, running = self.scheduler, list(self.scheduler.running)
        found = starts(
            [self._need(request, now) for request in running],
            [self._need(request, now) for request in queue],
            rows=scheduler.max_running - scheduler.n_rows,
            pages=scheduler.cache.n_available,
        )
        # Scored requests are read one after another.
        n_scored = sum(request.rows[0].place.n_left for request in running if request.wants_prompt)
        for at, request in enumerate(queue):
            if request.wants_prompt:
                found[at] = max(found[at], n_scored / self.speed.scored_per_s)
                n_scored += len(request.rows[0].ids)
        return found

    def _need(self, request: Request, now: float) -> Need:
        """For the rows that are not over: as long as the one that has written least."""
        rows = [row for row in request.rows if not row.is_over]
        n_written = min((len(row.written.ids) for row in rows), default=0)
        n_left = self.speed.tokens_left(n_written, request.params.max_tokens)
        seconds = n_left * max(1, self.scheduler.n_rows) / self.speed.written_per_s
        if not request.is_prefilled:
            read_per_s = self.speed.scored_per_s if request.wants_prompt else self.speed.read_per_s
            seconds += len(request.rows[0].ids) / read_per_s
        if request.started is None:
            n_pages = self.scheduler.pages_needed(request)
        else:
            n_pages = len({page for row in rows for page in (*row.place.pages, *row.place.spare)})
        if request.params.gives_way:
            seconds = 0.0  # as soon as anybody waits
        return Need(min(seconds, max(0.0, request.deadline - now)), len(rows), n_pages)

    # ---- a turn ----

    def step(self) -> None:
        """A turn: end, admit, feed, choose, hand out."""
        began = time.monotonic()
        self._end_overdue(began)
        self._admit(began)
        self._make_way()
        steps = self.scheduler.plan()
        work = _Work.of(steps)
        n_fed = sum(work) + sum(len(step.guesses) for step in steps)
        try:
            self._turn(steps)
        except Exception as error:
            log.exception("A turn failed, and all its requests with it.")
            for step in steps:
                self.fail(step.row.request, "engine_error", f"The engine failed: {error}")
            if isinstance(error, DeviceLost):
                raise  # only a new process can go on
        else:
            if n_fed:
                seconds = time.monotonic() - began
                self.scheduler.pace.note(n_fed, seconds)
                self.speed.note_turn(*work, seconds)
        self.tally.turns += 1
        self.tally.busy_s += time.monotonic() - began

    def _turn(self, steps: list[Step]) -> None:
        if not steps:
            return
        logits = self.model.forward([_feed(step) for step in steps])
        drawing = self._advance(steps, logits)
        for drawn in choose(drawing, logits, self._fail_draw):
            self._hand_out(drawn, logits)
        for step in steps:
            if step.guesses:
                self._draw_on(step, logits)

    def _draw_on(self, step: Step, logits: Logits) -> None:
        """After each right guess the row draws again: from this turn's next logits, alone in it."""
        row, place = step.row, step.row.place
        for n, id in enumerate(step.guesses, 1):
            is_right = len(row.ids) == step.end + n and row.ids[-1] == id
            row.guesser.learn(n if is_right else n - 1, len(step.guesses))
            if row.is_over or row.place is not place or not is_right:
                return
            self.scheduler.advance(Step(row, step.end + n))
            for drawn in choose([Drawing(row, n)], logits, self._fail_draw):
                self._hand_out(drawn, logits)

    # ---- coming ----

    def add(self, request: Request) -> None:
        self.tally.requests += 1
        self.scheduler.add(request)

    def _admit(self, now: float) -> None:
        for request in self.scheduler.admit():
            request.started = now
            if not request.wants_prompt:
                self._send_started(request)
        waiting = list(self.scheduler.waiting)
        if all(request.ahead == ahead for ahead, request in enumerate(waiting)):
            return
        for ahead, wait_s in enumerate(self.waits(waiting, now)):
            if waiting[ahead].ahead != ahead:
                waiting[ahead].ahead = ahead
                waiting[ahead].put(Queued(ahead, wait_s))

    def _make_way(self) -> None:
        """End requests that give way if others wait; those start in the next turn."""
        if all(request.wants_prompt for request in self.scheduler.waiting):
            return  # scores wait for each other
        for request in [*self.scheduler.running, *self.scheduler.waiting]:
            if request.params.gives_way:
                self._end_all(request, "cancelled")

    def _send_started(self, request: Request) -> None:
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
        """Record what has been computed; returns which rows draw from which logits."""
        drawing: list[Drawing] = []
        at = 0
        for step in steps:
            row, request, n_wanted = step.row, step.row.request, _n_wanted(step)
            if request.wants_prompt:
                self._score(step, [prediction_at(logits, at + i) for i in range(n_wanted)])
            at += n_wanted
            self.scheduler.advance(step)
            if row.place.is_prefilling:
                continue
            rows = [row] if request.is_prefilled else self._fork(row)
            for each in rows:
                if each.is_behind:
                    self._catch_up(each)
                else:
                    drawing.append(Drawing(each, at - 1 - len(step.guesses)))
        return drawing

    def _fork(self, first: Row) -> list[Row]:
        """The prompt has been read: all rows of the request go on from it."""
        was_wanted = first.request.wants_prompt
        for copy in self.scheduler.fork(first):
            self.model.copy_page(copy.source, copy.target)
        if was_wanted:
            self._send_started(first.request)
        return [row for row in first.request.rows if not row.is_over]

    def _score(self, step: Step, predictions: list[Prediction]) -> None:
        """Note how likely each token of the chunk was, given those before it."""
        row, request = step.row, step.row.request
        if not request.prompt:
            request.prompt.append(
                PromptToken(row.ids[0], self.vocabulary.bytes_of(row.ids[0]), None, [])
            )
        following = row.ids[row.place.n_computed + 1 : step.end + 1]
        for id, (logprobs, top_ids) in zip(following, predictions, strict=False):
            top = self.vocabulary.top(logprobs, top_ids[: request.params.prompt_logprobs])
            data = self.vocabulary.bytes_of(id)
            request.prompt.append(PromptToken(id, data, float(logprobs[id]), top))

    # ---- handing out ----

    def _fail_draw(self, row: Row, error: Exception) -> None:
        if not (row.request.is_over or row.request.is_cancelled):
            log.error("A request's next token could not be drawn.", exc_info=error)
            message = f"The next token could not be drawn: {error}"
            self.fail(row.request, "engine_error", message)

    def _hand_out(self, drawn: Drawn, logits: Logits) -> None:
        row, id = drawn.row, drawn.id
        request, written = row.request, row.written
        if request.is_over or request.is_cancelled:
            return
        if row.rebuild(id):
            return self._slide_if_full(row)
        end = request.ends.get(id)
        if end is not None and (end.reason == "end_of_text" or not request.params.include_stop):
            prediction = drawn.prediction
            logprob = None if prediction is None else float(prediction.logprobs[id])
            return self._end(row, end, logprob)
        kept = logits_at(logits, drawn.at) if request.phrases is not None else None
        row.take(id, self.vocabulary.bytes_of(id), drawn.prediction, kept)
        if n := written.count_banned():
            return self._draw_again(row, n)
        self._send(row, written.count_certain())
        self._go_on(row, end)

    def _go_on(self, row: Row, end: End | None) -> None:
        """After its last token: to the next one, unless it ends here."""
        written = row.written
        if written.stopped_by is not None:
            end = End("stop", written.stopped_by)
        elif end is None and written.is_long_enough:
            end = End("length", None)
        if end is not None:
            self._end(row, end)
        else:
            self._slide_if_full(row)

    def _catch_up(self, row: Row) -> None:
        """Send again what was sent before; then read it like a prompt."""
        row.adjuster = None  # it would not see the window slide
        for id in row.told_before[len(row.written.ids) :]:
            row.take(id, self.vocabulary.bytes_of(id), None, None)
            self._send(row, 1)
            self._go_on(row, row.request.ends.get(id))
            if row.is_over:
                return
        row.place.n_to_prefill = len(row.ids)

    def _draw_again(self, row: Row, n: int) -> None:
        """The last n tokens complete a banned phrase: draw another in place of the first."""
        first = row.take_back(n)
        self.scheduler.take_back(row)
        assert first.logits is not None
        for drawn in choose([Drawing(row, 0)], first.logits, self._fail_draw):
            self._hand_out(drawn, first.logits)

    def _send(self, row: Row, n: int) -> None:
        for held, text in row.written.release(n):
            self._put_token(row, held, text)

    def _put_token(self, row: Row, held: Held, text: str) -> None:
        request, prediction = row.request, held.prediction
        self.tally.completion_tokens += 1
        if request.first_token is None:
            request.first_token = time.monotonic()
        if prediction is None:
            request.put(Token(row.choice, held.id, text, held.data, None, []))
        else:
            top = self.vocabulary.top(
                prediction.logprobs, prediction.top_ids[: request.params.logprobs]
            )
            logprob = float(prediction.logprobs[held.id])
            request.put(Token(row.choice, held.id, text, held.data, logprob, top))

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

    def _end(self, row: Row, end: End, logprob: float | None = None) -> None:
        request, written = row.request, row.written
        if end.reason != "cancelled":
            self._send(row, len(written.held))
        if written.held:  # drawn, but never to be sent
            row.take_back(len(written.held))
        if written.stopped_by is not None:
            end, logprob = End("stop", written.stopped_by), None
        request.put(Ended(row.choice, end.reason, end.stop, written.flush(), logprob))
        if written.ids:
            self.speed.note_length(len(written.ids))
        self.scheduler.retire(row)
        if all(other.is_over for other in request.rows):
            is_early = end.reason in ("cancelled", "deadline")
            self._remove(request, end.reason if is_early else "finished")
            usage = Usage(request.prompt_tokens, request.n_written, request.cached_tokens)
            request.put(Finished(usage, _timings(request, time.monotonic())))

    def fail(self, request: Request, kind: str, message: str) -> None:
        """End the request with an error."""
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


class _Work(NamedTuple):
    """Tokens of a turn."""

    n_written: int
    n_read: int
    n_scored: int

    @classmethod
    def of(cls, steps: Sequence[Step]) -> "_Work":
        read = [step for step in steps if step.row.place.is_prefilling]
        n_scored = sum(step.n_tokens for step in read if step.row.request.wants_prompt)
        n_read = sum(step.n_tokens for step in read) - n_scored
        return cls(len(steps) - len(read), n_read, n_scored)


def _feed(step: Step) -> Feed:
    """What the model is fed: what fits in the row's pages and overwrites none that others read."""
    row, place = step.row, step.row.place
    n_guesses = len(step.guesses)
    end = step.end + n_guesses
    assert end <= len(place.pages) * PAGE, f"{end} tokens in {len(place.pages)} pages"
    assert place.n_computed >= place.n_published * PAGE, "this would write a page that others read"
    draws_alone = row.request.is_prefilled or len(row.request.rows) == 1
    draw = plain_draw(row) if draws_alone and step.end == len(row.ids) else None
    ids = [*row.ids[place.n_computed : step.end], *step.guesses]
    return Feed(ids, place.n_computed, place.pages, _n_wanted(step), draw, n_guesses)


def _n_wanted(step: Step) -> int:
    """How many logits: all of a prompt that is scored, else those after the row's last token and
    after each guess."""
    if step.row.request.wants_prompt:
        return step.n_tokens
    return int(step.end == len(step.row.ids)) + len(step.guesses)


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
