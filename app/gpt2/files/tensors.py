"""One file of named tensors, or a set of shards, as a lazy mapping of name -> NumPy array.

Knows the formats (safetensors; torch's zip and legacy pickles), not what the names mean. The first
bytes of a file decide, not its ending. Nothing in a file is ever executed.
"""

import json
import math
import mmap
import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from app.gpt2.files import torch_zip


class TensorsError(ValueError):
    """Why a file holds no readable tensors, in one sentence that says what it holds."""


class Tensors(Mapping[str, np.ndarray]):
    """Arrays by name, read on access, and memory-mapped if the format allows.

    `shapes` and `dtypes` are known without reading any.
    """

    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, str]  # float32, float16, bfloat16, ...
    format: str
    ignored: tuple[str, ...] = ()  # what the file holds besides weights

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


# ---- which format a file has ----

ZIP = b"PK\x03\x04"
LEGACY_PICKLE = bytes.fromhex("80028a0a6cfc9c46f920")  # torch's magic number, pickled
NOT_WEIGHTS = (  # first bytes of what people save as a model by mistake
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself; run `git lfs pull`"),
    (b"<", "a web page or XML, such as a failed download's error message"),
    (b"{", "a JSON text, such as a failed download's error message"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"GGUF", "a GGUF file of llama.cpp; only PyTorch, safetensors and TensorFlow files open"),
    (b"\x89HDF", "a Keras .h5 file; only PyTorch, safetensors and TensorFlow files open"),
)


def open_tensors(path: Path) -> Tensors:
    """The tensors in `path`: a safetensors file, a PyTorch pickle, or a *.index.json of shards."""
    if path.name.endswith(".index.json"):
        return Shards(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        raise TensorsError(f"{path} is empty.")
    if head.startswith(ZIP) and (plain := torch_zip.read(path)) is not None:
        return Zipped(plain)
    if head.startswith(ZIP) or head.startswith(LEGACY_PICKLE):
        return Pickle(path, is_zip=head.startswith(ZIP))
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**32:
        return Safetensors(path, size)  # checked first, since these 8 bytes can look like anything
    for magic, what in NOT_WEIGHTS:
        if head.lstrip().startswith(magic):
            raise TensorsError(f"{path} is {what}.")
    if head.startswith(b"\x80"):
        raise TensorsError(f"{path} is a Python pickle, but not a PyTorch file; it was not opened.")
    raise TensorsError(f"{path} is neither a PyTorch nor a safetensors file.")


# ---- safetensors: 8 bytes of length, a JSON header, the raw arrays ----
# Read here and not by the library, which needs torch (a second to import) for bfloat16.

NUMPY_TYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4",
    "I16": "<i2", "I8": "i1", "U8": "u1", "BOOL": "?",
}  # fmt: skip
SCALE = ".scale"  # int8 W and float32 W.scale, one for each row or column, are W x W.scale
TYPE_WORDS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


class Safetensors(Tensors):
    format = "safetensors"

    def __init__(self, path: Path, size: int) -> None:
        with path.open("rb") as file:
            n_header = int.from_bytes(file.read(8), "little")
            header = file.read(min(n_header, size))
        truncated = TensorsError(f"{path} is cut short; download or copy it again.")
        if len(header) < n_header:
            raise truncated
        try:
            self._entries: dict[str, Any] = json.loads(header)
            self.metadata = self._entries.pop("__metadata__", {})
            self.shapes = {n: tuple(e["shape"]) for n, e in self._entries.items()}
            types = {n: e["dtype"] for n, e in self._entries.items()}
            self.dtypes = {n: TYPE_WORDS.get(dtype, dtype) for n, dtype in types.items()}
            end = max((_end_of(e) for e in self._entries.values()), default=0)
            scaled = [n for n in self.shapes if self.dtypes[n] == "I8" and n + SCALE in self.shapes]
            for name in scaled:
                self._check_scale(name)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise TensorsError(f"{path} has no readable safetensors header.") from None
        if size < 8 + n_header + end:
            raise truncated
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._data = np.frombuffer(self._map, np.uint8, offset=8 + n_header)

    def _check_scale(self, name: str) -> None:
        """Treat `name` and its scale as one tensor; a ValueError if they do not fit."""
        shape, scale = self.shapes[name], self.shapes.pop(name + SCALE)
        fits = len(shape) == 2 and scale in ((1, shape[1]), (shape[0], 1))
        if not fits or self.dtypes.pop(name + SCALE) != "float32":
            raise ValueError
        self.dtypes[name] = "int8"

    def __getitem__(self, name: str) -> np.ndarray:
        if self.dtypes[name] == "int8":
            return self._stored(name) * self._stored(name + SCALE)
        return self._stored(name)

    def _stored(self, name: str) -> np.ndarray:
        entry = self._entries[name]
        start, end = entry["data_offsets"]
        array = self._data[start:end].view(NUMPY_TYPES[entry["dtype"]]).reshape(entry["shape"])
        return widen(array) if entry["dtype"] == "BF16" else array

    def let_go(self) -> None:
        """Release what was read from memory; it can be read again from the file."""
        self._map.madvise(mmap.MADV_DONTNEED)


def _end_of(entry: dict) -> int:
    """Where a tensor's bytes end; a ValueError if their number does not match its shape."""
    start, end = entry["data_offsets"]
    kind = NUMPY_TYPES.get(entry["dtype"])
    n_bytes = end - start if kind is None else math.prod(entry["shape"]) * np.dtype(kind).itemsize
    if start < 0 or n_bytes < 0 or end - start != n_bytes:
        raise ValueError
    return end


def widen(bits: np.ndarray) -> np.ndarray:
    """bfloat16, as its 16 bits, to float32: the same number with 16 zero bits behind it."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


# ---- torch's pickles: plain ones without torch, others with it, running no code ----


class Zipped(Tensors):
    format = "PyTorch"

    def __init__(self, held: dict[str, tuple[str, np.ndarray]]) -> None:
        self._held = held
        self.dtypes = {name: dtype for name, (dtype, _) in held.items()}
        self.shapes = {name: array.shape for name, (_, array) in held.items()}

    def __getitem__(self, name: str) -> np.ndarray:
        dtype, array = self._held[name]
        return widen(array) if dtype == "bfloat16" else array


class Pickle(Tensors):
    def __init__(self, path: Path, is_zip: bool) -> None:
        import torch  # a second; safetensors and TensorFlow files do without

        self.format = "PyTorch" if is_zip else "PyTorch (legacy pickle)"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's own, about old storage classes
                held = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
        except pickle.UnpicklingError as error:
            raise TensorsError(_refusal(path, str(error))) from None
        except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError) as error:
            why = str(error).strip().split("\n")[0].split(". ")[0].rstrip(".") or "it just ends"
            raise TensorsError(
                f"{path} is cut short or damaged; download or copy it again ({why})."
            ) from None
        self._held = _state_dict(path, held)
        self.shapes = {name: tuple(tensor.shape) for name, tensor in self._held.items()}
        self.dtypes = {n: str(t.dtype).removeprefix("torch.") for n, t in self._held.items()}

    def __getitem__(self, name: str) -> np.ndarray:
        tensor = self._held[name]
        return (tensor.float() if self.dtypes[name] == "bfloat16" else tensor).numpy()


def _refusal(path: Path, message: str) -> str:
    wanted = re.search(r"GLOBAL ([\w.]+)", message)  # torch names what it would have to call
    if wanted is None:
        return (
            f"{path} is a pickle that is cut short or holds more than weights; it was not opened."
        )
    return (
        f"{path} is a pickle that would run code of its own ({wanted[1]}); "
        "it was refused, and nothing in it ran. Save the model's state_dict instead."
    )


def _state_dict(path: Path, held: Any) -> dict[str, Any]:
    """The tensors in what was pickled: a state dict, or one inside {"state_dict": ...}."""
    import torch

    for wrapper in ("state_dict", "model_state_dict", "model"):
        if isinstance(held, dict) and isinstance(held.get(wrapper), dict):
            held = held[wrapper]
    if isinstance(held, dict) and {"state", "param_groups"} <= held.keys():
        raise TensorsError(f"{path} is an optimizer's state, not a model's weights.")
    if not isinstance(held, dict):
        raise TensorsError(f"{path} holds a {type(held).__name__}, not a model's state_dict.")
    tensors = {str(n): t.detach() for n, t in held.items() if isinstance(t, torch.Tensor)}
    if not tensors:
        raise TensorsError(f"{path} holds no tensors.")
    for name, tensor in tensors.items():
        if tensor.is_meta or tensor.layout != torch.strided:
            kind = "meta" if tensor.is_meta else "sparse"
            raise TensorsError(f"{path} holds {name} as a {kind} tensor; save it as a plain one.")
    return tensors


# ---- several files under one index ----


class Shards(Tensors):
    def __init__(self, path: Path) -> None:
        try:
            places = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
            files = {name: path.parent / name for name in sorted(set(places.values()))}
            first = min(files)  # none is a ValueError
        except (ValueError, KeyError, TypeError, AttributeError):
            raise TensorsError(f"{path} is not an index of shards: it has no weight_map.") from None
        for name, file in files.items():
            if not file.is_file() or name != file.name:
                raise TensorsError(f"{path} names the shard {name}, which is not beside it.")
            if name.endswith(".index.json"):
                raise TensorsError(f"{path} names {name} as a shard, which is an index.")
        opened = {name: open_tensors(file) for name, file in files.items()}
        lost = next((n for n, shard in places.items() if n not in opened[shard]), None)
        if lost is not None:
            raise TensorsError(f"{path} puts {lost} into {places[lost]}, which lacks it.")
        self._place = {name: opened[shard] for name, shard in places.items()}
        self.shapes = {name: shard.shapes[name] for name, shard in self._place.items()}
        self.dtypes = {name: shard.dtypes[name] for name, shard in self._place.items()}
        self.format = f"{opened[first].format}, {len(opened)} shards"

    def __getitem__(self, name: str) -> np.ndarray:
        return self._place[name][name]
