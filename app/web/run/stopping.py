"""The two steps of stopping a server; whoever starts it also says when.

Draining: take nothing new, let running requests go on. Closing: end them now, with an error.
"""

import mmap
import threading

_SLOTS = 256  # with more workers they share slots, and a drain may end a moment early
_DRAINING, _CLOSING = _SLOTS, _SLOTS + 1  # the two flags, after the counts


class Stopping:
    """For a process that serves alone: it just ends."""

    @property
    def is_draining(self) -> bool:
        return False

    @property
    def is_closing(self) -> bool:
        return False

    def begin(self) -> None:
        """A request begins."""

    def end(self) -> None:
        """A request has ended: its last byte is sent, or its reader is gone."""


class SharedStopping(Stopping):
    """For a master and its workers: two flags, and each worker's count of requests.

    In anonymous memory, shared with all processes forked from this one.
    """

    def __init__(self) -> None:
        self._shared = memoryview(mmap.mmap(-1, 8 * (_SLOTS + 2))).cast("q")
        self._lock = threading.Lock()
        self._slot = 0
        self._is_leaving = False  # this process only

    @property
    def is_draining(self) -> bool:
        return self._is_leaving or self._shared[_DRAINING] != 0

    @property
    def is_closing(self) -> bool:
        return self._is_leaving or self._shared[_CLOSING] != 0

    # ---- the master's side

    def drain(self) -> None:
        self._shared[_DRAINING] = 1

    def close(self) -> None:
        self._shared[_DRAINING] = self._shared[_CLOSING] = 1

    @property
    def running(self) -> int:
        return sum(self._shared[:_SLOTS])

    def forget(self, number: int) -> None:
        """A worker ended, and its requests with it."""
        self._shared[number % _SLOTS] = 0

    # ---- a worker's side

    def count_in(self, number: int) -> None:
        """Count this process as that worker from now on."""
        self._slot = number % _SLOTS
        self._lock = threading.Lock()  # the fork may have copied a locked one

    def leave(self) -> None:
        """Close this worker only."""
        self._is_leaving = True

    def begin(self) -> None:
        with self._lock:
            self._shared[self._slot] += 1

    def end(self) -> None:
        with self._lock:
            self._shared[self._slot] -= 1
