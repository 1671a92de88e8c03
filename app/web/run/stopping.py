"""How far a server is on its way out. Knows no signal: whoever starts the server says when.

Draining: nothing new comes in, what runs goes on. Closing: what runs ends now, with an error.
"""

import mmap
import struct
import threading

_SLOTS = 256  # more workers than that share slots, and a drain may end a moment early


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
        self._memory = mmap.mmap(-1, 8 + 8 * _SLOTS)  # flags; then an integer per worker
        self._lock = threading.Lock()
        self._slot = 0
        self._is_leaving = False  # this process alone

    @property
    def is_draining(self) -> bool:
        return self._is_leaving or self._memory[0] != 0

    @property
    def is_closing(self) -> bool:
        return self._is_leaving or self._memory[1] != 0

    # ---- the master's side

    def drain(self) -> None:
        self._memory[0] = 1

    def close(self) -> None:
        self._memory[0] = self._memory[1] = 1

    @property
    def running(self) -> int:
        return sum(self._count(slot) for slot in range(_SLOTS))

    def forget(self, number: int) -> None:
        """A worker is gone, and its requests with it."""
        self._write(number % _SLOTS, 0)

    # ---- a worker's side

    def count_in(self, number: int) -> None:
        """From now on this process counts as that worker."""
        self._slot = number % _SLOTS
        self._lock = threading.Lock()  # the fork may have copied a held one

    def leave(self) -> None:
        """This worker closes, whatever the others do."""
        self._is_leaving = True

    def begin(self) -> None:
        self._add(1)

    def end(self) -> None:
        self._add(-1)

    def _add(self, difference: int) -> None:
        with self._lock:
            self._write(self._slot, self._count(self._slot) + difference)

    def _count(self, slot: int) -> int:
        return struct.unpack_from("q", self._memory, 8 + 8 * slot)[0]

    def _write(self, slot: int, count: int) -> None:
        struct.pack_into("q", self._memory, 8 + 8 * slot, count)
