"""Encode documents, piece by piece, into one token file, with the hash and size of each."""

import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from app.gpt2 import Tokenizer
from app.training.corpus import documents
from app.training.corpus.documents import Pieces
from app.training.corpus.tokens import TokenWriter
from app.training.corpus.words import Words
from app.training.errors import TrainingError

GROUP = 1 << 20  # characters encoded together
SIGN_OF_LIFE = 10  # seconds


class Encoder:
    """`read` one file after another; `rewind` takes back a file that turns out bad."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        marks: tuple[str, str] | None,
        path: Path,
        tell: Callable[[str], None],
    ) -> None:
        opening, closing = marks or (documents.SEPARATOR, None)
        ids = tokenizer.specials
        if opening not in ids:
            raise TrainingError(f"The vocabulary has no {opening}, which separates documents.")
        self.tokenizer, self.words = tokenizer, Words(tokenizer)
        self.opening = [ids[opening]]
        self.closing = [] if closing is None else [ids[closing]]
        self.writer = TokenWriter(path, tokenizer.n_tokens)
        # Of each document's text, so independent of the vocabulary.
        self.hashes: list[int] = []
        self.sizes: list[int] = []  # bytes, before the vocabulary's typography
        self._hash: hashlib.blake2b | None = None  # of the document being written
        self._size = 0
        self._tell, self._told = tell, time.monotonic()

    def mark(self) -> tuple[int, int, int]:
        """How far the token file is: tokens, bytes of text, documents."""
        return self.writer.tokens, self.writer.bytes, len(self.hashes)

    def rewind(self, mark: tuple[int, int, int]) -> None:
        self.writer.rewind(*mark)
        del self.hashes[mark[2] :], self.sizes[mark[2] :]
        self._hash = None

    def read(self, pieces: Pieces) -> None:
        for group in _groups(pieces):
            texts = [piece for piece in group if piece is not None]
            encoded = iter(self.words.encode(texts))
            for piece in group:
                self._end() if piece is None else self._write(piece, next(encoded))
            self._give_sign()

    def _write(self, text: str, ids: np.ndarray) -> None:
        if not len(ids):
            return
        if self._hash is None:
            self._hash, self._size = hashlib.blake2b(digest_size=8), 0
            self.writer.begin_document()
            self.writer.write(self.opening, 0)
        raw = text.encode("utf-8", "surrogatepass")
        self._hash.update(raw)
        self._size += len(raw)
        self.writer.write(ids, len(raw))

    def _end(self) -> None:
        if self._hash is not None:
            self.writer.write(self.closing, 0)
            self.hashes.append(int.from_bytes(self._hash.digest(), "little"))
            self.sizes.append(self._size)
            self._hash = None

    def _give_sign(self) -> None:
        if time.monotonic() - self._told > SIGN_OF_LIFE:
            self._told = time.monotonic()
            self._tell(f"Tokenizing: {self.writer.bytes / 1e6:,.0f} MB of text so far.")


def _groups(pieces: Pieces) -> Iterator[list[str | None]]:
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


def _trimmed(pieces: Pieces) -> Pieces:
    """The pieces, without white space at a document's ends."""
    held, has_begun = "", False  # held: the last piece, until we know whether more follows
    for piece in pieces:
        if piece is None:
            yield held.rstrip()
            yield None
            held, has_begun = "", False
        elif piece and not has_begun:
            held = piece.lstrip("\n")
            has_begun = bool(held)
        elif piece.isspace():
            held += piece
        elif piece:
            yield held
            held = piece
