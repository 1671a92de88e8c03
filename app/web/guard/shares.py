"""How many continuations each key and each address has running, over all workers of a server.

    shares.take("10.0.0.7", 4, most=32)  # True: there was room
    shares.give_back("10.0.0.7", 4)

Names are counted by a hash of 4,096 values; two names with the same one count together.
"""

import hashlib
import mmap
import threading

_SLOTS = 256  # for workers; more than that share slots, and the sums stay right
_PLACES = 4096  # for names


class Shares:
    """In anonymous memory, shared with all processes forked from this one."""

    def __init__(self) -> None:
        self._shared = memoryview(mmap.mmap(-1, 4 * _SLOTS * _PLACES)).cast("i")
        self._slot = 0
        self._lock = threading.Lock()

    def count_in(self, number: int) -> None:
        """Count this process as that worker from now on."""
        self._slot = number % _SLOTS
        self._lock = threading.Lock()  # the fork may have copied a locked one

    def forget(self, number: int) -> None:
        """A worker ended, and all it ran with it."""
        first = number % _SLOTS * _PLACES
        self._shared[first : first + _PLACES] = memoryview(bytes(4 * _PLACES)).cast("i")

    def take(self, name: str, amount: int, most: int) -> bool:
        """Count `amount` more, unless that makes more than `most`. One request, however large, is
        always allowed if nothing else runs."""
        place = _place(name)
        with self._lock:
            running = sum(self._shared[place::_PLACES])
            if running > 0 and running + amount > most:
                return False
            self._shared[self._slot * _PLACES + place] += amount
            return True

    def give_back(self, name: str, amount: int) -> None:
        with self._lock:
            self._shared[self._slot * _PLACES + _place(name)] -= amount


def _place(name: str) -> int:
    digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=4).digest()
    return int.from_bytes(digest, "big") % _PLACES
