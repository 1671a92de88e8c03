"""Weights as the kernel reads them: see matrix.h. Shapes: K inputs, N outputs, padded to 64s."""

import mmap
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from app.gpt2.config import Config

MOST = 127  # steps either way of zero that an int8 takes
MOST_INPUTS = 65_536  # of an int8 matrix: 255 x 127 x this is what a sum of 32 bits holds
LANES, PIECE = 16, 64


class Quantized(NamedTuple):
    """A matrix in whole numbers, packed, and what its inputs and sums are multiplied by."""

    whole: np.ndarray  # [N/16, K/4, 16, 4] int8, -127 to 127
    scales: np.ndarray  # [N] float32
    sums: np.ndarray  # [N] int32: what the whole numbers of an output come to
    inverses: np.ndarray  # [K] float32: inputs are multiplied by these; the weights were divided


Weights = Mapping[str, np.ndarray | Quantized]


def padded(n: int) -> int:
    return -(-n // PIECE) * PIECE


def matrices(config: Config) -> list[str]:
    """All that is multiplied with: four in each layer, and the token table as the head."""
    return [n for n, s in config.shapes().items() if len(s) == 2 and n != "wpe.weight"]


class Memory:
    """Zeros, in pages of two megabytes where the system has them: they are read faster."""

    def __init__(self, n_bytes: int) -> None:
        private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # shared memory has small pages only
        self._map = mmap.mmap(-1, max(n_bytes, mmap.PAGESIZE), private)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            try:
                self._map.madvise(mmap.MADV_HUGEPAGE)
            except OSError:  # a kernel without them
                pass
        self._bytes = np.frombuffer(self._map, np.uint8)
        self._used = 0

    def take(self, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        n_bytes = bytes_of(shape, dtype)
        part = self._bytes[self._used : self._used + n_bytes]
        assert len(part) == n_bytes, "more is taken than was asked for"
        self._used += _rounded(n_bytes)
        return part.view(dtype).reshape(shape)


def bytes_of(shape: tuple[int, ...], dtype: type) -> int:
    return int(np.prod(shape)) * np.dtype(dtype).itemsize


def _rounded(n_bytes: int) -> int:
    return -(-n_bytes // 64) * 64


def room(sizes: Iterator[tuple[tuple[int, ...], type]]) -> int:
    return sum(_rounded(bytes_of(shape, dtype)) for shape, dtype in sizes)


# ---- floats ----


def packed_shape(config: Config, name: str) -> tuple[int, int, int]:
    """[N/16, K, 16] of a matrix in floats."""
    n_in, n_out = config.shapes()[name]
    if name == "wte.weight":  # the token table has its outputs as rows
        n_in, n_out = n_out, n_in
    return padded(n_out) // LANES, padded(n_in), LANES


def pack_floats(to: np.ndarray, name: str, matrix: np.ndarray) -> None:
    """A matrix as stored, into zeros of float32 or, for bfloat16, uint16."""
    source = np.ascontiguousarray(matrix, np.float32)
    by_input = source.T if name == "wte.weight" else source  # [in, out]
    n_in, n_out = by_input.shape
    whole = n_out // LANES * LANES
    for begin in range(0, n_out, 1024 * LANES):  # a part at a time: bits need room of their own
        end = min(begin + 1024 * LANES, whole)
        if end > begin:
            blocks = by_input[:, begin:end].reshape(n_in, -1, LANES).transpose(1, 0, 2)
            to[begin // LANES : end // LANES, :n_in] = _as(blocks, to.dtype)
    if whole < n_out:
        to[whole // LANES, :n_in, : n_out - whole] = _as(by_input[:, whole:], to.dtype)


def _as(floats: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if dtype != np.uint16:
        return floats
    bits = np.ascontiguousarray(floats).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)  # halves to even


# ---- whole numbers ----


def quantize_matrix(name: str, matrix: np.ndarray, greatest: np.ndarray | None) -> Quantized:
    """`greatest` [in]: the greatest |x| that each input has been seen to take, where it is known.

    Inputs that are large beside the others would leave them no digits, and so would weights. So
    each input is divided by sqrt(greatest x / greatest w) and its weights are multiplied by it:
    the product is the same, and both sides bear the same part of the difference.
    """
    rows = matrix if name == "wte.weight" else matrix.T  # [out, in]
    n_out, n_in = rows.shape
    assert n_in <= MOST_INPUTS, f"{name} has {n_in} inputs; whole numbers bear {MOST_INPUTS}"
    vector = _vector(rows, greatest)
    N, K = padded(n_out), padded(n_in)
    made = Quantized(
        np.zeros((N // LANES, K // 4, LANES, 4), np.int8),
        np.zeros(N, np.float32),
        np.zeros(N, np.int32),
        np.zeros(K, np.float32),
    )
    made.inverses[:n_in] = 1 / vector
    for begin in range(0, n_out, 64 * LANES):  # some outputs at a time: the token table is 154 MB
        some = slice(begin, min(begin + 64 * LANES, n_out))
        part = np.asarray(rows[some], np.float32) * vector
        scales = np.maximum(np.abs(part).max(axis=1) / MOST, np.finfo(np.float32).tiny)
        whole = np.zeros((_whole_blocks(len(part)) * LANES, K), np.int8)
        whole[: len(part), :n_in] = np.rint(part / scales[:, None]).clip(-MOST, MOST)
        made.scales[some] = scales
        made.sums[some] = whole[: len(part)].sum(axis=1, dtype=np.int32)
        blocks = whole.reshape(-1, LANES, K // 4, 4).transpose(0, 2, 1, 3)
        made.whole[begin // LANES : begin // LANES + len(blocks)] = blocks
    return made


def _whole_blocks(n_out: int) -> int:
    return -(-n_out // LANES)


def _vector(rows: np.ndarray, greatest: np.ndarray | None) -> np.ndarray:
    """What each input is divided by [in]; 1 for those that are never anything."""
    sizes = np.zeros(rows.shape[1], np.float32)
    for begin in range(0, len(rows), 1024):
        np.maximum(sizes, np.abs(rows[begin : begin + 1024]).max(axis=0), out=sizes)
    if greatest is None:
        return np.ones_like(sizes)
    # What little text left small may be of ordinary size in other text, and would then be the
    # outlier. Without this floor int8 cost the starter 1% of perplexity on texts it had not seen.
    greatest = np.maximum(greatest, np.median(greatest))
    known = (greatest > 0) & (sizes > 0)
    ratio = np.divide(greatest, sizes, out=np.ones_like(sizes), where=known)
    return np.sqrt(ratio).clip(1e-4, 1e4).astype(np.float32)
