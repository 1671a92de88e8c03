"""A file of token ids: written as a stream, read as a memory map. Knows no text.

bytes 0-7     b"CONTINUO"
bytes 8-11    version, 1
bytes 12-15   length of the header
bytes 16-     header, JSON: dtype, tokens, documents, bytes (of the text the tokens stand for)
byte 512      the ids, little-endian: uint16, or uint32 where the vocabulary needs it
then          where each document starts, uint64
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from app.training.errors import TrainingError

MAGIC, VERSION, DATA = b"CONTINUO", 1, 512


def dtype_for(n_vocabulary: int) -> np.dtype:
    return np.dtype("<u2" if n_vocabulary <= 1 << 16 else "<u4")


class TokenWriter:
    """Appends documents to `path`, which becomes a token file when the writer is closed."""

    def __init__(self, path: Path, n_vocabulary: int) -> None:
        self.dtype = dtype_for(n_vocabulary)
        self._file = path.open("wb")
        self._file.seek(DATA)
        self._starts: list[int] = []
        self.tokens = self.bytes = 0

    def begin_document(self) -> None:
        self._starts.append(self.tokens)

    def write(self, ids: Sequence[int] | np.ndarray, n_bytes: int) -> None:
        self._file.write(np.asarray(ids, self.dtype).tobytes())
        self.tokens += len(ids)
        self.bytes += n_bytes

    def rewind(self, tokens: int, n_bytes: int, documents: int) -> None:
        """Take back what was written since then."""
        self.tokens, self.bytes = tokens, n_bytes
        del self._starts[documents:]
        self._file.seek(DATA + tokens * self.dtype.itemsize)
        self._file.truncate()

    def close(self) -> None:
        self._file.write(np.asarray(self._starts, "<u8").tobytes())
        says = {"dtype": self.dtype.str, "tokens": self.tokens}
        header = json.dumps(says | {"documents": len(self._starts), "bytes": self.bytes}).encode()
        self._file.seek(0)
        sizes = VERSION.to_bytes(4, "little") + len(header).to_bytes(4, "little")
        self._file.write((MAGIC + sizes + header).ljust(DATA))
        self._file.close()


class TokenFile:
    """`ids` and `starts` are views of the file; nothing is read before it is used."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            start = file.read(DATA)
        if start[:8] != MAGIC:
            raise TrainingError(f"{path} is not a token file; make one with `continuo prepare`.")
        if int.from_bytes(start[8:12], "little") != VERSION:
            raise TrainingError(f"{path} was made by another version; prepare the corpus again.")
        header = json.loads(start[16 : 16 + int.from_bytes(start[12:16], "little")])
        self.path, self.bytes = path, header["bytes"]
        self.dtype = np.dtype(header["dtype"])
        n_tokens, n_documents = header["tokens"], header["documents"]
        end = DATA + n_tokens * self.dtype.itemsize
        if path.stat().st_size != end + 8 * n_documents:
            raise TrainingError(f"{path} is cut short; prepare the corpus again.")
        whole = np.memmap(path, np.uint8, mode="r")
        self.ids = whole[DATA:end].view(self.dtype)
        self.starts = whole[end:].view("<u8")

    def __len__(self) -> int:
        return len(self.ids)

    def pieces(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        """Where each document's rows of up to `block` + 1 tokens begin and end.

        A row begins with the last token of the one before it, so every token but the first of a
        document is a label once.
        """
        starts = self.starts.astype(np.int64)
        ends = np.append(starts, len(self))[1:]
        counts = np.maximum(1, -(-(ends - starts - 1) // block))
        nth = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        begins = np.repeat(starts, counts) + nth * block
        return begins, np.minimum(begins + block + 1, np.repeat(ends, counts))
