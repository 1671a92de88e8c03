"""Which process is the server: the one that an engine belongs to, and whose end it shares.

Knows no engine. Reads /proc, as only Linux has it.
"""

import os
from pathlib import Path

import msgspec


class Server(msgspec.Struct, frozen=True):
    """A process, told apart from later ones of the same number."""

    pid: int
    started: int  # clock ticks since boot

    def is_alive(self) -> bool:
        seen = _look_at(self.pid)
        return seen is not None and seen.started == self.started and seen.letter not in "ZX"

    def watch(self) -> int:
        """A file descriptor that becomes readable when it ends; ProcessLookupError if it has."""
        pidfd = os.pidfd_open(self.pid)
        if not self.is_alive():
            os.close(pidfd)
            raise ProcessLookupError(f"The server {self.pid} has ended.")
        return pidfd


def find_server() -> Server:
    """gunicorn's master, seen from itself or any of its workers; otherwise this process."""
    seen = _look_at(os.getpid())
    assert seen is not None
    while (parent := _look_at(seen.parent)) is not None and seen.is_fork_of(parent):
        seen = parent
    return Server(seen.pid, seen.started)


class _Process(msgspec.Struct, frozen=True):
    pid: int
    name: str
    letter: str  # R runs, S sleeps, Z is a zombie
    parent: int
    started: int
    addresses: list[str]  # of code and stack: drawn anew by each program start, kept by a fork

    def is_fork_of(self, parent: "_Process") -> bool:
        """A worker is its master's fork; the child of Flask's reloader is a program started anew.

        A worker that has given up root may not see its master's addresses, and goes by the name.
        """
        if parent.addresses[-1] == "0":
            return self.name == parent.name
        return self.addresses == parent.addresses


def _look_at(pid: int) -> _Process | None:
    try:
        line = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    head, tail = line.rsplit(")", 1)  # the name may hold anything, a ")" too
    fields = tail.split()
    name = head.split("(", 1)[1]
    return _Process(pid, name, fields[0], int(fields[1]), int(fields[19]), fields[23:26])
