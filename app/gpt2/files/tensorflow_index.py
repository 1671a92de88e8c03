"""The index of a TensorFlow checkpoint: each variable's name, and where its bytes are.

A sorted table in LevelDB's format with protocol buffers as values, both read here as far as
checkpoints use them. Knows no GPT-2, and reads no data file.
"""

from pathlib import Path
from typing import NamedTuple

import google_crc32c
import numpy as np

from app.gpt2.files.tensors import TensorsError


class TensorFlowError(TensorsError):
    """Why a checkpoint cannot be read, in one sentence that names the file."""


class Entry(NamedTuple):
    """What the index says of one variable (BundleEntryProto)."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int  # in bytes
    crc: int
    is_sliced: bool


def read_index(file: Path) -> tuple[int, dict[str, Entry]]:
    """The number of data files, and the variables by TensorFlow's names."""
    try:
        table = _table(file)
        header = _fields(table.pop(b""))  # BundleHeaderProto, under the empty name
        # Names that begin with a zero byte are slices of variables.
        entries = {k.decode(): _entry(v) for k, v in table.items() if not k.startswith(b"\0")}
        n_shards, is_big_endian = _number(header, 1), _number(header, 2) != 0
    except TensorFlowError:
        raise
    except (IndexError, KeyError, ValueError, TypeError):
        raise TensorFlowError(f"{file} {CUT_SHORT}.") from None
    if is_big_endian:
        raise TensorFlowError(f"{file} was written on a big-endian machine, which is not read.")
    return n_shards, entries


# ---- the table ----
#
#   block, block, ..., footer
#   block   entries; restart points (4 bytes each) and their count (4 bytes); then, not counted in
#           the block's size, 1 byte of compression (0 = none) and 4 of checksum
#   entry   three varints: how many bytes of the key are the previous key's, how many are new,
#           how long the value is; then the new bytes of the key; then the value
#   footer  48 bytes: four varints (where a block of metadata is and its size, unused here; where
#           the top block is and its size), zeros, and a magic number
#
# The top block's values say where the other blocks are; the others' values are the tensors'.

MAGIC = bytes.fromhex("57fb808b247547db")  # 0xdb4775248b80fb57, lowest byte first
FOOTER = 48
CUT_SHORT = "is cut short or damaged; download or copy it again"


def _table(file: Path) -> dict[bytes, bytes]:
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise TensorFlowError(f"{file} is missing; without it the data is unreadable.") from None
    if data[-8:] != MAGIC:
        raise TensorFlowError(f"{file} is not a TensorFlow index, or is cut short.")
    at = len(data) - FOOTER
    handle = []
    for _ in range(4):
        number, at = _varint(data, at)
        handle.append(number)
    table: dict[bytes, bytes] = {}
    for place in _entries(_block(file, data, *handle[2:])).values():
        start, end = _varint(place, 0)
        table |= _entries(_block(file, data, start, _varint(place, end)[0]))
    return table


def _block(file: Path, data: bytes, start: int, size: int) -> bytes:
    end = start + size
    compression, stored = data[end : end + 1], data[end + 1 : end + 5]
    if masked_crc(data[start : end + 1]) != int.from_bytes(stored, "little"):
        raise TensorFlowError(f"{file} {CUT_SHORT} (a block's checksum is wrong).")
    if compression != b"\0":
        raise TensorFlowError(f"{file} is compressed, which checkpoints of GPT-2 never are.")
    return data[start:end]


def _entries(block: bytes) -> dict[bytes, bytes]:
    # Restart points are for searches; we read everything.
    n_restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 * (n_restarts + 1)
    entries, key, at = {}, b"", 0
    while at < end:
        n_shared, at = _varint(block, at)
        n_new, at = _varint(block, at)
        n_value, at = _varint(block, at)
        key = key[:n_shared] + block[at : at + n_new]
        at += n_new
        entries[key] = block[at : at + n_value]
        at += n_value
    return entries


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number in 7-bit pieces, lowest first; each byte but the last has its top bit set.

    >>> _varint(bytes([0b1010_1100, 0b0000_0010]), 0)  # 0b10_0101100; and where the next one is
    (300, 2)
    """
    number = shift = 0
    while data[at] >= 0x80 and shift < 64:
        number |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return number | data[at] << shift, at + 1


def masked_crc(data: bytes | np.ndarray) -> int:
    """CRC-32C, rotated and shifted, since a plain CRC of data that holds CRCs is weak."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


# ---- its values ----


def _entry(message: bytes) -> Entry:
    fields = _fields(message)
    dims = _fields(fields.get(2, [b""])[0]).get(2, [])  # 2: shape { 2: dim { 1: size } }
    shape = tuple(_number(_fields(dim), 1) for dim in dims)
    dtype, shard, offset, size, crc = (_number(fields, number) for number in (1, 3, 4, 5, 6))
    return Entry(dtype, shape, shard, offset, size, crc, is_sliced=7 in fields)


def _number(fields: dict[int, list], which: int) -> int:
    value = fields.get(which, [0])[-1]  # a number that is 0 is not written
    if not isinstance(value, int):
        raise ValueError(f"field {which} is not a number")
    return value


def _fields(message: bytes) -> dict[int, list]:
    """Field number -> its values. Each is led by a varint: the number << 3 | how it is written."""
    fields: dict[int, list] = {}
    value: int | bytes
    at = 0
    while at < len(message):
        lead, at = _varint(message, at)
        if lead & 7 == 0:  # a varint
            value, at = _varint(message, at)
        elif lead & 7 == 2:  # a length, and that many bytes
            size, at = _varint(message, at)
            value, at = message[at : at + size], at + size
        elif lead & 7 == 5:  # four bytes
            value, at = int.from_bytes(message[at : at + 4], "little"), at + 4
        else:
            raise ValueError(f"unknown wire type {lead & 7}")
        fields.setdefault(lead >> 3, []).append(value)
    return fields
