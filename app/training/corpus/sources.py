"""Find the files that the user names. Knows where text is, not what is in it."""

import fnmatch
import glob
import http.client
import io
import shutil
import sys
import urllib.request
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import IO, cast

from app.gpt2 import whole_file
from app.training.errors import TrainingError

STDIN = "-"
ADDRESSES = ("http://", "https://")
PATIENCE = 60  # seconds without a byte from an address


@dataclass(frozen=True)
class Source:
    """A file that holds training text: on disk, or a member of a .zip."""

    name: str  # as the user named it; its ending tells the kind of file
    path: Path
    member: str | None = None

    def open(self) -> io.BufferedIOBase:
        if self.member is None:
            return self.path.open("rb")
        stat = self.path.stat()
        archive = _archive(self.path, stat.st_mtime_ns, stat.st_size)
        return cast(io.BufferedIOBase, archive.open(self.member))


@lru_cache(maxsize=2)
def _archive(path: Path, *version: int) -> zipfile.ZipFile:
    """Opened once for all its members, one after the other."""
    return zipfile.ZipFile(path)


def find(
    names: Sequence[str], exclude: Sequence[str], spool: Path, is_first: bool = True
) -> list[Source]:
    """Files, folders with all below them, globs, addresses and "-" (stdin), each file once.

    Folders and globs are sorted. What comes over the network or a pipe is kept in `spool`, where
    the other processes find it.
    """
    found: dict[tuple[Path, str | None], Source] = {}
    for name in names:
        for source in _sources(name, spool, is_first):
            if not any(_matches(source.name, pattern) for pattern in exclude):
                found.setdefault((source.path, source.member), source)
    if not found:
        raise TrainingError(f"There is nothing to read in {', '.join(names)}.")
    return list(found.values())


def check_there(name: str) -> None:
    if name == STDIN or name.startswith(ADDRESSES) or (name and Path(name).exists()):
        return
    if not name or next(glob.iglob(name, recursive=True), None) is None:
        raise TrainingError(f"There is no file or folder {name or repr(name)}.")


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatch(name, pattern) or fnmatch.fnmatch(Path(name).name, pattern)


def _sources(name: str, spool: Path, is_first: bool) -> list[Source]:
    kept = _place(name, spool)
    if name == STDIN:
        return [Source("stdin.txt", _keep(sys.stdin.buffer, kept) if is_first else kept)]
    if name.startswith(ADDRESSES):
        return _members(name.partition("?")[0], _fetch(name, kept) if is_first else kept)
    check_there(name)
    matches = [Path(match) for match in sorted(glob.glob(name, recursive=True))]
    found = []
    for path in matches or [Path(name)]:
        for file in _below(path) if path.is_dir() else [path]:
            found += _members(str(file), file)
    return found


def _below(folder: Path) -> list[Path]:
    """Every file in the folder and its subfolders, except hidden ones."""
    inside = (path for path in folder.rglob("*") if path.is_file())
    return sorted(p for p in inside if not any(s[0] == "." for s in p.relative_to(folder).parts))


def _members(name: str, path: Path) -> list[Source]:
    """The files in a .zip, or the file itself."""
    if not name.lower().endswith(".zip") or not zipfile.is_zipfile(path):
        return [Source(name, path)]
    try:
        with zipfile.ZipFile(path) as archive:
            members = sorted(info.filename for info in archive.infolist() if not info.is_dir())
    except (OSError, zipfile.BadZipFile):  # reported and skipped when it is read
        return [Source(name, path)]
    return [Source(f"{name}/{member}", path, member) for member in members]


def _fetch(address: str, place: Path) -> Path:
    try:
        request = urllib.request.Request(address, headers={"User-Agent": "continuo"})
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            path, length = _keep(answer, place), answer.headers["Content-Length"]
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise TrainingError(f"{address} could not be fetched: {reason}.") from None
    if length is not None and path.stat().st_size != int(length):
        raise TrainingError(f"The download of {address} was interrupted; repeat the command.")
    return path


def _place(name: str, spool: Path) -> Path:
    """Where a stream is kept: a file named after its source."""
    return spool / blake2b(name.encode(), digest_size=8).hexdigest()


def _keep(stream: IO[bytes], place: Path) -> Path:
    with whole_file(place) as new, new.open("wb") as file:
        shutil.copyfileobj(stream, file)
    return place
