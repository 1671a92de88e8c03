"""Writing a folder whole or not at all: beside its place, synced, checksummed, then renamed.

A power cut at any moment leaves the old folder or the new one. Knows nothing of what is inside.
"""

import contextlib
import ctypes
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

MANIFEST = "sha256.json"
AT_FDCWD, RENAME_EXCHANGE = -100, 2


@contextlib.contextmanager
def whole_folder(path: Path, manifest: bool = False) -> Iterator[Path]:
    """An empty folder to write into; on leaving without an error it takes the place of `path`."""
    temporary = path.with_name(f".{path.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)  # what a crash left behind
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if manifest:
            sums = {file.name: sha256(file) for file in sorted(temporary.iterdir())}
            (temporary / MANIFEST).write_text(json.dumps(sums, indent=2), encoding="utf-8")
        for file in temporary.rglob("*"):
            sync(file)
        sync(temporary)
        _take_the_place(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _take_the_place(new: Path, old: Path) -> None:
    if old.exists():
        _exchange(new, old)  # `new` now holds what was there before, and is removed by the caller
    else:
        new.rename(old)
    sync(old.parent)


def _exchange(one: Path, other: Path) -> None:
    """Swap two folders; where the file system cannot do it at once, there is a moment between."""
    libc = ctypes.CDLL(None)
    names = os.fsencode(one), os.fsencode(other)
    if hasattr(libc, "renameat2"):
        if libc.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) == 0:
            return
    aside = one.with_name(one.name + ".aside")
    other.rename(aside)
    one.rename(other)
    aside.rename(one)


def sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, text: str) -> None:
    """A small text file, replaced at once."""
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_text(text, encoding="utf-8")
    sync(temporary)
    temporary.replace(path)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_intact(folder: Path) -> bool:
    """Every file of a folder written with a manifest is there and has its checksum."""
    try:
        sums = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return all(sha256(folder / name) == digest for name, digest in sums.items())
    except (OSError, ValueError):
        return False
