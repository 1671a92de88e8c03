"""How far a server is on its way out. Knows no signal: whoever starts the server says when.

Draining: nothing new comes in, what runs goes on. Closing: what runs ends now, with an error.
"""

import mmap
import threading

_SLOTS = 256  # more workers than that share slots, and a drain may end a moment early
_DRAINING, _CLOSING = _SLOTS, _SLOTS + 1  # where the two flags are, behind the counts


class Stopping:
    """Of one process that serves alone; nobody tells it to stop but its end."""

    @property
    def is_draining(self) -> bool:
        return False

    @property
    def is_closing(self) -> bool:
        return False

    def begin(self) -> None:
        """A request begins."""

    def end(self) -> None:
        """A request has ended: its last byte is sent, or its reader gone."""


class SharedStopping(Stopping):
    """The same for a master and the workers it forks: two flags, and a count of requests each.

    The memory is anonymous, shared by whoever is forked from its maker, and gone with them.
    """

    def __init__(self) -> None:
        self._shared = memoryview(mmap.mmap(-1, 8 * (_SLOTS + 2))).cast("q")
        self._lock = threading.Lock()
        self._slot = 0
        self._is_leaving = False  # this process alone

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
        """A worker is gone, and its requests with it."""
        self._shared[number % _SLOTS] = 0

    # ---- a worker's side

    def count_in(self, number: int) -> None:
        """From now on this process counts as that worker."""
        self._slot = number % _SLOTS
        self._lock = threading.Lock()  # the fork may have copied a held one

    def leave(self) -> None:
        """This worker closes, whatever the others do."""
        self._is_leaving = True

    def begin(self) -> None:
        with self._lock:
            self._shared[self._slot] += 1

    def end(self) -> None:
        with self._lock:
            self._shared[self._slot] -= 1
