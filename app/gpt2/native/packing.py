"""Pack weights for the kernel: see matrix.h. K inputs, N outputs, padded to multiples of 64."""

import mmap
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from app.gpt2.config import Config

MOST = 127  # the greatest int8 that is used, with either sign
MOST_INPUTS = 65_536  # of an int8 matrix: 255 x 127 x this just fits in 32 bits
LANES, PIECE = 16, 64


class Quantized(NamedTuple):
    """An int8 matrix, packed, and the factors of its inputs and outputs."""

    weights: np.ndarray  # [N/16, K/4, 16, 4] int8, -127 to 127
    scales: np.ndarray  # [N] float32: factors of the outputs
    sums: np.ndarray  # [N] int32: the sum of an output's weights
    inverses: np.ndarray  # [K] float32: factors of the inputs; the weights were divided by them


Weights = Mapping[str, np.ndarray | Quantized]


def padded(n: int) -> int:
    return -(-n // PIECE) * PIECE


def matrices(config: Config) -> list[str]:
    """The matrices of a forward pass: four in each layer, and the token table as the head."""
    return [n for n, s in config.shapes().items() if len(s) == 2 and n != "wpe.weight"]


class Memory:
    """Zeroed memory, in pages of 2 MB where the system has them, which are faster to read."""

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
        assert len(part) == n_bytes, "more was taken than reserved"
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
    """Pack a matrix as stored into `to`, zeros of float32, or of uint16 for bfloat16."""
    source = np.ascontiguousarray(matrix, np.float32)
    by_input = source.T if name == "wte.weight" else source  # [in, out]
    n_in, n_out = by_input.shape
    n_full = n_out // LANES * LANES
    for begin in range(0, n_out, 1024 * LANES):  # in parts, since _as copies
        end = min(begin + 1024 * LANES, n_full)
        if end > begin:
            blocks = by_input[:, begin:end].reshape(n_in, -1, LANES).transpose(1, 0, 2)
            to[begin // LANES : end // LANES, :n_in] = _as(blocks, to.dtype)
    if n_full < n_out:
        to[n_full // LANES, :n_in, : n_out - n_full] = _as(by_input[:, n_full:], to.dtype)


def _as(floats: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if dtype != np.uint16:
        return floats
    bits = np.ascontiguousarray(floats).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)  # to nearest even


# ---- int8 ----


def quantize_matrix(name: str, matrix: np.ndarray, greatest: np.ndarray | None) -> Quantized:
    """`greatest` [in]: the greatest |x| seen of each input, if known.

    One input much larger than the others would take all their precision, and so would one weight.
    So each input is divided by sqrt(greatest x / greatest w) and its weights are multiplied by it:
    the product stays the same, and both sides share the range.
    """
    rows = matrix if name == "wte.weight" else matrix.T  # [out, in]
    n_out, n_in = rows.shape
    assert n_in <= MOST_INPUTS, f"{name} has {n_in} inputs, at most {MOST_INPUTS}"
    vector = _vector(rows, greatest)
    N, K = padded(n_out), padded(n_in)
    made = Quantized(
        np.zeros((N // LANES, K // 4, LANES, 4), np.int8),
        np.zeros(N, np.float32),
        np.zeros(N, np.int32),
        np.zeros(K, np.float32),
    )
    made.inverses[:n_in] = 1 / vector
    for begin in range(0, n_out, 64 * LANES):  # in parts: the token table is 154 MB as float32
        some = slice(begin, min(begin + 64 * LANES, n_out))
        part = np.asarray(rows[some], np.float32) * vector
        scales = np.maximum(np.abs(part).max(axis=1) / MOST, np.finfo(np.float32).tiny)
        rounded = np.zeros((-(-len(part) // LANES) * LANES, K), np.int8)
        rounded[: len(part), :n_in] = np.rint(part / scales[:, None]).clip(-MOST, MOST)
        made.scales[some] = scales
        made.sums[some] = rounded[: len(part)].sum(axis=1, dtype=np.int32)
        blocks = rounded.reshape(-1, LANES, K // 4, 4).transpose(0, 2, 1, 3)
        made.weights[begin // LANES : begin // LANES + len(blocks)] = blocks
    return made


def _vector(rows: np.ndarray, greatest: np.ndarray | None) -> np.ndarray:
    """What each input is divided by [in]; 1 for inputs that are always 0."""
    sizes = np.zeros(rows.shape[1], np.float32)
    for begin in range(0, len(rows), 1024):
        np.maximum(sizes, np.abs(rows[begin : begin + 1024]).max(axis=0), out=sizes)
    if greatest is None:
        return np.ones_like(sizes)
    # An input that stayed small in a little text may be of ordinary size in others, and would then
    # be an outlier. Without this floor int8 cost the starter 1% of perplexity on unseen texts.
    greatest = np.maximum(greatest, np.median(greatest))
    known = (greatest > 0) & (sizes > 0)
    ratio = np.divide(greatest, sizes, out=np.ones_like(sizes), where=known)
    return np.sqrt(ratio).clip(1e-4, 1e4).astype(np.float32)
