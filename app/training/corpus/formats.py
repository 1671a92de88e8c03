"""Read the text of a file: compressed, in any encoding, a table, or an .npz of ids.

Text comes in chunks, with \\n as the line end; each row of a table or list ends with a separator
line. A file that cannot be read raises BadFile, which is reported.
"""

import csv
import gzip
import io
import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import PurePath

import numpy as np

from app.gpt2 import Tokenizer
from app.training.corpus.documents import SEPARATOR
from app.training.corpus.encodings import encoding_of_file
from app.training.corpus.seen import Seen
from app.training.corpus.sources import Source

CHUNK = 1 << 20  # characters read at a time
COLUMN = "text"  # of a table, by default; the first column if there is none of this name
LONGEST_CELL = 1 << 30


# RuntimeError: a .zip with a password or an unknown compression
UNREADABLE = (
    OSError, EOFError, ValueError, RuntimeError, zlib.error, zipfile.BadZipFile, csv.Error,
)  # fmt: skip


class BadFile(Exception):
    """Why a file is skipped, as the end of a sentence."""


def chunks(source: Source, column: str | None, encoding: str | None, seen: Seen) -> Iterator[str]:
    """The text of a file, read as the ending of its name says."""
    reader = _Reader(column, encoding, seen)
    try:
        with source.open() as raw:
            for text in reader.opened(raw, PurePath(source.name.lower())):
                seen.replaced += text.count("\ufffd")
                yield text
    except UNREADABLE as error:
        raise BadFile(f"cannot be read: {error}") from None


class _Reader:
    """Opens one file layer by layer: compression, encoding, kind."""

    def __init__(self, column: str | None, encoding: str | None, seen: Seen) -> None:
        self.column, self.encoding, self.seen = column, encoding, seen

    def opened(self, raw: io.BufferedIOBase, name: PurePath) -> Iterator[str]:
        if name.suffix == ".gz":
            with gzip.open(raw) as unpacked:
                yield from self.opened(unpacked, name.with_suffix(""))
        elif name.suffix == ".zip":
            raise BadFile("is a .zip that cannot be opened")
        elif name.suffix == ".npz":
            yield from _token_chunks(raw)
        else:
            with self._text(raw) as file:
                yield from self._of_kind(file, name.suffix)

    def _text(self, raw: io.BufferedIOBase) -> io.TextIOWrapper:
        if not raw.seekable():  # a sample is read first, and then again with the rest
            raw = io.BytesIO(raw.read())
        found = encoding_of_file(raw)
        if found is None and self.encoding is None:
            raise BadFile("holds no text")
        raw.seek(0)
        encoding = self.encoding or found
        self.seen.encoding = encoding or ""
        return io.TextIOWrapper(io.BufferedReader(raw), encoding, errors="replace", newline=None)

    def _of_kind(self, file: io.TextIOWrapper, suffix: str) -> Iterator[str]:
        if suffix in (".jsonl", ".ndjson"):
            self.seen.is_table = True
            yield from _documents(_json_lines(file, self.column or COLUMN))
        elif suffix in (".csv", ".tsv"):
            self.seen.is_table = True
            yield from _documents(_table(file, suffix == ".tsv", self.column))
        elif self.column is not None and _has_tabs(file):
            self.seen.is_table = True
            yield from _documents(_table(file, True, self.column))
        else:
            while chunk := file.read(CHUNK):
                yield chunk


def _has_tabs(file: io.TextIOWrapper) -> bool:
    """Whether the first line looks like a table's, as in CMU's booksummaries.txt."""
    first = file.readline()
    file.seek(0)
    return "\t" in first


def _documents(texts: Iterator[str]) -> Iterator[str]:
    for text in texts:
        yield f"{text}\n{SEPARATOR}\n"


def _json_lines(file: io.TextIOWrapper, field: str) -> Iterator[str]:
    """Each line is a string, or an object with the field."""
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError:
            raise BadFile(f"is not JSON in line {number}") from None
        if isinstance(value, dict):
            if field not in value:
                raise BadFile(
                    f"has no field {field!r} in line {number}; name the field with --column"
                )
            value = value[field]
        if value is not None:
            yield str(value)


def _table(file: io.TextIOWrapper, tabs: bool, column: str | None) -> Iterator[str]:
    """The named column, or else "text", or else the first; the first row is the header.

    A table whose column is given by its number, from 0, has no header.
    """
    rows = _rows_between_tabs(file) if tabs else _rows_between_commas(file)
    if column is not None and column.isdigit():
        index = int(column)
    else:
        header = next(rows, [])
        if column is not None and column not in header:
            some = ", ".join(cell[:20] for cell in header[:8])
            raise BadFile(
                f"has no column {column!r}; its first row is {some}. Where that is no header, give "
                "the column's number: the first is 0"
            )
        wanted = column or COLUMN
        index = header.index(wanted) if wanted in header else 0
    for row in rows:
        if len(row) > index:
            yield row[index]


def _rows_between_commas(file: io.TextIOWrapper) -> Iterator[list[str]]:
    csv.field_size_limit(LONGEST_CELL)
    yield from csv.reader(file)


def _rows_between_tabs(file: io.TextIOWrapper) -> Iterator[list[str]]:
    """Rows of a tabbed table: one per line, since its quotes are plain characters."""
    for line in file:
        yield [_unquoted(cell) for cell in line.rstrip("\n").split("\t")]


def _unquoted(cell: str) -> str:
    if len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in cell[1:-1].replace('""', ""):
        return cell[1:-1].replace('""', '"')
    return cell


def _token_chunks(raw: io.BufferedIOBase) -> Iterator[str]:
    """Ids of GPT-2's vocabulary as encode.py writes them; each member ends a document.

    encode.py spelled the separator out in letters; both spellings separate documents here.
    """
    tokenizer = Tokenizer.gpt2()
    with np.load(io.BytesIO(raw.read()), allow_pickle=False) as archive:
        for member in archive.files:
            ids = archive[member].ravel()
            if ids.dtype.kind not in "iu" or not np.isin(ids, range(tokenizer.n_tokens)).all():
                raise BadFile("holds other numbers than GPT-2's token ids")
            text = tokenizer.decode(ids.tolist())
            yield from _documents(iter(text.split(SEPARATOR)))
