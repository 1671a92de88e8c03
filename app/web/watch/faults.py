"""The server's latest own failures, for /status.

Workers append lines to one file that all of them read; without such a file a worker knows only its
own. No text of a request is in it.
"""

import contextlib
import time
from collections import deque
from pathlib import Path

import msgspec

MOST = 2000  # lines kept
HOUR = 3600.0


class Fault(msgspec.Struct, frozen=True):
    time: float
    status: int
    kind: str  # a problem's type
    method: str
    path: str


class Faults:
    def __init__(self) -> None:
        self._own: deque[Fault] = deque(maxlen=MOST)
        self._file: Path | None = None

    def share(self, file: Path) -> None:
        """Share the file with the other workers."""
        self._file = file

    def note(self, fault: Fault) -> None:
        self._own.append(fault)
        if self._file is None:
            return
        with contextlib.suppress(OSError):  # a full disk must not cause another failure
            with self._file.open("ab") as file:
                # In one write, so that lines stay whole.
                file.write(msgspec.json.encode(fault) + b"\n")
                is_long = file.tell() > 400 * MOST
            if is_long:
                self._forget_the_older_half()

    def _forget_the_older_half(self) -> None:
        assert self._file is not None
        lines = self._file.read_bytes().splitlines(keepends=True)
        aside = self._file.with_suffix(f".{id(self)}")
        aside.write_bytes(b"".join(lines[len(lines) // 2 :]))
        aside.replace(self._file)

    def last_hour(self) -> list[Fault]:
        """The latest first."""
        found = list(self._own)
        if self._file is not None:
            with contextlib.suppress(OSError):
                lines = self._file.read_bytes().splitlines()
                found = [fault for line in lines if (fault := _read(line)) is not None]
        return [fault for fault in reversed(found) if fault.time > time.time() - HOUR]


def _read(line: bytes) -> Fault | None:
    try:
        return msgspec.json.decode(line, type=Fault)
    except msgspec.DecodeError:
        return None  # a line that another worker is still writing
