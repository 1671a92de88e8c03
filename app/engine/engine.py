"""Engine: many readers share one or more models, in this process.

One thread owns the models and their caches. Callers put requests into an inbox and read events; the
thread takes turns: empty the inbox, step each model that has work, hand out events. Knows no HTTP.
"""

import logging
import math
import os
import resource
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from app import gpt2

from .answers import EngineInfo, EngineState, EngineStats, ModelInfo, Tokenized
from .cards import card_data
from .completion import (
    Completion,
    EngineBusy,
    EngineStopped,
    Event,
    Failed,
    UnknownModel,
    is_last,
)
from .options import EngineOptions
from .parameters import InvalidParams, Params
from .turns.backends import open_model
from .turns.lane import OUTCOMES, Lane
from .turns.prepare import prepare
from .turns.request import Request

log = logging.getLogger(__name__)

STUCK_S = 10.0  # prompts are cut so that a turn takes a fifth of a second

FORKED = (
    "This engine's thread stayed in the process that made it: make the engine after the fork, or "
    "share one between processes with connect()."
)

Arrival = tuple[Lane, Request]


class Engine:
    """Implements AnyEngine, which documents the methods. Loads its models when made."""

    def __init__(
        self, options: EngineOptions, after_turn: Callable[[], None] = lambda: None
    ) -> None:
        self.options = options
        self._after_turn = after_turn
        self._lanes = {name: self._open(path) for name, path in options.models.items()}
        self._changed = threading.Condition()  # guards the four below
        self._inbox: list[Arrival] = []
        self._alive: dict[str, Request] = {}  # by id, until the last event
        self._n_refused = 0
        self._stop_at: float | None = None  # once closing: when running requests must end
        self._turn_began: float | None = None  # None between turns
        self._failure: str | None = None  # why the thread ended
        self._began = time.monotonic()
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def _open(self, path: str) -> Lane:
        checkpoint = gpt2.load(path)
        share = self.options.cache_bytes // len(self.options.models)

        def make_lane(model: gpt2.PagedModel) -> Lane:
            return Lane(checkpoint, model, share, self.options.max_running)

        return open_model(checkpoint, self.options, make_lane)

    # ---- requests ----

    def submit(
        self,
        prompt: str | Sequence[int],
        params: Params,
        model: str | None = None,
        id: str | None = None,
        told_before: Sequence[Sequence[int]] = (),
    ) -> Completion:
        """`told_before`: the ids that each choice began with on an engine that was lost. They are
        sent again, without logprobs, and only read; the text goes on as it would have there."""
        if os.getpid() != self._process:  # before the lock, which the thread may have held
            raise EngineStopped(FORKED)
        lane = self._lane(model)
        id = secrets.token_urlsafe(12) if id is None else id
        completion = Completion(id, cancel=lambda: self.cancel(id))

        def put_and_forget(event: Event) -> None:
            if is_last(event):
                self._forget(id)
            completion.put(event)

        request = prepare(
            prompt,
            params,
            lane.config,
            lane.vocabulary,
            id=id,
            put=put_and_forget,
            now=time.monotonic(),
            max_time=self.options.max_time,
            told_before=told_before,
        )
        if not lane.scheduler.fits(request):
            raise InvalidParams(
                "n", f"n {params.n} at this length needs more memory than the server has; lower n."
            )
        with self._changed:
            self._check_open(request)
            self._check_room(lane, request)
            self._alive[id] = request
            self._inbox.append((lane, request))
            self._changed.notify()
        return completion

    def _lane(self, model: str | None) -> Lane:
        if model is None:
            return next(iter(self._lanes.values()))
        if model not in self._lanes:
            raise UnknownModel(
                f"No model {model!r} is served; name one of: {', '.join(self._lanes)}."
            )
        return self._lanes[model]

    def _check_open(self, request: Request) -> None:
        if self._failure is not None:
            raise EngineStopped(self._failure)
        if self._stop_at is not None:
            raise EngineStopped("The engine is stopping; try again in a moment.")
        if request.id in self._alive:
            raise InvalidParams("id", f"id {request.id!r} is in use by a running completion.")

    def _check_room(self, lane: Lane, request: Request) -> None:
        """Scores are read one by one: they wait for each other, and nothing else waits for them."""
        before = [*lane.scheduler.waiting, *(r for other, r in self._inbox if other is lane)]
        *others, wait = lane.waits([*before, request], time.monotonic())
        # Requests without a wait start in the next turn.
        ahead = sum(
            seconds > 0 and other.wants_prompt == request.wants_prompt
            for other, seconds in zip(before, others, strict=True)
        )
        max_queue, max_wait = self.options.max_queue, self.options.max_wait
        if request.params.gives_way:
            max_queue, max_wait = 1, 0.0
        if ahead >= max_queue or wait > max_wait:
            self._n_refused += 1
            raise EngineBusy(
                f"Busy: {ahead} requests are waiting; try again in {math.ceil(wait)} s.",
                retry_after=wait,
                ahead=ahead,
            )

    def _forget(self, id: str) -> None:
        with self._changed:
            self._alive.pop(id, None)

    def cancel(self, id: str) -> bool:
        with self._changed:
            request = self._alive.get(id)
        if request is None:
            return False
        request.is_cancelled = True
        return True

    # ---- questions ----

    def tokenize(self, text: str, model: str | None = None) -> Tokenized:
        try:
            ids, offsets = self._lane(model).vocabulary.tokenizer.encode_with_offsets(text)
        except gpt2.TokenizerError as error:
            raise InvalidParams("text", str(error)) from None
        return Tokenized(ids, offsets)

    def detokenize(self, ids: Sequence[int], model: str | None = None) -> str:
        return self._lane(model).vocabulary.tokenizer.decode(ids)

    def pieces(self, ids: Sequence[int], model: str | None = None) -> list[bytes]:
        return [self._lane(model).vocabulary.bytes_of(id) for id in ids]

    def models(self) -> list[str]:
        return list(self._lanes)

    def state(self) -> EngineState:
        if os.getpid() != self._process:
            return EngineState("failed", FORKED)
        if self._failure is not None:
            return EngineState("failed", self._failure)
        if self._stop_at is not None:
            return EngineState("failed", "The engine is closed.")
        began = self._turn_began
        if began is not None and time.monotonic() - began > STUCK_S:
            return EngineState("stuck", "The engine is stuck in a turn that does not end.")
        return EngineState("ready", "")

    def info(self) -> EngineInfo:
        o = self.options
        return EngineInfo(
            models=[_model_info(name, o.models[name], lane) for name, lane in self._lanes.items()],
            threads=max(lane.model.threads for lane in self._lanes.values()),
            max_running=o.max_running,
            max_queue=o.max_queue,
            max_wait=o.max_wait,
            max_time=o.max_time,
        )

    def stats(self) -> EngineStats:
        lanes = self._lanes.values()
        tallies = [lane.tally for lane in lanes]
        outcomes = {word: sum(tally.outcomes[word] for tally in tallies) for word in OUTCOMES}
        outcomes["busy"] = self._n_refused
        return EngineStats(
            waiting=len(self._inbox) + sum(len(lane.scheduler.waiting) for lane in lanes),
            running=sum(lane.scheduler.n_rows for lane in lanes),
            pages=sum(lane.scheduler.cache.n_pages for lane in lanes),
            pages_used=sum(lane.scheduler.cache.n_held for lane in lanes),
            requests=sum(tally.requests for tally in tallies),
            outcomes=outcomes,
            prompt_tokens=sum(tally.prompt_tokens for tally in tallies),
            cached_tokens=sum(tally.cached_tokens for tally in tallies),
            completion_tokens=sum(tally.completion_tokens for tally in tallies),
            turns=sum(tally.turns for tally in tallies),
            busy_s=sum(tally.busy_s for tally in tallies),
            uptime_s=time.monotonic() - self._began,
            memory_bytes=_count_resident_bytes(),
        )

    # ---- the thread ----

    def _run(self) -> None:
        try:
            while self._take_inbox():
                self._turn_began = time.monotonic()
                for lane in self._lanes.values():
                    if lane.has_work:
                        lane.step()
                self._after_turn()
                self._turn_began = None
            for lane in self._lanes.values():
                for request in [*lane.scheduler.running, *lane.scheduler.waiting]:
                    lane.fail(request, "engine_stopped", "The engine was stopped.")
        except BaseException as error:
            self._break(f"The engine failed: {str(error) or repr(error)}")
            raise
        finally:
            self._after_turn()

    def _break(self, sentence: str) -> None:
        """The thread ends: tell every reader, and take nothing new."""
        with self._changed:
            self._failure = sentence
            requests = list(self._alive.values())
        for request in requests:
            request.put(Failed("engine_stopped", sentence))

    def _take_inbox(self) -> bool:
        """Wait for work; False when it is time to stop."""
        with self._changed:
            while not (self._inbox or self._has_work() or self._stop_at is not None):
                self._changed.wait()
            arrivals, self._inbox = self._inbox, []
        for lane, request in arrivals:
            lane.add(request)
        if self._stop_at is None:
            return True
        return self._has_work() and time.monotonic() < self._stop_at

    def _has_work(self) -> bool:
        return any(lane.has_work for lane in self._lanes.values())

    def close(self, grace: float = 0.0) -> None:
        with self._changed:
            if self._stop_at is None:
                self._stop_at = time.monotonic() + grace
            self._changed.notify()
        self._thread.join()


def _model_info(name: str, path: str, lane: Lane) -> ModelInfo:
    config, model = lane.config, lane.model
    return ModelInfo(
        name=name,
        path=path,
        about=_about(Path(path)),
        backend=model.backend,
        device=model.device,
        instruction_set=model.instruction_set,
        precision=model.precision,
        cache_precision=model.cache_precision,
        notes=list(model.notes),
        perplexity_loss=model.perplexity_loss,
        same_bits=model.same_bits,
        n_positions=config.n_positions,
        vocab_size=config.vocab_size,
        n_layer=config.n_layer,
        n_embd=config.n_embd,
        n_head=config.n_head,
        n_parameters=config.n_parameters,
        bos_token_id=config.bos_token_id,
        eos_token_ids=list(config.eos_token_ids),
        cache_bytes=lane.scheduler.cache.n_pages * model.page_bytes,
        card=card_data(path),
    )


def _about(model: Path) -> str:
    """One line about the model, from the training.json that our training writes."""
    try:
        about = msgspec.json.decode((model / "training.json").read_bytes())["about"]
    except (OSError, msgspec.MsgspecError, KeyError, TypeError):
        return ""
    return about if isinstance(about, str) else ""


def _count_resident_bytes() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * resource.getpagesize()
