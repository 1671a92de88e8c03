"""Wait for runs to end; run lists of prompts."""

import contextlib
from collections import deque
from collections.abc import Generator, Sequence

from app.engine import EngineBusy, Params

from ..errors import bad_value, failed
from ..guard.limits import TooMany
from ..service import service
from .run import Prompt, Run, submit

MAX_ENTRIES = 1_000_000  # tokens and alternatives of one reply, 150 bytes each


def collect(run: Run) -> Run:
    """Wait for the run's end; raises a Problem if it failed."""
    run.keeps_tokens = True
    try:
        for _ in run.events():
            pass
    finally:
        run.close()
    if run.failure is not None:
        raise failed(run.failure)
    return run


def collect_all(prompts: Sequence[Prompt], params: Params, model: str | None = None) -> list[Run]:
    """Run a list of prompts, in order."""
    bound_reply(len(prompts), params)
    with contextlib.closing(in_turn(prompts, params, model)) as runs:
        return [collect(run) for run in runs]


def bound_reply(n_prompts: int, params: Params) -> None:
    """Refuse a reply that would not fit in memory."""
    if params.logprobs is None:
        return
    longest = 1_000_000 if params.max_tokens is None else params.max_tokens
    entries = n_prompts * params.n * longest * (1 + params.logprobs)
    if entries > MAX_ENTRIES:
        raise bad_value(
            "logprobs",
            f"This could come to {entries:,} log-probabilities in one reply, of at most "
            f"{MAX_ENTRIES:,}: stream it, or lower max_tokens, n or logprobs.",
        )


def in_turn(
    prompts: Sequence[Prompt], params: Params, model: str | None = None
) -> Generator[Run, None, None]:
    """A run for each prompt, in order; read each to its end before taking the next.

    A list may be longer than the queue: once some prompts run, the others wait here.
    """
    service().limits.charge(len(prompts) * params.n, params.gives_way)
    waiting, running = deque(prompts), deque[Run]()
    try:
        while waiting or running:
            while waiting and (run := _start_if_room(waiting[0], params, model, bool(running))):
                running.append(run)
                waiting.popleft()
            yield running[0]
            running.popleft()
    finally:
        for run in running:
            run.close()


def _start_if_room(prompt: Prompt, params: Params, model: str | None, may_wait: bool) -> Run | None:
    try:
        return submit(prompt, params, model)
    except (EngineBusy, TooMany):
        if not may_wait:
            raise
        return None
