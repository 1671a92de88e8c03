"""OpenAI's TensorFlow checkpoints, read without TensorFlow.

A checkpoint is a prefix, such as models/124M/model.ckpt, and the files named after it:

    model.ckpt.index                a sorted table: each tensor's name, and where it is
    model.ckpt.data-00000-of-00001  the numbers, one tensor after another; one file or several
    model.ckpt.meta                 the graph that trained it; not needed to read it

A text file beside them, `checkpoint`, names the newest prefix. Knows the names of the weights, not
what they compute; tensorflow_index.py reads the index.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath

import numpy as np

from app.gpt2.files.tensorflow_index import Entry, TensorFlowError, masked_crc, read_index
from app.gpt2.files.tensors import Tensors, widen

# ---- which checkpoint is meant ----

PART = re.compile(r"(.+)\.(?:index|data-\d{5}-of-\d{5})")  # a file of a checkpoint; 1: its prefix
NEWEST = re.compile(rb'^model_checkpoint_path: "((?:[^"\\]|\\.)+)"', re.MULTILINE)
ESCAPE = re.compile(rb"\\([0-3][0-7][0-7]|.)")  # quoted as in C: an é is \303\251, octal UTF-8
STEP = re.compile(r"-(\d+)$")  # model-4000 was saved after 4000 steps of training


def find_prefix(path: Path) -> Path | None:
    """The prefix that `path` (a folder, a prefix, or a file) means; None if it means none."""
    if path.is_dir():
        return _newest(path)
    part = PART.fullmatch(path.name)
    if part and path.is_file():
        return path.with_name(part[1])
    return path if _index(path).is_file() else None


def prefixes_in(folder: Path) -> list[str]:
    """The names of all checkpoints in `folder` (not in its subfolders)."""
    parts = (PART.fullmatch(file.name) for file in folder.iterdir())
    return sorted({part[1] for part in parts if part})


def _newest(folder: Path) -> Path | None:
    """What the `checkpoint` file names, if it exists; else the prefix of the latest step."""
    for named in _named(folder / "checkpoint"):
        if _index(folder / named).is_file():
            return folder / named
    steps: dict[int, list[str]] = {}
    for name in prefixes_in(folder):
        step = STEP.search(name)
        steps.setdefault(int(step[1]) if step else -1, []).append(name)
    if not steps:
        return None
    newest = steps[max(steps)]
    if len(newest) > 1:
        raise TensorFlowError(f"{folder} holds {' and '.join(newest)}; name the one you mean.")
    return folder / newest[0]


def _named(file: Path) -> list[str]:
    """Where a `checkpoint` file may point: its last part first, because the whole is often a path
    on the machine that trained (/content/gpt-2/checkpoint/run1/model-4000)."""
    line = NEWEST.search(file.read_bytes()) if file.is_file() else None
    if line is None:
        return []
    named = os.fsdecode(ESCAPE.sub(_unescape, line[1]))
    return [PureWindowsPath(named).name, named]  # which knows / and \\ alike


def _unescape(escape: re.Match[bytes]) -> bytes:
    code = escape[1]
    return bytes([int(code, 8)]) if len(code) == 3 else code


def _index(prefix: Path) -> Path:
    return prefix.with_name(f"{prefix.name}.index")


# ---- the variables ----

DTYPES = {1: "float32", 19: "float16", 14: "bfloat16"}  # TensorFlow's numbers for them
AS_STORED = {"float32": "<f4", "float16": "<f2", "bfloat16": "<u2"}


class Bundle(Tensors):
    """A GPT-2's weights by our names, memory-mapped; each tensor's checksum is verified when it is
    first read. `ignored` are the names of other variables, such as an optimizer's."""

    format = "TensorFlow"

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self._n_shards, entries = read_index(_index(prefix))
        self._check_sizes(entries)
        theirs = [name for name in entries if _is_weight(name, entries)]
        if "model/wte" not in theirs:
            raise TensorFlowError(
                f"{_index(prefix)} holds no GPT-2: none of its variables is called model/wte "
                f"(it has {', '.join(list(entries)[:3]) or 'none'})."
            )
        self.ignored = tuple(name for name in entries if name not in theirs)
        self._theirs = {our_name(name): name for name in theirs}
        self._entries = {ours: entries[name] for ours, name in self._theirs.items()}
        for ours in self._entries:
            self._check_entry(ours)
        self.shapes = {ours: _without_1(entry.shape) for ours, entry in self._entries.items()}
        self.dtypes = {ours: DTYPES[entry.dtype] for ours, entry in self._entries.items()}
        self._maps: dict[int, np.memmap] = {}
        self._verified: set[str] = set()

    def __getitem__(self, name: str) -> np.ndarray:
        stored = self._bytes(name).view(AS_STORED[self.dtypes[name]]).reshape(self.shapes[name])
        if self.dtypes[name] == "bfloat16":
            return widen(stored)
        return np.require(stored, requirements=["ALIGNED"])  # copied if it begins at an odd byte

    def _bytes(self, name: str) -> np.ndarray:
        entry = self._entries[name]
        file = self._shard(entry.shard)
        if entry.shard not in self._maps:
            self._maps[entry.shard] = np.memmap(file, np.uint8, mode="r")
        data = self._maps[entry.shard][entry.offset : entry.offset + entry.size]
        if name not in self._verified and masked_crc(data) != entry.crc:
            raise TensorFlowError(
                f"{file} is damaged: {self._theirs[name]} does not have the checksum it was saved "
                "with; download or copy it again."
            )
        self._verified.add(name)
        return data

    def _shard(self, number: int) -> Path:
        name = f"{self.prefix.name}.data-{number:05}-of-{self._n_shards:05}"
        return self.prefix.with_name(name)

    def _check_sizes(self, entries: Mapping[str, Entry]) -> None:
        """Check that each data file exists and is as long as the index says."""
        for shard in range(self._n_shards):
            ends = (e.offset + e.size for e in entries.values() if e.shard == shard)
            file, needed = self._shard(shard), max(ends, default=0)
            if not file.is_file():
                raise TensorFlowError(f"{file} is missing, which {_index(self.prefix)} names.")
            if file.stat().st_size < needed:
                raise TensorFlowError(
                    f"{file} is cut short: it has {file.stat().st_size} of {needed} bytes; "
                    "download or copy it again."
                )

    def _check_entry(self, ours: str) -> None:
        entry, what = self._entries[ours], f"{_index(self.prefix)}: {self._theirs[ours]}"
        if entry.is_sliced:
            raise TensorFlowError(
                f"{what} is cut into slices, which a GPT-2's variables never are."
            )
        if entry.dtype not in DTYPES:
            raise TensorFlowError(
                f"{what} is of TensorFlow's type {entry.dtype}; weights are float32, float16 or "
                "bfloat16."
            )
        n_bytes = np.dtype(AS_STORED[DTYPES[entry.dtype]]).itemsize
        for dim in entry.shape:
            n_bytes *= dim
        if entry.shard >= self._n_shards or n_bytes != entry.size:
            raise TensorFlowError(
                f"{what} of shape {entry.shape} cannot be {entry.size} bytes in data file "
                f"{entry.shard} of {self._n_shards}."
            )


def open_bundle(prefix: Path) -> Bundle:
    """Open the checkpoint at `prefix`; verifies its index and the sizes of its data files."""
    try:
        return Bundle(prefix)
    except OSError as error:
        raise TensorFlowError(f"{error.filename} cannot be read: {error.strerror}.") from None


def _is_weight(name: str, entries: Mapping[str, Entry]) -> bool:
    """Whether it is a weight, not an optimizer's: those are single numbers (beta1_power), named
    after a weight (model/wte/Adam), or outside the model's scope."""
    scopes = name.split("/")
    parents = ("/".join(scopes[:n]) for n in range(1, len(scopes)))
    is_slot = any(parent in entries for parent in parents)
    return scopes[0] == "model" and entries[name].shape != () and not is_slot


def our_name(name: str) -> str:
    """Translate TensorFlow's name of a weight into ours.

    >>> our_name("model/h0/attn/c_attn/w"), our_name("model/ln_f/g"), our_name("model/wte")
    ('h.0.attn.c_attn.weight', 'ln_f.weight', 'wte.weight')
    """
    name = re.sub(r"^model/", "", name)
    name = re.sub(r"^h(\d+)/", r"h.\1/", name)
    name = re.sub(r"/[wg]$|^(wte|wpe)$", r"\1.weight", name)
    return re.sub(r"/b$", ".bias", name).replace("/", ".")


def _without_1(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Matrices are [1, in, out], since OpenAI's code uses convolutions of width 1."""
    return shape[1:] if len(shape) == 3 and shape[0] == 1 else shape
