"""Open a model on the GPU, or say in a sentence what it lacks."""

import warnings
from collections.abc import Mapping

import numpy as np
import torch

from app.gpt2.config import Config
from app.gpt2.torch_backend.check import cpu_sample
from app.gpt2.torch_backend.paged import DTYPES, TorchPagedModel

SPARE_BYTES = 2**30  # for a turn, besides weights and cache


class GPUUnusable(RuntimeError):
    """Why the GPU cannot be used, in one sentence."""


def open_on_gpu(
    config: Config,
    weights: Mapping[str, np.ndarray],
    precision: str,
    max_rows: int,
    cache_bytes: int,
) -> TorchPagedModel:
    """`precision` auto is 16 bits, as the GPU has them. allocate() compares it with the CPU."""
    check_driver()
    if precision == "auto":
        has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
        precision = "bfloat16" if has_bfloat16 else "float16"
    check_memory(config.n_parameters * DTYPES[precision].itemsize + cache_bytes)
    sample = cpu_sample(config, weights)
    return TorchPagedModel(config, weights, precision, "cuda", max_rows, sample)


def check_driver() -> None:
    if torch.version.cuda is None and torch.version.hip is None:
        raise GPUUnusable(
            f"torch {torch.__version__} is built for CPUs only; install its CUDA build."
        )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        is_there = torch.cuda.is_available()
    if not is_there:
        why = str(caught[-1].message).splitlines()[0] if caught else "it finds no usable GPU."
        raise GPUUnusable(f"torch {torch.__version__}: {why}")


def check_memory(n_bytes: int) -> None:
    free, _ = torch.cuda.mem_get_info()
    if n_bytes + SPARE_BYTES > free:
        raise GPUUnusable(
            f"weights and cache need {(n_bytes + SPARE_BYTES) / 1e9:.1f} GB of its memory, and "
            f"{free / 1e9:.1f} GB are free."
        )
