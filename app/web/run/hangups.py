"""Notice peers who hang up: one thread for a process, asleep until somebody does.

Checking the socket before each token would cost a system call and the interpreter's lock each time.
"""

import logging
import select
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

# EPOLLRDHUP comes as soon as the peer has closed, even behind unread bytes and under TLS. A client
# that only shuts down its sending side looks the same and counts as gone.
_GONE = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR

Tell = Callable[[], None]

log = logging.getLogger(__name__)


class Hangups:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._epoll: select.epoll | None = None  # made in watch(), since a fork would share it
        self._waiting: dict[int, list[Tell]] = {}  # by file descriptor

    def watch(self, accepted: socket.socket, tell: Tell) -> Tell:
        """Call `tell` when the peer hangs up; returns a function that stops watching.

        Stop before the socket is closed, since its number is then used for another.
        """
        fd = accepted.fileno()
        with self._lock:
            if self._epoll is None:
                self._epoll = select.epoll()
                threading.Thread(target=self._listen, args=(self._epoll,), daemon=True).start()
            if fd not in self._waiting:
                self._waiting[fd] = []
                self._epoll.register(fd, _GONE)
            self._waiting[fd].append(tell)
        return lambda: self._forget(fd, tell)

    def _forget(self, fd: int, tell: Tell) -> None:
        with self._lock:
            tells = self._waiting.get(fd, [])
            if tell in tells:
                tells.remove(tell)
                if not tells:
                    self._drop(fd)

    def _drop(self, fd: int) -> list[Tell]:
        assert self._epoll is not None
        self._epoll.unregister(fd)
        return self._waiting.pop(fd)

    def _listen(self, epoll: select.epoll) -> None:
        tellers = ThreadPoolExecutor(4, "hangups")
        while True:
            for fd, _ in epoll.poll():
                for tell in self._take(fd):
                    tellers.submit(_tell, tell)  # which may wait for the engine's answer

    def _take(self, fd: int) -> list[Tell]:
        """The functions to call; none if the number belongs to another socket by now."""
        with self._lock:
            if fd not in self._waiting or not _is_gone(fd):
                return []
            return self._drop(fd)


def _tell(tell: Tell) -> None:
    try:
        tell()
    except Exception:
        log.exception("Ending the request of a reader who left failed.")


def _is_gone(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLRDHUP)  # errors and hangups are always reported
    return bool(poll.poll(0))
