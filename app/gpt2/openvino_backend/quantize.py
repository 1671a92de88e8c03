"""int8 weights for the OpenVINO graph: made once, checked against float32, kept on disk.

Each matrix becomes whole numbers and a scale per output, and so does what it is multiplied with, a
row at a time. What that costs is measured on text that the float32 model itself samples: there the
mean divergence of the two models' odds is what quantizing adds to the loss, so exp of it is the
growth in perplexity. Matrices that cost too much are given more care: where large inputs leave
their neighbours no digits these are rounded by groups of 32, which is slower; where large weights
do, the matrix stays in bfloat16. If that does not help, all do.
"""

import hashlib
import json
import logging
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.numpy import save

from app.gpt2.config import Config
from app.gpt2.files.atomic import whole_file
from app.gpt2.files.tensors import Safetensors
from app.gpt2.openvino_backend.model import MOST, OpenVINOModel, Quantized, matrices, rows, sums_fit
from app.gpt2.openvino_backend.runtime import ov
from app.gpt2.paged import PAGE, Feed
from app.gpt2.sampling import Draw, choose, logprobs

Floats = Mapping[str, np.ndarray]
Weights = dict[str, np.ndarray | Quantized]

log = logging.getLogger(__name__)

VERSION = 3  # of what is kept on disk
ENOUGH = 0.005  # growth in perplexity below which no matrix is raised: 0.5%
TOO_MUCH = 0.01  # and above which int8 is not served
ROUNDS = 4  # of raising the worst
N_ROWS, N_TOKENS = 8, 48  # of sampled text
SPARSE = 16  # of so many tokens one is looked at when a matrix is judged
GROUP = 32  # inputs that the plugin rounds together

Care = dict[str, str]  # of matrices that need it: "groups" or "bfloat16"


class Verdict(NamedTuple):
    """What is served in the end, and what was found on the way."""

    precision: str  # int8, or bfloat16 where int8 cost too much
    loss: float  # growth in perplexity; 0.001 = 0.1%
    notes: list[str]


def open_int8(
    config: Config,
    weights: Floats,
    folder: Path | None = None,
    threads: int | None = None,
) -> OpenVINOModel:
    """The model with int8 weights from `folder`, or made, checked and left there."""
    path = folder / f"int8-{_key(config, weights)}.safetensors" if folder else None
    if path is None:
        return _opened(config, *_made(config, weights, threads), threads)
    if not path.exists():
        kept, verdict = _made(config, weights, threads)
        if not _write(path, kept, verdict):
            return _opened(config, kept, verdict, threads)
        del kept
    file = Safetensors(path, path.stat().st_size)
    model = _opened(config, *_read(file, config), threads)
    file.let_go()  # the plugin has an arrangement of its own by now
    return model


def _opened(config: Config, kept: Weights, verdict: Verdict, threads: int | None) -> OpenVINOModel:
    model = OpenVINOModel(config, kept, verdict.precision, threads)
    model.perplexity_loss, model.notes = verdict.loss, verdict.notes
    model.allocate(1)
    for n in (1, 16):  # kernels for one row and for several: each arranges the matrices for itself
        n_rows = min(n, config.n_positions)
        model.forward([Feed((0,) * n_rows, 0, (0,), n_rows)])
    return model


def quantize(config: Config, weights: Floats, care: Mapping[str, str] | None = None) -> Weights:
    """All weights, with the matrices quantized as far as they bear it."""
    care = care or {}
    kept: Weights = dict(weights)
    for name in matrices(config):
        if care.get(name) != "bfloat16":
            quantized = _quantize(rows(name, weights[name]))
            kept[name] = quantized._replace(by_groups=care.get(name) == "groups")
    return kept


def _quantize(matrix: np.ndarray) -> Quantized:
    """Some rows at a time: the token table alone is 154 MB, and so is each step's result."""
    out, _ = matrix.shape
    kept = Quantized(np.empty(matrix.shape, np.int8), np.empty((out, 1), np.float16))
    for begin in range(0, out, 1024):
        some = slice(begin, begin + 1024)
        scales = (np.abs(matrix[some]).max(axis=1, keepdims=True) / MOST).astype(np.float16)
        kept.scales[some] = np.maximum(scales, np.finfo(np.float16).tiny)
        whole = np.rint(matrix[some] / kept.scales[some].astype(np.float32))
        kept.whole[some] = np.clip(whole, -MOST, MOST)
    return kept


# ---- made and checked ----


def _made(config: Config, weights: Floats, threads: int | None) -> tuple[Weights, Verdict]:
    kept, verdict = _make(config, weights, threads)
    for note in verdict.notes:
        log.info(note)
    return kept, verdict


def _make(config: Config, weights: Floats, threads: int | None) -> tuple[Weights, Verdict]:
    sample = _Sample(config, weights, threads)
    care: Care = {}
    losses: list[float] = []
    for _ in range(1 + ROUNDS):
        kept = quantize(config, weights, care)
        losses.append(sample.loss(OpenVINOModel(config, kept, "int8", threads)))
        if losses[-1] <= ENOUGH:
            break
        care |= sample.more_care(config, weights, care)
    notes = []
    if care:
        names = ", ".join(f"{name} ({how})" for name, how in sorted(care.items()))
        notes.append(
            f"int8 weights cost {losses[0]:.2%} of perplexity; with more care for {len(care)} of "
            f"{len(matrices(config))} matrices they cost {losses[-1]:.2%}: {names}."
        )
    if losses[-1] > TOO_MUCH:
        notes.append(f"int8 weights cost {losses[-1]:.2%} of perplexity: bfloat16 is served.")
        kept = dict(weights)
        loss = sample.loss(OpenVINOModel(config, kept, "bfloat16", threads))
        return kept, Verdict("bfloat16", loss, notes)
    return kept, Verdict("int8", losses[-1], notes)


class _Sample:
    """Text that the float32 model wrote, its logits there, and what went into each matrix."""

    def __init__(self, config: Config, weights: Floats, threads: int | None) -> None:
        exact = OpenVINOModel(config, weights, "float32", threads, probed=matrices(config))
        length = min(N_TOKENS, config.n_positions)
        self.pages = -(-length // PAGE)  # of each row
        exact.allocate(N_ROWS * self.pages)
        self.ids = self._write(exact, [config.bos_token_id], length)
        self.logits = []  # for each row [length, V]
        inputs = defaultdict(list)
        for logits in self._read(exact):
            self.logits.append(logits.copy())
            for name, array in exact.inputs.items():
                inputs[name].append(array[::SPARSE].copy())
        self.inputs = {name: np.concatenate(some) for name, some in inputs.items()}

    def _write(self, model: OpenVINOModel, begin: list[int], length: int) -> list[list[int]]:
        texts = [list(begin) for _ in range(N_ROWS)]
        for at in range(length - 1):
            turn = [Feed(text[at:], at, self._pages(row), 1) for row, text in enumerate(texts)]
            logits = model.forward(turn)
            draws = [Draw(seed=row, position=at) for row in range(N_ROWS)]
            for text, id in zip(texts, choose(logits, draws).tolist(), strict=True):
                text.append(id)
        return texts

    def _pages(self, row: int) -> range:
        return range(row * self.pages, (row + 1) * self.pages)

    def _read(self, model: OpenVINOModel) -> Iterator[np.ndarray]:
        """Logits [length, V] of one row after the other: those of all would be 77 MB more."""
        model.allocate(self.pages)
        for text in self.ids:
            yield model.forward([Feed(text, 0, self._pages(0), len(text))]).logits

    def loss(self, model: OpenVINOModel) -> float:
        """exp of the mean divergence of that model's odds from the exact ones, less 1."""
        divergences = [
            float(np.exp(p) @ (p - q))
            for exact, other in zip(self.logits, self._read(model), strict=True)
            for p, q in zip(map(logprobs, exact), map(logprobs, other), strict=True)
        ]
        return math.expm1(sum(divergences) / len(divergences))

    def more_care(self, config: Config, weights: Floats, care: Care) -> Care:
        """For those that err at least half as much as the worst: what they need next."""
        names = [name for name in matrices(config) if care.get(name) != "bfloat16"]
        errors = {name: self._error(name, weights[name], care.get(name)) for name in names}
        bar = max(errors.values(), default=0.0) / 2
        return {
            name: self._next_care(name, weights[name], care.get(name), error)
            for name, error in errors.items()
            if error >= bar
        }

    def _next_care(self, name: str, weight: np.ndarray, care: str | None, error: float) -> str:
        # Without VNNI the kernels for groups are float32's: bits depend on how many rows there are.
        could = care is None and sums_fit()
        helps = could and self._error(name, weight, "groups") <= error / 2
        return "groups" if helps else "bfloat16"

    def _error(self, name: str, weight: np.ndarray, care: str | None) -> float:
        """How far the outputs of a quantized matrix are off, relative to what they are."""
        matrix = rows(name, weight)  # [out, in]
        whole, scales, _ = _quantize(matrix)
        inputs = self.inputs[name]
        exact = inputs @ matrix.T
        off = _rounded(inputs, care == "groups") @ (whole * scales.astype(np.float32)).T - exact
        return float(np.linalg.norm(off) / np.linalg.norm(exact))


def _rounded(inputs: np.ndarray, by_groups: bool) -> np.ndarray:
    """Inputs [N, in] as the matrix meets them: in steps either way of the greatest."""
    parts = inputs.reshape(-1, GROUP if by_groups else inputs.shape[1])
    step = np.abs(parts).max(axis=1, keepdims=True) / MOST + 1e-20
    return (np.rint(parts / step) * step).reshape(inputs.shape)


# ---- kept on disk ----


def _key(config: Config, weights: Floats) -> str:
    """By content: another checkpoint in the same place is another key."""
    digest = hashlib.sha256(f"{VERSION} {sums_fit()} {config} {ov.__version__}".encode())
    for name in config.shapes():
        digest.update(np.ascontiguousarray(weights[name]))
    return digest.hexdigest()[:32]


def _write(path: Path, kept: Weights, verdict: Verdict) -> bool:
    tensors = {}
    for name, weight in kept.items():
        if isinstance(weight, Quantized):
            parts = weight._asdict().items()
            tensors |= {f"{name}.{part}": np.asarray(value) for part, value in parts}
        else:
            tensors[name] = np.ascontiguousarray(weight)
    try:
        with whole_file(path) as new:
            new.write_bytes(save(tensors, {"verdict": json.dumps(verdict)}))
    except OSError as error:
        log.warning("int8 weights cannot be kept in %s: %s.", path.parent, error.strerror)
        return False
    return True


def _read(file: Safetensors, config: Config) -> tuple[Weights, Verdict]:
    kept: Weights = {}
    for name in config.shapes():
        if name in file:
            kept[name] = file[name]
        else:
            parts = (file[f"{name}.{part}"] for part in Quantized._fields)
            kept[name] = Quantized(*parts)
    return kept, Verdict(*json.loads(file.metadata["verdict"]))
