"""One engine per server: where it lives, who starts it, and how often.

All processes of a server find the same private directory, its engine's home. The engine holds a
lock on it as long as it lives, so whoever can take the lock knows that no engine runs, and may
start one. Knows no socket and no message.
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ..completion import EngineError
from ..options import EngineOptions
from .owner import Server

RESTARTS = (0, 1, 2, 4, 8)  # seconds before each new start; then the engine has failed,
AGAIN_S = 30.0  # and is tried again after each of these
HOME = re.compile(r"(?P<pid>\d+)-(?P<started>\d+)-[0-9a-f]{8}")
LONGEST_SOCKET = 107  # bytes of a Unix socket's path
MOST_PIDS, MOST_TICKS = 2**22, 10**12  # characters of a server's name, at most
ENOUGH_ROOM = 65_536  # bytes; the most that an engine's settings take

# The command that starts an engine; the path of its home follows.
ENGINE = (sys.executable, "-m", "app.engine.process.service")
# Forks once more, which takes 10 ms: the engine then has no parent that must reap it, and its own
# session, so that it gets no Ctrl-C meant for the server.
ORPHAN = "import os, sys; os.fork() or (os.setsid(), os.execv(sys.argv[1], sys.argv[1:]))"

log = logging.getLogger(__name__)


class Launch(msgspec.Struct, frozen=True):
    """What an engine reads at its start. In a file, since anybody can read a command line."""

    options: EngineOptions
    server: Server
    folder: str  # that relative paths start from


class Home:
    """One engine's directory: its socket, its instructions, and the record of its starts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = path / "socket"
        self._launch = path / "launch.json"
        self._starts = path / "starts"
        self._failure = path / "failure"
        self._last_words = path / "last-words"

    def start(self, launch: Launch) -> str | None:
        """Start the engine unless one runs. Returns the reason once it has failed."""
        if not launch.server.is_alive():
            return "The server has ended."
        self.path.mkdir(mode=0o700, exist_ok=True)
        with self._take_lock() as lock:
            if lock is None:
                return None
            if not self._has_just_failed():
                self._start(launch, lock)
            return self.failure

    def _has_just_failed(self) -> bool:
        """Try a failed engine again after a while: what was missing may be there by now."""
        try:
            age = time.time() - self._failure.stat().st_mtime
        except FileNotFoundError:
            return False
        if age < AGAIN_S:
            return True
        self._starts.write_text(str(len(RESTARTS)))  # a single try
        self._failure.unlink()
        return False

    def _start(self, launch: Launch, lock: int) -> None:
        n_starts = self.count_starts()
        if n_starts > len(RESTARTS):
            return self.fail(f"The engine keeps stopping: {self._read_last_words()}")
        if self._launch.exists():
            log.warning("The engine stopped; starting it again.")
        self._starts.write_text(str(n_starts + 1))
        self._launch.write_bytes(msgspec.json.encode(launch))
        self._spawn(lock)

    def is_running(self) -> bool:
        """Whether there is an engine, even one that is loading or waits for its next try."""
        try:
            with self._take_lock() as lock:
                return lock is None
        except FileNotFoundError:
            return False

    @property
    def failure(self) -> str | None:
        try:
            return self._failure.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def fail(self, sentence: str) -> None:
        """Keep everybody from starting this engine for a while, and log why."""
        log.error("%s", sentence)
        draft = self.path / "failure.draft"
        draft.write_text(sentence, encoding="utf-8")
        draft.rename(self._failure)

    def leave_word(self, sentence: str) -> None:
        """Note why this engine ends; others decide whether to start it again."""
        self._last_words.write_text(sentence, encoding="utf-8")

    def _read_last_words(self) -> str:
        try:
            return self._last_words.read_text(encoding="utf-8")
        except FileNotFoundError:
            return "the log may say why."

    def count_starts(self) -> int:
        return int(self._starts.read_text()) if self._starts.exists() else 0

    def forget_starts(self) -> None:
        """The engine has run well for a while: forget its earlier stops."""
        self._starts.unlink(missing_ok=True)

    def read_launch(self) -> Launch:
        return msgspec.json.decode(self._launch.read_bytes(), type=Launch)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    @contextlib.contextmanager
    def _take_lock(self) -> Iterator[int | None]:
        """The lock, or None while an engine holds it."""
        lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield lock if _is_free(lock) else None
        finally:
            os.close(lock)

    def _spawn(self, lock: int) -> None:
        """Start an engine that inherits the lock, and so holds it until it ends."""
        command = [sys.executable, "-I", "-S", "-c", ORPHAN, *ENGINE, str(self.path), str(lock)]
        root = Path(__file__).parents[3]
        subprocess.run(command, stdin=subprocess.DEVNULL, pass_fds=[lock], cwd=root, check=True)


def _is_free(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def find_home(options: EngineOptions, server: Server, directory: str | None) -> Home:
    """The home of this server's engine for these options, among the user's other engines."""
    parent = _enter_private_directory(directory)
    _remove_abandoned_homes(parent)
    digest = hashlib.sha256(msgspec.json.encode(options)).hexdigest()[:8]
    home = Home(parent / f"{server.pid}-{server.started}-{digest}")
    if len(os.fsencode(home.socket)) > LONGEST_SOCKET:
        raise EngineError(
            f"The path {home.socket} is too long for a socket; set a shorter CONTINUO_RUNTIME."
        )
    return home


def check_directory(directory: str | None) -> None:
    """Raise EngineError before the start of a server whose engine could not live there."""
    path = _enter_private_directory(directory)
    longest = path / f"{MOST_PIDS}-{MOST_TICKS}-ffffffff" / "socket"
    if len(os.fsencode(longest)) > LONGEST_SOCKET:
        raise EngineError(
            f"The path {path} is too long to hold a socket; set a shorter CONTINUO_RUNTIME."
        )
    try:
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(bytes(ENOUGH_ROOM))
    except OSError as error:
        raise EngineError(f"{path} cannot hold the engine's files: {error.strerror}.") from None


def _enter_private_directory(directory: str | None) -> Path:
    path = Path(directory or tempfile.gettempdir()) / f"continuo-{os.getuid()}"
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        seen = path.lstat()
    except OSError as error:
        raise EngineError(f"{path} cannot hold the engine's socket: {error.strerror}.") from None
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.getuid() or seen.st_mode & 0o077:
        raise EngineError(f"{path} must be a directory that you own and nobody else can enter.")
    return path


def _remove_abandoned_homes(parent: Path) -> None:
    """Remove the homes of servers that were killed together with their engines."""
    for path in parent.iterdir():
        if (name := HOME.fullmatch(path.name)) is not None:
            server = Server(int(name["pid"]), int(name["started"]))
            if not server.is_alive() and not Home(path).is_running():
                Home(path).remove()
