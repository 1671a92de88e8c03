"""A pile of text -> a folder of token files to train, validate and test with.

    train.tokens  validation.tokens  test.tokens   documents, each after <|endoftext|>
    tokenizer.json                                 the vocabulary they are in
    corpus.json                                    what was read, and what was wrong with it

The folder is named by its content, its rules and its vocabulary, and is found again instead of
made again. Memory holds a few megabytes of text at a time, whatever the size of the corpus.
"""

import contextlib
import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from app.gpt2 import Tokenizer, whole_folder
from app.training.config import TrainingError
from app.training.corpus import documents as text
from app.training.corpus import split
from app.training.corpus.formats import BadFile, chunks
from app.training.corpus.sources import Source
from app.training.corpus.tokens import DATA, TokenFile, TokenWriter
from app.training.corpus.vocabulary import new_vocabulary
from app.training.corpus.words import Words

VERSION = 2  # of what is written here; another one makes old folders be ignored
REPORT = "corpus.json"
GROUP = 1 << 20  # characters encoded together


@dataclass(frozen=True)
class Rules:
    """How text becomes documents and tokens."""

    shares: tuple[float, float, float] = (70.0, 20.0, 10.0)  # to train, validate and test
    line_by_line: bool = False  # a document is a line, between the three marks below
    bos: str = "<BOS>"
    eos: str = "<EOS>"
    pad: str = "<PAD>"
    column: str | None = None  # of tables, or the field of .jsonl
    prose: bool = False  # leave out titles and chapter heads
    new_vocabulary: int | None = None  # tokens in a vocabulary trained on this corpus

    def __post_init__(self) -> None:
        if not (self.bos and self.eos and self.pad):
            raise TrainingError("--bos, --eos and --pad are words such as <BOS>, and not empty.")

    @property
    def specials(self) -> list[str]:
        return [self.bos, self.eos, self.pad] if self.line_by_line else []


@dataclass(frozen=True)
class Corpus:
    """A prepared folder, opened."""

    folder: Path
    train: TokenFile
    validation: TokenFile
    test: TokenFile
    tokenizer: Tokenizer
    report: dict  # corpus.json

    @classmethod
    def open(cls, folder: Path) -> "Corpus":
        parts = [TokenFile(folder / f"{part}.tokens") for part in split.PARTS]
        tokenizer = Tokenizer.beside(folder)
        if tokenizer is None:
            raise TrainingError(f"{folder} has lost its tokenizer.json; prepare the corpus again.")
        report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
        if "key" not in report:
            raise TrainingError(f"{folder} was made by an older version; prepare the corpus again.")
        return cls(folder, *parts, tokenizer, report)

    @property
    def key(self) -> str:
        """What its tokens depend on, as one hash; the same wherever the folder lies."""
        return self.report["key"]

    def copy(self, folder: Path) -> Path:
        """Its files in a new folder; the same corpus already there is left as it is."""
        if is_prepared(folder) and Corpus.open(folder).key == self.key:
            return folder
        with whole_folder(folder) as temporary:
            shutil.copytree(self.folder, temporary, dirs_exist_ok=True)
        return folder

    @property
    def begin(self) -> int:
        """The token before the first of a text."""
        return self._mark("bos")

    @property
    def end(self) -> int:
        return self._mark("eos")

    @property
    def pad(self) -> int:
        return self._mark("pad")

    def _mark(self, name: str) -> int:
        rules = self.report["rules"]
        return self.tokenizer.specials[rules[name] if rules["line_by_line"] else text.SEPARATOR]


Tell = Callable[[str], None]


def is_prepared(folder: Path) -> bool:
    return (folder / REPORT).is_file() and (folder / "train.tokens").is_file()


def prepare(
    sources: Sequence[Source], tokenizer: Tokenizer | None, rules: Rules, cache: Path, tell: Tell
) -> Corpus:
    """The corpus in its folder below `cache`, made if it is not there yet."""
    key = _key(sources, tokenizer, rules)
    folder = cache / key
    if not is_prepared(folder):
        with whole_folder(folder, ours=REPORT) as temporary:
            _make(sources, tokenizer, rules, key, temporary, tell)
    return Corpus.open(folder)


def _key(sources: Sequence[Source], tokenizer: Tokenizer | None, rules: Rules) -> str:
    """A name for the result: a hash of all that it depends on."""
    digest = hashlib.blake2b(digest_size=12)
    digest.update(json.dumps([VERSION, dataclasses.asdict(rules)]).encode())
    if tokenizer is not None and rules.new_vocabulary is None:
        digest.update(tokenizer.to_json().encode())
    for source in sources:  # the same bytes are another text as .csv than as .txt
        digest.update(json.dumps([source.member, Path(source.name).suffixes]).encode())
        with contextlib.suppress(OSError), source.path.open("rb") as file:  # told when it is read
            digest.update(hashlib.file_digest(file, "blake2b").digest())
    return digest.hexdigest()


def _make(
    sources: Sequence[Source],
    tokenizer: Tokenizer | None,
    rules: Rules,
    key: str,
    folder: Path,
    tell: Tell,
) -> None:
    if rules.new_vocabulary is not None:
        tell(f"Training a vocabulary of {rules.new_vocabulary:,} tokens.")
        texts = (piece for source in sources for piece in _readable(source, rules) if piece)
        tokenizer = new_vocabulary(texts, rules.new_vocabulary, rules.specials)
        if tokenizer.n_tokens < rules.new_vocabulary:
            tell(f"There is no more to merge in so little text: it has {tokenizer.n_tokens:,}.")
    assert tokenizer is not None, "a corpus needs a vocabulary, given or new"
    tokenizer.add_specials(rules.specials)
    encoder = Encoder(tokenizer, rules, folder / "all.tokens")
    files = [_read(source, rules, encoder, tell) for source in sources]
    _distribute(encoder, rules, folder)
    tokenizer.save(folder)
    says = {"key": key, "files": files, "rules": dataclasses.asdict(rules)}
    (folder / REPORT).write_text(json.dumps(says, indent=1), encoding="utf-8")


def _readable(source: Source, rules: Rules) -> text.Pieces:
    """As much of a file as can be read; what is wrong with it is told when it is encoded."""
    with contextlib.suppress(BadFile):
        yield from _pieces(source, rules)


def _read(source: Source, rules: Rules, encoder: "Encoder", tell: Tell) -> dict:
    """All of a file, or nothing of it."""
    before = encoder.mark()
    says = {"name": source.name}
    try:
        encoder.read(_pieces(source, rules))
    except BadFile as error:
        tell(f"Skipped: {source.name} {error}.")
        encoder.rewind(before)
        says["skipped"] = str(error)
    counts = (b - a for a, b in zip(before, encoder.mark(), strict=True))
    return says | dict(zip(COUNTS, counts, strict=True))


COUNTS = ("tokens", "bytes", "documents")


def _pieces(source: Source, rules: Rules) -> text.Pieces:
    if rules.line_by_line:
        return text.lines(chunks(source, rules.column))
    pieces = text.documents(chunks(source, rules.column))
    return text.without_heads(pieces) if rules.prose else pieces


class Encoder:
    """Pieces of text -> one token file of all documents, and a hash of each."""

    def __init__(self, tokenizer: Tokenizer, rules: Rules, path: Path) -> None:
        marks = tokenizer.specials
        opening, closing = (rules.bos, rules.eos) if rules.line_by_line else (text.SEPARATOR, None)
        if opening not in marks:
            raise TrainingError(f"The vocabulary has no {opening} to separate documents with.")
        self.tokenizer, self.words = tokenizer, Words(tokenizer)
        self.opening = [marks[opening]]
        self.closing = [] if closing is None else [marks[closing]]
        self.lengths = np.array(
            [0 if id in marks.values() else len(tokenizer.token_bytes(id))
             for id in range(tokenizer.n_tokens)]
        )  # fmt: skip
        self.writer = TokenWriter(path, tokenizer.n_tokens)
        self.hashes: list[int] = []
        self._hash: hashlib.blake2b | None = None  # of the document being written

    def mark(self) -> tuple[int, int, int]:
        """Where the file is: tokens, bytes of text, documents."""
        return self.writer.tokens, self.writer.bytes, len(self.hashes)

    def rewind(self, mark: tuple[int, int, int]) -> None:
        self.writer.rewind(*mark)
        del self.hashes[mark[2] :]
        self._hash = None

    def read(self, pieces: text.Pieces) -> None:
        for group in _groups(pieces):
            texts = [piece for piece in group if piece is not None]
            encoded = iter(self.words.encode(texts))
            for piece in group:
                self._end() if piece is None else self._write(next(encoded))

    def _write(self, ids: np.ndarray) -> None:
        if not len(ids):
            return
        if self._hash is None:
            self._hash = hashlib.blake2b(digest_size=8)
            self.writer.begin_document()
            self.writer.write(self.opening, 0)
        self._hash.update(ids)
        self.writer.write(ids, int(self.lengths[ids].sum()))

    def _end(self) -> None:
        if self._hash is not None:
            self.writer.write(self.closing, 0)
            self.hashes.append(int.from_bytes(self._hash.digest(), "little"))
            self._hash = None


def _groups(pieces: text.Pieces) -> Iterator[list[str | None]]:
    """Pieces in lists of about GROUP characters."""
    group: list[str | None] = []
    size = 0
    for piece in _trimmed(pieces):
        group.append(piece)
        size += len(piece or "")
        if size > GROUP:
            yield group
            group, size = [], 0
    yield group


def _trimmed(pieces: text.Pieces) -> text.Pieces:
    """The same pieces without the blank edges of each document."""
    held, begun = "", False  # held: the last piece, until it is known whether the document goes on
    for piece in pieces:
        if piece is None:
            yield held.rstrip()
            yield None
            held, begun = "", False
        elif piece and not begun:
            held = piece.lstrip("\n")
            begun = bool(held)
        elif piece.isspace():
            held += piece
        elif piece:
            yield held
            held = piece


def _distribute(encoder: Encoder, rules: Rules, folder: Path) -> None:
    """The documents of all.tokens, each to its part's file."""
    encoder.writer.close()
    path = folder / "all.tokens"
    everything = TokenFile(path)
    if not len(everything):
        raise TrainingError("There is no text in what was named.")
    bounds = np.append(everything.starts, len(everything)).astype(np.int64)
    lengths = np.diff(bounds)
    parts = split.parts_of(np.array(encoder.hashes, np.uint64), lengths, rules.shares)
    whole = rules.line_by_line or split.is_fair(parts, lengths, rules.shares)
    writers = [
        TokenWriter(folder / f"{part}.tokens", encoder.tokenizer.n_tokens) for part in split.PARTS
    ]
    with path.open("rb") as file:
        for document, (start, end) in enumerate(zip(bounds, bounds[1:], strict=False)):
            spans = [(start, end) if part == parts[document] else (end, end) for part in range(3)]
            if not whole:  # each part gets its share of the document, after a separator of its own
                spans = split.cuts(start, end, rules.shares)
            for part, (a, b) in enumerate(spans):
                if b > a:
                    opening = encoder.opening if a > start else []
                    _copy(file, everything.dtype, (a, b), opening, writers[part], encoder)
    for writer in writers:
        if not rules.line_by_line and writer.tokens:
            writer.write(encoder.opening, 0)  # the end of the last document is learned too
        writer.close()
    path.unlink()


def _copy(
    file: IO[bytes],
    dtype: np.dtype,
    span: tuple[int, int],
    opening: list[int],
    writer: TokenWriter,
    encoder: Encoder,
) -> None:
    """A document or a part of one; read in pieces, not mapped, so that memory stays flat."""
    writer.begin_document()
    writer.write(opening, 0)
    file.seek(DATA + span[0] * dtype.itemsize)
    for start in range(*span, GROUP):
        ids = np.fromfile(file, dtype, min(GROUP, span[1] - start))
        writer.write(ids, int(encoder.lengths[ids].sum()))
