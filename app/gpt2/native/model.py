"""GPT-2 by our C kernel: fast on a CPU, and the same bits on every CPU."""

import ctypes
import os
import weakref
from array import array
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from app.gpt2.config import Config
from app.gpt2.native import library
from app.gpt2.native.drawer import NOT_HERE, Drawer, pack
from app.gpt2.native.library import Layer, Matrix, Network, Turn
from app.gpt2.native.packing import (
    Memory,
    Quantized,
    Weights,
    matrices,
    pack_floats,
    packed_shape,
    padded,
    room,
)
from app.gpt2.paged import CANDIDATES, Feed, Logits

INT8, BFLOAT16, FLOAT32 = range(3)  # `kind` in matrix.h
MOST_HEAD = 512  # numbers of a head, as in attention.h


def _close(kernel: ctypes.CDLL, engine: int, process: int) -> None:
    """Not in a fork, which would wait for ever for threads that it does not have."""
    if os.getpid() == process:
        kernel.native_close(engine)


class NativeModel:
    backend = "native"
    device = "cpu"
    same_bits = "always"
    perplexity_loss: float | None = None  # set by quantize.py, like the notes
    notes: Sequence[str] = ()
    longest = 512  # tokens of prompts in a turn
    n_guesses = 8

    def __init__(
        self,
        config: Config,
        weights: Weights,
        precision: str = "float32",
        threads: int | None = None,
        folder: Path | None = None,
        probed: Collection[str] = (),
        kernel: ctypes.CDLL | None = None,
    ) -> None:
        """Quantized matrices are int8, the others have this precision.

        `folder`: where the kernel is kept; `probed`: matrices whose greatest inputs are recorded
        in `greatest`; `kernel`: instead of this processor's best.
        """
        assert config.head_size <= MOST_HEAD, f"heads of {config.head_size}, at most {MOST_HEAD}"
        self.config = config
        self.precision = precision
        self.cache_precision = "float32" if precision == "float32" else "int8"
        self.threads = threads or n_cores()
        self._kernel = kernel or library.load(folder)
        self.instruction_set = self._kernel.native_isa().decode()
        self._kept: list[object] = []  # memory that the kernel reads
        self.greatest: dict[str, np.ndarray] = {}
        self._layers = (Layer * config.n_layer)()
        self._network = self._describe(weights, probed)
        self._record = self._kernel.native_record_bytes(self._is_int8, config.head_size)
        self.page_bytes = config.n_layer * config.n_head * self._record
        self._cache = np.zeros((config.n_layer, 0, config.n_head * self._record), np.uint8)
        self._outputs = _Outputs(config, 1)
        self.draw_row = Drawer(self._kernel, config.vocab_size)
        self._engine = self._kernel.native_open(ctypes.byref(self._network))
        if not self._engine:
            raise MemoryError("There is no memory, or no thread, for the kernel.")
        self._process = os.getpid()
        weakref.finalize(self, _close, self._kernel, self._engine, self._process)

    @property
    def _is_int8(self) -> bool:
        return self.cache_precision == "int8"

    def allocate(self, n_pages: int) -> None:
        c = self.config
        shape = (c.n_layer, n_pages, c.n_head * self._record)
        self._cache = Memory(room(iter([(shape, np.uint8)]))).take(shape, np.uint8)
        self._cache[:] = 0  # touch it now, so that running out of memory shows here
        for layer, records in zip(self._layers, self._cache, strict=True):
            layer.cache = records.ctypes.data

    def copy_page(self, source: int, target: int) -> None:
        self._cache[:, target] = self._cache[:, source]

    def forward(self, feeds: Sequence[Feed]) -> Logits:
        if os.getpid() != self._process:
            raise RuntimeError(
                "This model was opened before a fork, and its threads stayed behind; "
                "open it in the process that uses it."
            )
        ids, pasts, begins = array("i"), array("i"), array("i", [0])
        pages, page_begins, wanted = array("i"), array("i", [0]), array("i")
        for feed in feeds:
            ids.extend(feed.ids)
            pasts.append(feed.past)
            begins.append(len(ids))
            pages.extend(feed.pages)
            page_begins.append(len(pages))
            wanted.extend(range(len(ids) - feed.wanted, len(ids)))
        n = len(wanted)
        if n > len(self._outputs.logits):
            self._outputs = _Outputs(self.config, n)
        out = self._outputs
        draws = ctypes.c_char_p(b"".join(_draws(feed) for feed in feeds))
        turn = Turn(
            len(feeds), len(ids), n, self._cache.shape[1],
            *(numbers.buffer_info()[0] for numbers in (ids, pasts, begins, pages, page_begins)),
            wanted.buffer_info()[0], ctypes.cast(draws, ctypes.c_void_p), *out.addresses,
        )  # fmt: skip
        fault = self._kernel.native_forward(self._engine, ctypes.byref(turn))
        assert fault is None, f"The model was fed what it cannot take: {fault.decode()}."
        logits = out.logits[:n, : self.config.vocab_size]
        return Logits(logits, out.top_ids[:n], out.top_scores[:n], out.drawn[:n], self.draw_row)

    # ---- weights ----

    def _describe(self, weights: Weights, probed: Collection[str]) -> Network:
        c, E = self.config, padded(self.config.n_embd)
        self._memory = Memory(room(self._sizes(weights)))
        for i, layer in enumerate(self._layers):
            for part in ("ln_1", "ln_2"):
                for kind in ("weight", "bias"):
                    vector = self._vector(weights[f"h.{i}.{part}.{kind}"])
                    setattr(layer, f"{part}_{kind}", vector)
            layer.attention = self._matrix(f"h.{i}.attn.c_attn", weights, probed)
            layer.projection = self._matrix(f"h.{i}.attn.c_proj", weights, probed)
            layer.widening = self._matrix(f"h.{i}.mlp.c_fc", weights, probed)
            layer.narrowing = self._matrix(f"h.{i}.mlp.c_proj", weights, probed)
            layer.scale = c.head_size**-0.5 / (i + 1 if c.scale_attn_by_inverse_layer_idx else 1)
        positions = self._memory.take((c.n_positions, E), np.float32)
        positions[:, : c.n_embd] = weights["wpe.weight"]
        return Network(
            n_layer=c.n_layer,
            n_head=c.n_head,
            n_embd=c.n_embd,
            n_inner=c.n_inner,
            n_vocab=c.vocab_size,
            n_positions=c.n_positions,
            n_candidates=min(CANDIDATES, c.vocab_size),
            n_threads=self.threads,
            int8_cache=self._is_int8,
            epsilon=c.layer_norm_epsilon,
            positions=positions.ctypes.data,
            ln_f_weight=self._vector(weights["ln_f.weight"]),
            ln_f_bias=self._vector(weights["ln_f.bias"]),
            layers=self._layers,
            head=self._matrix("wte", weights, probed),
        )

    def _sizes(self, weights: Weights) -> Iterator[tuple[tuple[int, ...], type]]:
        """Of every array, to be copied into memory of our own."""
        for name, shape in self.config.shapes().items():
            weight = weights[name]
            if isinstance(weight, Quantized):
                yield from ((part.shape, part.dtype.type) for part in weight)
            elif name in matrices(self.config):
                yield packed_shape(self.config, name), self._dtype
            elif name == "wpe.weight":
                yield (shape[0], padded(shape[1])), np.float32
            else:
                yield (padded(shape[0]),), np.float32
        yield (padded(self.config.vocab_size),), np.float32  # the head's bias, zeros

    @property
    def _dtype(self) -> type:
        return np.float32 if self.precision == "float32" else np.uint16

    def _vector(self, values: np.ndarray | Quantized) -> int:
        assert isinstance(values, np.ndarray)
        vector = self._memory.take((padded(len(values)),), np.float32)
        vector[: len(values)] = values
        return vector.ctypes.data

    def _matrix(self, name: str, weights: Weights, probed: Collection[str]) -> Matrix:
        weight = weights[f"{name}.weight"]
        blocks, n_in, _ = packed_shape(self.config, f"{name}.weight")
        bias = np.zeros(self.config.vocab_size) if name == "wte" else weights[f"{name}.bias"]
        made = Matrix(bias=self._vector(bias), n_in=n_in, n_out=blocks * 16)
        if isinstance(weight, Quantized):
            made.kind = INT8
            made.weights, made.scales, made.sums, made.inverses = map(self._copied, weight)
        else:
            made.kind = FLOAT32 if self.precision == "float32" else BFLOAT16
            to = self._memory.take((blocks, n_in, 16), self._dtype)
            pack_floats(to, f"{name}.weight", weight)
            made.weights = to.ctypes.data
        if f"{name}.weight" in probed:
            self.greatest[f"{name}.weight"] = greatest = np.zeros(n_in, np.float32)
            made.greatest = greatest.ctypes.data
        return made

    def _copied(self, part: np.ndarray) -> int:
        copy = self._memory.take(part.shape, part.dtype.type)
        copy[:] = part
        return copy.ctypes.data


class _Outputs:
    """Arrays for a turn's results, kept between turns: new memory is slow at its first touch."""

    def __init__(self, config: Config, n: int) -> None:
        k = min(CANDIDATES, config.vocab_size)
        self.logits = np.zeros((n, padded(config.vocab_size)), np.float32)
        self.top_ids = np.zeros((n, k), np.int32)
        self.top_scores = np.zeros((n, k), np.float32)
        self.drawn = np.zeros(n, np.int32)
        parts = (self.logits, self.top_ids, self.top_scores, self.drawn)
        self.addresses = [part.ctypes.data for part in parts]


def _draws(feed: Feed) -> bytes:
    """A draw for each wanted token; only those of the last one and of guesses are real."""
    draw, n_drawn = feed.draw, feed.n_guesses + 1
    if not feed.wanted or draw is None:
        return NOT_HERE * feed.wanted
    later = (draw._replace(position=draw.position + n) for n in range(n_drawn))
    return NOT_HERE * (feed.wanted - n_drawn) + b"".join(map(pack, later))


def n_cores() -> int:
    """Cores that we may use: by affinity, and within the container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(cores or 1, _quota()))


def _quota(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores' worth of time that the cgroup allows, rounded up; very many without a limit."""
    version_1 = [root / "cpu" / f"cpu.cfs_{name}_us" for name in ("quota", "period")]
    for files in ([root / "cpu.max"], version_1):
        try:
            most, period = " ".join(file.read_text(encoding="ascii") for file in files).split()
        except (OSError, ValueError):
            continue
        if most not in ("max", "-1"):
            return -(-int(most) // int(period))
    return 1 << 16
