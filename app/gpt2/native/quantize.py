"""int8 weights for the kernel: made once, checked against float32, kept on disk.

Each matrix becomes int8 with a scale per output; so do its inputs, a row at a time. Text sampled
from the float32 model shows how large each input gets, which decides how the range is shared
between inputs and weights (see packing.py). More such text shows what int8 costs: the mean
divergence of the two models' probabilities is what it adds to the loss, so exp of it is the growth
in perplexity. If that is too much, the model is served in bfloat16.
"""

import hashlib
import json
import logging
import math
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.numpy import save

from app.gpt2.config import Config
from app.gpt2.files.atomic import whole_file
from app.gpt2.files.tensors import Safetensors, TensorsError
from app.gpt2.native.model import NativeModel
from app.gpt2.native.packing import Quantized, matrices, quantize_matrix
from app.gpt2.paged import PAGE, Feed
from app.gpt2.sampling import Draw, choose, logprobs

Floats = Mapping[str, np.ndarray]
Kept = dict[str, np.ndarray | Quantized]

log = logging.getLogger(__name__)

VERSION = 7  # of the file on disk
TOO_MUCH = 0.01  # growth in perplexity above which int8 is not served: 1%
N_ROWS, N_TOKENS = 12, 48  # of sampled text
N_SHOWN = 8  # of these rows show how large inputs get; the others measure what int8 costs


class Verdict(NamedTuple):
    """What to serve, and why."""

    precision: str  # int8, or bfloat16 where int8 cost too much
    loss: float  # growth in perplexity; 0.001 = 0.1%
    notes: list[str]


def open_int8(
    config: Config, weights: Floats, folder: Path | None = None, threads: int | None = None
) -> NativeModel:
    """The model with int8 weights: from `folder`, or made, checked and kept there."""
    path = folder / f"int8-{_key(config, weights)}.safetensors" if folder else None
    if path is not None and path.exists():
        try:
            return _open_kept(config, path, threads)
        except (OSError, TensorsError, ValueError, KeyError) as error:
            log.warning("%s is damaged and made again: %s", path, error)
    kept, verdict = make_and_check(config, weights, folder, threads)
    for note in verdict.notes:
        log.info(note)
    if path is not None:
        _write(path, kept, verdict)
    return _serve(config, kept, verdict, folder, threads)


def _open_kept(config: Config, path: Path, threads: int | None) -> NativeModel:
    file = Safetensors(path, path.stat().st_size)
    model = _serve(config, *_read(file, config), path.parent, threads)
    file.let_go()  # the model has copied it
    return model


def _serve(
    config: Config, kept: Kept, verdict: Verdict, folder: Path | None, threads: int | None
) -> NativeModel:
    model = NativeModel(config, kept, verdict.precision, threads, folder)
    model.perplexity_loss, model.notes = verdict.loss, verdict.notes
    return model


def quantize(config: Config, weights: Floats, greatest: Floats | None = None) -> Kept:
    """All weights, the matrices as int8; `greatest`: the greatest |x| seen of their inputs."""
    kept: Kept = dict(weights)
    for name in matrices(config):
        known = None if greatest is None else greatest[name]
        kept[name] = quantize_matrix(name, weights[name], known)
    return kept


# ---- made and checked ----


def make_and_check(
    config: Config, weights: Floats, folder: Path | None = None, threads: int | None = None
) -> tuple[Kept, Verdict]:
    sample = _Sample(config, weights, folder, threads)
    kept = quantize(config, weights, sample.greatest)
    loss = sample.loss(NativeModel(config, kept, "int8", threads, folder))
    if loss <= TOO_MUCH:
        return kept, Verdict("int8", loss, [])
    note = f"int8 weights cost {loss:.2%} of perplexity: bfloat16 is served."
    kept = dict(weights)
    loss = sample.loss(NativeModel(config, kept, "bfloat16", threads, folder))
    return kept, Verdict("bfloat16", loss, [note])


class _Sample:
    """Text that the float32 model wrote, its logits for it, and how large its inputs get."""

    def __init__(
        self, config: Config, weights: Floats, folder: Path | None, threads: int | None
    ) -> None:
        exact = NativeModel(config, weights, "float32", threads, folder, probed=matrices(config))
        length = min(N_TOKENS, config.n_positions)
        self.pages = -(-length // PAGE)  # of each row
        exact.allocate(N_ROWS * self.pages)
        texts = self._write(exact, [config.bos_token_id], length)
        for greatest in exact.greatest.values():
            greatest[:] = 0  # writing recorded those of all texts
        for _ in self._read(exact, texts[:N_SHOWN]):
            pass
        shapes = config.shapes()
        self.greatest = {
            name: greatest[: shapes[name][name == "wte.weight"]].copy()
            for name, greatest in exact.greatest.items()
        }
        self.ids = texts[N_SHOWN:]
        self.logits = [logits.copy() for logits in self._read(exact, self.ids)]  # [length, V] each

    def _write(self, model: NativeModel, begin: list[int], length: int) -> list[list[int]]:
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

    def _read(self, model: NativeModel, texts: list[list[int]]) -> Iterator[np.ndarray]:
        """Logits [length, V], one row at a time: all of them would take 77 MB more."""
        model.allocate(self.pages)
        for text in texts:
            yield np.asarray(model.forward([Feed(text, 0, self._pages(0), len(text))]).logits)

    def loss(self, model: NativeModel) -> float:
        """How much higher the model's perplexity is: exp of the mean divergence, less 1."""
        divergences = [
            float(np.exp(p) @ (p - q))
            for exact, other in zip(self.logits, self._read(model, self.ids), strict=True)
            for p, q in zip(map(logprobs, exact), map(logprobs, other), strict=True)
        ]
        return math.expm1(sum(divergences) / len(divergences))


# ---- kept on disk ----


def _key(config: Config, weights: Floats) -> str:
    """Of the content, so a new checkpoint in the same place gets a new key."""
    digest = hashlib.sha256(f"{VERSION} {config}".encode())
    for name in config.shapes():
        digest.update(np.ascontiguousarray(weights[name]).data)
    return digest.hexdigest()[:32]


def _write(path: Path, kept: Kept, verdict: Verdict) -> None:
    tensors: dict[str, np.ndarray] = {}
    for name, weight in kept.items():
        if isinstance(weight, Quantized):
            tensors |= {f"{name}.{part}": value for part, value in weight._asdict().items()}
        else:
            tensors[name] = np.ascontiguousarray(weight)
    about = {"verdict": json.dumps(verdict), "checksum": str(_checksum(kept))}
    try:
        with whole_file(path) as new:
            new.write_bytes(save(tensors, about))
    except OSError as error:
        log.warning("int8 weights cannot be kept in %s: %s.", path.parent, error.strerror)


def _read(file: Safetensors, config: Config) -> tuple[Kept, Verdict]:
    kept: Kept = {}
    for name in config.shapes():
        if name in file:
            kept[name] = file[name]
        else:
            kept[name] = Quantized(*(file[f"{name}.{part}"] for part in Quantized._fields))
    if str(_checksum(kept)) != file.metadata["checksum"]:
        raise ValueError("its checksum is wrong.")
    return kept, Verdict(*json.loads(file.metadata["verdict"]))


def _checksum(kept: Kept) -> int:
    checksum = 0
    for name in sorted(kept):
        weight = kept[name]
        for part in weight if isinstance(weight, Quantized) else (weight,):
            checksum = zlib.crc32(np.ascontiguousarray(part).data, checksum)
    return checksum
