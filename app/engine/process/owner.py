"""Which process is the server: the one an engine belongs to, and ends with.

Knows no engine. Reads /proc, which only Linux has.
"""

import os
from pathlib import Path

import msgspec


class Server(msgspec.Struct, frozen=True):
    """A process, distinguished from later ones with the same number."""

    pid: int
    started: int  # clock ticks since boot

    def is_alive(self) -> bool:
        seen = _look_at(self.pid)
        return seen is not None and seen.started == self.started and seen.letter not in "ZX"

    def watch(self) -> int:
        """A file descriptor that is readable once it ends; ProcessLookupError if it has already."""
        pidfd = os.pidfd_open(self.pid)
        if not self.is_alive():
            os.close(pidfd)
            raise ProcessLookupError(f"The server {self.pid} has ended.")
        return pidfd


def find_server() -> Server:
    """gunicorn's master, for itself and its workers; otherwise this process."""
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
    addresses: list[str]  # of code and stack: random at each program start, kept by a fork

    def is_fork_of(self, parent: "_Process") -> bool:
        """A worker is a fork of its master; the child of Flask's reloader is a new program.

        A worker that has given up root cannot see its master's addresses, so the name decides.
        """
        if parent.addresses[-1] == "0":
            return self.name == parent.name
        return self.addresses == parent.addresses


def _look_at(pid: int) -> _Process | None:
    try:
        line = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    head, tail = line.rsplit(")", 1)  # the name may contain anything, even ")"
    fields = tail.split()
    name = head.split("(", 1)[1]
    return _Process(pid, name, fields[0], int(fields[1]), int(fields[19]), fields[23:26])
