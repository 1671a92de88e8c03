"""The latest runs of this process, by genkey: their progress, and their tokens' probabilities.

Genkeys can be guessed, and readers behind one router share an address. So a run's text is shown
only while it runs, its probabilities once, soon after, and nothing to an address that tries many
keys.
"""

import time
from collections import OrderedDict, deque

from ...run.run import Run

MOST = 64  # runs
LASTS_S = 60.0  # after a run's end
MOST_GUESSES = 10  # unknown keys that an address may try within LASTS_S
MOST_TOKENS = 2048  # tokens of a run whose probabilities are kept


class Recent:
    def __init__(self) -> None:
        self._runs: OrderedDict[str, Run] = OrderedDict()
        self._guesses: dict[str, deque[tuple[float, str]]] = {}  # by address

    def add(self, run: Run) -> None:
        run.keeps_tokens = run.params.logprobs is not None and (
            (run.params.max_tokens or MOST_TOKENS + 1) <= MOST_TOKENS
        )
        self._runs[run.id] = run
        self._runs.move_to_end(run.id)
        if len(self._runs) > MOST:
            self._runs.popitem(last=False)

    def last(self) -> Run | None:
        return next(reversed(self._runs.values()), None)

    def running(self, key: str, address: str) -> Run | None:
        run = self._find(key, address)
        return None if run is None or run.is_over else run

    def take(self, key: str, address: str) -> Run | None:
        """The run; removed once it has ended, so that nobody else gets it."""
        run = self._find(key, address)
        if run is not None and run.is_over:
            del self._runs[key]
            if time.monotonic() > run.ended_at + LASTS_S:
                return None
        return run

    def _find(self, key: str, address: str) -> Run | None:
        now, guesses = time.monotonic(), self._guesses.setdefault(address, deque())
        while guesses and guesses[0][0] < now - LASTS_S:
            guesses.popleft()
        if len(guesses) >= MOST_GUESSES:
            return None
        if key in self._runs:
            return self._runs[key]
        if key not in [guess for _, guess in guesses]:
            guesses.append((now, key))
        if len(self._guesses) > 1000:
            self._guesses.clear()
        return None
