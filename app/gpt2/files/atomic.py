"""Write a file or folder whole or not at all: beside its place, synced, then renamed.

A power cut at any moment leaves the old one or the new one. An existing folder is replaced only if
a file in it proves that it is ours.
"""

import contextlib
import ctypes
import errno
import functools
import glob
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

ABANDONED_S = 86_400  # without a change; nothing takes so long to write
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # Linux's numbers for them


class WouldReplace(ValueError):
    """What would be overwritten, in one sentence."""


def check_free(path: Path, ours: str | None = None) -> None:
    """Refuse to replace what exists, except an empty folder or one that holds `ours`."""
    is_folder = path.is_dir()
    if not path.exists() or (is_folder and not any(path.iterdir())):
        return
    if ours is None:
        raise WouldReplace(f"{path} is there already; name another place, or remove it yourself.")
    if not is_folder or not (path / ours).is_file():
        raise WouldReplace(
            f"{path} is there already and holds no {ours}, so it stays as it is; name another "
            "place, or remove it yourself."
        )


@contextlib.contextmanager
def whole_folder(path: Path, ours: str | None = None) -> Iterator[Path]:
    """A folder to write into, which becomes `path` if no error occurs.

    An existing folder is replaced only if it is empty or holds a file called `ours`.
    """
    check_free(path, ours)
    with _whole(path) as new:
        new.mkdir()
        yield new
        check_free(path, ours)  # another process may have written there in the meantime


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name to write under, which becomes the file if no error occurs."""
    if path.is_dir():
        raise WouldReplace(f"{path} is a folder; name a file.")
    with _whole(path) as new:
        yield new


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear_away(path)
    new = path.with_name(f".{path.name}.{_here()}.{os.getpid()}.partial")
    try:
        yield new
        for file in (*new.rglob("*"), new):
            _sync(file)
        _take_the_place(new, path)
    finally:
        _remove(new)


def _clear_away(path: Path) -> None:
    """Remove what crashed processes left half-written, but not what others write right now.

    Of a process elsewhere we cannot know whether it lives, only how long ago it began.
    """
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        *_, here, pid, _ = left.name.split(".")
        if here != _here():
            with contextlib.suppress(FileNotFoundError):  # it has just been finished
                if time.time() - left.stat().st_mtime > ABANDONED_S:
                    _remove(left)
        elif pid == str(os.getpid()) or not (pid.isdigit() and _is_alive(int(pid))):
            _remove(left)


@functools.cache
def _here() -> str:
    """Where process numbers are unique: two containers may share a folder, and both be 12."""
    try:
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        namespace = 0
    return hashlib.blake2b(f"{namespace} {os.uname().nodename}".encode(), digest_size=4).hexdigest()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # alive, and somebody else's
        return True
    return True


def _take_the_place(new: Path, old: Path) -> None:
    try:
        if os.path.lexists(old) and (old.is_dir() or new.is_dir()):
            _exchange(new, old)  # the old content is now in `new`, which the caller removes
        else:
            new.replace(old)
    except OSError as error:  # another process put a folder there just now
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        _exchange(new, old)
    _sync(old.parent)


def _exchange(one: Path, other: Path) -> None:
    """Swap two names; not atomic where the file system cannot do it."""
    libc = ctypes.CDLL(None)
    names = os.fsencode(one), os.fsencode(other)
    if hasattr(libc, "renameat2"):
        if libc.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) == 0:
            return
    aside = one.with_name(one.name + ".aside")
    other.rename(aside)
    one.rename(other)
    aside.rename(one)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise  # mounts such as Google Drive's cannot sync a folder; other errors count
    finally:
        os.close(handle)
