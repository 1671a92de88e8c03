"""A file's bytes -> its text: compressions, encodings, tables, OpenAI-style .npz of ids.

Text comes in chunks with line ends as \\n; rows of tables and lists end with a separator line, as
documents in a text do. A file that cannot be read raises BadFile, which the corpus reports.
"""

import csv
import gzip
import io
import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import PurePath
from typing import IO

import numpy as np

from app.gpt2 import Tokenizer
from app.training.corpus.documents import SEPARATOR
from app.training.corpus.encodings import encoding_of
from app.training.corpus.sources import Source

CHUNK = 1 << 20  # characters read at a time
SAMPLE = 1 << 20  # bytes looked at to tell the encoding
COLUMN = "text"  # of a table, where the user names none; where there is no such column, the first
LONGEST_CELL = 1 << 30


# RuntimeError: a .zip that wants a password or an unknown compression
UNREADABLE = (
    OSError, EOFError, ValueError, RuntimeError, zlib.error, zipfile.BadZipFile, csv.Error,
)  # fmt: skip


class BadFile(Exception):
    """Why a file is skipped, as the end of a sentence."""


def chunks(source: Source, column: str | None = None) -> Iterator[str]:
    """The text of a file, whatever its name's ending says it is."""
    try:
        with source.open() as raw:
            yield from _opened(raw, PurePath(source.name.lower()), column)
    except UNREADABLE as error:
        raise BadFile(f"cannot be read: {error}") from None


def _opened(raw: IO[bytes], name: PurePath, column: str | None) -> Iterator[str]:
    if name.suffix == ".gz":
        with gzip.open(raw) as unpacked:
            yield from _opened(unpacked, name.with_suffix(""), column)
    elif name.suffix == ".zip":
        raise BadFile("is a .zip that cannot be opened")
    elif name.suffix == ".npz":
        yield from _token_chunks(raw)
    else:
        with _text(raw) as file:
            yield from _of_kind(file, name.suffix, column)


def _of_kind(file: io.TextIOWrapper, suffix: str, column: str | None) -> Iterator[str]:
    if suffix in (".jsonl", ".ndjson"):
        yield from _documents(_json_lines(file, column or COLUMN))
    elif suffix in (".csv", ".tsv"):
        yield from _documents(_table(file, "\t" if suffix == ".tsv" else ",", column))
    else:
        while chunk := file.read(CHUNK):
            yield chunk


def _text(raw: IO[bytes]) -> io.TextIOWrapper:
    buffered = io.BufferedReader(raw, SAMPLE)
    encoding = encoding_of(buffered.peek(SAMPLE))
    if encoding is None:
        raise BadFile("holds no text")
    return io.TextIOWrapper(buffered, encoding, errors="replace", newline=None)


def _documents(texts: Iterator[str]) -> Iterator[str]:
    for text in texts:
        yield f"{text}\n{SEPARATOR}\n"


def _json_lines(file: io.TextIOWrapper, field: str) -> Iterator[str]:
    """A string per line, or the field of an object per line."""
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError:
            raise BadFile(f"is no JSON in line {number}") from None
        if isinstance(value, dict):
            if field not in value:
                raise BadFile(f"has no field {field!r} in line {number}; name yours with --field")
            value = value[field]
        if value is not None:
            yield str(value)


def _table(file: io.TextIOWrapper, delimiter: str, column: str | None) -> Iterator[str]:
    """The named column, or the one called "text", or the first; the first row is the header.

    A column named by its number (0 is the first) is taken in a table without a header.
    """
    csv.field_size_limit(LONGEST_CELL)
    rows = csv.reader(file, delimiter=delimiter)
    if column is not None and column.isdigit():
        index = int(column)
    else:
        header = next(rows, [])
        if column is not None and column not in header:
            raise BadFile(f"has no column {column!r}; it has {', '.join(header[:8])}")
        wanted = column or COLUMN
        index = header.index(wanted) if wanted in header else 0
    for row in rows:
        if len(row) > index:
            yield row[index]


def _token_chunks(raw: IO[bytes]) -> Iterator[str]:
    """Ids of GPT-2's vocabulary as encode.py writes them: each member ends a document.

    That program put the separator in as text; here it separates whichever way it is written.
    """
    tokenizer = Tokenizer.gpt2()
    with np.load(io.BytesIO(raw.read()), allow_pickle=False) as archive:
        for member in archive.files:
            ids = archive[member].ravel()
            if ids.dtype.kind not in "iu" or not np.isin(ids, range(tokenizer.n_tokens)).all():
                raise BadFile("holds other numbers than GPT-2's token ids")
            text = tokenizer.decode(ids.tolist())
            yield from _documents(iter(text.split(SEPARATOR)))
