"""Read torch's zip files of plain tensors without torch, which takes a second to import.

Inside are a pickle that describes the tensors, and a file with the bytes of each. Only three kinds
of names are allowed in the pickle: OrderedDict, the call that rebuilds a tensor, and the types of
storage; all of them just record their arguments. Anything else is left to torch, by returning None.
"""

import math
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

STORAGES = {
    "FloatStorage": "<f4", "HalfStorage": "<f2", "BFloat16Storage": "bfloat16",
    "DoubleStorage": "<f8", "LongStorage": "<i8", "IntStorage": "<i4",
    "ByteStorage": "u1", "BoolStorage": "?",
}  # fmt: skip


class Plain(NamedTuple):
    """A tensor as the pickle describes it, checked against the bytes in the file."""

    dtype: str
    key: str  # of its storage
    offset: int  # in numbers
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class NotPlain(Exception):
    """A file that must be left to torch."""


def read(path: Path) -> dict[str, tuple[str, np.ndarray]] | None:
    """(dtype, array) by name; arrays of bfloat16 are of its 16 bits. None where torch must read."""
    try:
        with zipfile.ZipFile(path) as archive:
            [pickled] = [i.filename for i in archive.infolist() if i.filename.endswith("data.pkl")]
            root = pickled.removesuffix("data.pkl")
            if f"{root}byteorder" in archive.namelist():
                _check(archive.read(f"{root}byteorder") == b"little")
            with archive.open(pickled) as file:
                held = _Reader(file).load()
            _check(isinstance(held, dict) and bool(held))
            _check(all(type(n) is str and type(t) is Plain for n, t in held.items()))
            whole = np.memmap(path, np.uint8, mode="r")
            places = {info.filename: info for info in archive.infolist()}
            return {
                name: (_name(t.dtype), _array(t, places[f"{root}data/{t.key}"], whole))
                for name, t in held.items()
            }
    except Exception:  # a file can be wrong in any way; torch then says how
        return None


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _note
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        raise NotPlain(f"{module}.{name}")

    def persistent_load(self, what: Any) -> tuple[str, str]:
        _, dtype, key, _, _ = what
        return dtype, key


def _note(storage: tuple[str, str], offset: int, shape: tuple, stride: tuple, *_: Any) -> Plain:
    return Plain(*storage, offset, shape, stride)


def _array(tensor: Plain, place: zipfile.ZipInfo, whole: np.ndarray) -> np.ndarray:
    size, n = np.dtype(_bits(tensor.dtype)).itemsize, math.prod(tensor.shape)
    steps = [math.prod(tensor.shape[i + 1 :]) for i in range(len(tensor.shape))]
    axes = zip(tensor.shape, tensor.stride, steps, strict=True)
    _check(all(extent == 1 or stride == step for extent, stride, step in axes))
    _check(place.compress_type == zipfile.ZIP_STORED and tensor.offset >= 0 and n >= 0)
    _check((tensor.offset + n) * size <= place.file_size)
    # The bytes follow a header of 30 bytes, a name and padding.
    n_name, n_extra = struct.unpack("<HH", whole[place.header_offset + 26 :][:4].tobytes())
    start = place.header_offset + 30 + n_name + n_extra + tensor.offset * size
    _check(start % size == 0 and start + n * size <= len(whole))
    return whole[start : start + n * size].view(_bits(tensor.dtype)).reshape(tensor.shape)


def _bits(dtype: str) -> str:
    return "<u2" if dtype == "bfloat16" else dtype


def _name(dtype: str) -> str:
    return dtype if dtype == "bfloat16" else np.dtype(dtype).name


def _check(holds: bool) -> None:
    if not holds:
        raise NotPlain
