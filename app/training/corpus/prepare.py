"""Turn files into a prepared folder, once.

The folder is named by a hash of its texts, rules and vocabulary, so it is found again rather than
made again. Holds a few megabytes of text in memory, and three numbers for each document.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO

import msgspec
import numpy as np

from app.gpt2 import Tokenizer, whole_folder
from app.training.corpus import documents, split
from app.training.corpus.corpus import REPORT, Corpus, Report, Rules, is_prepared
from app.training.corpus.documents import Pieces
from app.training.corpus.encoder import GROUP, Encoder
from app.training.corpus.formats import BadFile, chunks
from app.training.corpus.seen import Seen, notices
from app.training.corpus.sources import Source
from app.training.corpus.tokens import DATA, TokenFile, TokenWriter
from app.training.corpus.vocabulary import new_vocabulary
from app.training.errors import NoText, TrainingError

VERSION = 3  # of what is written here; raise it to ignore older folders
SPLIT = -1  # the part of documents that are split by the shares

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Files:
    """What to read: texts to be split by the shares, and texts for one part."""

    texts: Sequence[Source]
    validation: Sequence[Source] = ()
    test: Sequence[Source] = ()

    def by_part(self) -> list[tuple[int, Source]]:
        parts = (SPLIT, self.texts), (1, self.validation), (2, self.test)
        return [(part, source) for part, sources in parts for source in sources]


def prepare(
    files: Files, tokenizer: Tokenizer | None, rules: Rules, cache: Path, tell: Tell
) -> Corpus:
    """The corpus, in a folder below `cache`; made if it does not exist."""
    key = _key(files, tokenizer, rules)
    folder = cache / key
    if not is_prepared(folder):
        with whole_folder(folder, ours=REPORT) as temporary:
            _make(files, tokenizer, rules, key, temporary, tell)
    corpus = Corpus.open(folder)
    for notice in notices(corpus.report.files, rules.marks or (), rules.encoding):
        tell(notice)
    return corpus


def _key(files: Files, tokenizer: Tokenizer | None, rules: Rules) -> str:
    """The folder's name: a hash of everything that its content depends on."""
    digest = hashlib.blake2b(digest_size=12)
    digest.update(json.dumps([VERSION, dataclasses.asdict(rules)]).encode())
    if tokenizer is not None and rules.new_vocabulary is None:
        digest.update(tokenizer.to_json().encode())

    @functools.cache  # once for a .zip with many members
    def content(path: Path) -> bytes:
        with contextlib.suppress(OSError), path.open("rb") as file:  # reported when it is read
            return hashlib.file_digest(file, "blake2b").digest()
        return b""

    for part, source in files.by_part():  # the same bytes are read differently as .csv and as .txt
        digest.update(json.dumps([part, source.member, Path(source.name).suffixes]).encode())
        digest.update(content(source.path))
    return digest.hexdigest()


def _make(
    files: Files, tokenizer: Tokenizer | None, rules: Rules, key: str, folder: Path, tell: Tell
) -> None:
    if rules.new_vocabulary is not None:
        tell(f"Training a vocabulary of {rules.new_vocabulary:,} tokens.")
        texts = (piece for source in files.texts for piece in _readable(source, rules) if piece)
        tokenizer = new_vocabulary(texts, rules.new_vocabulary, rules.specials)
        if tokenizer.n_tokens < rules.new_vocabulary:
            n = tokenizer.n_tokens
            tell(f"The text is too short for that many tokens: the vocabulary has only {n:,}.")
    assert tokenizer is not None, "a corpus needs a vocabulary, given or new"
    tokenizer.add_specials(rules.specials)
    encoder = Encoder(tokenizer, rules.marks, folder / "all.tokens", tell)
    read = [_read(part, source, rules, encoder, tell) for part, source in files.by_part()]
    encoder.writer.close()
    if rules.column is not None and not any(file.is_table for file in read):
        raise TrainingError(
            "--column is for .csv, .tsv, .jsonl and tabbed .txt, and no such file was read; "
            "leave it out."
        )
    given = np.repeat([part for part, _ in files.by_part()], [file.documents for file in read])
    read[0].repeated = _repeated(encoder.hashes, given)
    _distribute(encoder, given, rules, folder)
    tokenizer.save(folder)
    report = msgspec.json.encode(Report(key, read, rules))
    (folder / REPORT).write_bytes(msgspec.json.format(report, indent=1))


def _repeated(hashes: Sequence[int], given: np.ndarray) -> int:
    """How many documents of --validation and --test are among the texts too."""
    texts = {number for number, part in zip(hashes, given, strict=True) if part == SPLIT}
    return sum(number in texts for number, part in zip(hashes, given, strict=True) if part != SPLIT)


def _readable(source: Source, rules: Rules) -> Pieces:
    """As much of a file as can be read; its faults are reported when it is encoded."""
    with contextlib.suppress(BadFile):
        yield from _pieces(source, rules, Seen())


def _read(part: int, source: Source, rules: Rules, encoder: Encoder, tell: Tell) -> Seen:
    """Read all of a file, or nothing of it."""
    seen = Seen(name=source.name, part=None if part == SPLIT else split.PARTS[part])
    before = encoder.mark()
    try:
        encoder.read(_pieces(source, rules, seen))
        if encoder.mark() == before:
            raise BadFile("holds no text")
    except BadFile as error:
        tell(f"Skipped: {source.name} {error}.")
        encoder.rewind(before)
        seen = Seen(name=source.name, part=seen.part, skipped=str(error), is_table=seen.is_table)
    counts = (b - a for a, b in zip(before, encoder.mark(), strict=True))
    seen.tokens, seen.bytes, seen.documents = counts
    return seen


def _pieces(source: Source, rules: Rules, seen: Seen) -> Pieces:
    text = chunks(source, rules.column, rules.encoding, seen)
    if rules.line_by_line:
        return documents.lines(text, rules.specials, seen)
    pieces = documents.documents(text, seen)
    return documents.without_heads(pieces) if rules.prose else pieces


def _distribute(encoder: Encoder, given: np.ndarray, rules: Rules, folder: Path) -> None:
    """Copy each document of all.tokens into its part's file."""
    path = folder / "all.tokens"
    everything = TokenFile(path)
    if not len(everything):
        raise NoText
    bounds = np.append(everything.starts, len(everything)).astype(np.int64)
    sizes = np.array(encoder.sizes, np.int64)
    parts = split.parts_of(np.array(encoder.hashes, np.uint64), rules.shares)
    free = given == SPLIT
    whole = rules.line_by_line or split.is_fair(parts[free], sizes[free], rules.shares)
    parts = np.where(free, parts, given)
    writers = [
        TokenWriter(folder / f"{part}.tokens", encoder.tokenizer.n_tokens) for part in split.PARTS
    ]
    with path.open("rb") as file:
        for document, (start, end) in enumerate(pairwise(map(int, bounds))):
            spans = [(start, end) if part == parts[document] else (end, end) for part in range(3)]
            if free[document] and not whole:
                # each part gets its share of the document, after its own separator
                spans = split.cuts(start, end, rules.shares)
            for part, (a, b) in enumerate(spans):
                if b > a:
                    opening = encoder.opening if a > start else []
                    before, behind = (
                        _share(encoder.sizes[document], start, end, at) for at in (a, b)
                    )
                    _copy(file, everything.dtype, (a, b), opening, behind - before, writers[part])
    for writer in writers:
        if not rules.line_by_line and writer.tokens:
            writer.write(encoder.opening, 0)  # so that the end of the last document is learned too
        writer.close()
    if writers[0].tokens < 2:
        raise TrainingError(
            "Nothing is left to train on; give --split a larger first share, or more text."
        )
    path.unlink()


def _share(size: int, start: int, end: int, at: int) -> int:
    """Bytes of a document up to a place in it, as if its tokens were equally long."""
    return size * (at - start) // (end - start)


def _copy(
    file: IO[bytes],
    dtype: np.dtype,
    span: tuple[int, int],
    opening: list[int],
    n_bytes: int,
    writer: TokenWriter,
) -> None:
    """Copy a document or part of one; in pieces, so that memory stays flat."""
    writer.begin_document()
    writer.write(opening, n_bytes)
    file.seek(DATA + span[0] * dtype.itemsize)
    for start in range(*span, GROUP):
        writer.write(np.fromfile(file, dtype, min(GROUP, span[1] - start)), 0)
