"""Choose the backend and precision for a model, from the options and the machine."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from app.gpt2 import BuildError, Checkpoint, PagedModel

from ..options import EngineOptions

log = logging.getLogger(__name__)

GPU = Path("/dev/nvidiactl")  # the driver's; importing torch to ask takes seconds
HINT = "Install a C compiler (Debian and Ubuntu: apt install gcc) and start again."
Ready = TypeVar("Ready")


def open_model(
    checkpoint: Checkpoint, options: EngineOptions, use: Callable[[PagedModel], Ready]
) -> Ready:
    """Open the model on the GPU, or on the CPU if the GPU fails its check; returns use(model).

    `use` allocates the cache, and a GPU is checked while it allocates.
    """
    if options.backend in ("auto", "torch") and options.precision != "int8" and GPU.exists():
        try:
            return use(_open_on_gpu(checkpoint, options))
        except Exception as error:  # drivers, kernels and memory each raise their own
            why = (str(error).strip() or repr(error)).splitlines()[0]
            log.warning("The GPU cannot be used, so the CPU computes: %s", why)
    return use(_open_on_cpu(checkpoint, options))


def _open_on_gpu(checkpoint: Checkpoint, options: EngineOptions) -> PagedModel:
    from app.gpt2 import open_drawer, open_on_gpu

    model = open_on_gpu(
        checkpoint.config,
        checkpoint.weights,
        options.precision,
        options.max_running,
        options.cache_bytes // len(options.models),
    )
    model.draw_row = open_drawer(checkpoint.config.vocab_size, _folder(options))
    return model


def _open_on_cpu(checkpoint: Checkpoint, options: EngineOptions) -> PagedModel:
    """Our own kernel; or torch, slower and with a warning, where the kernel cannot be built."""
    if options.backend == "torch":
        return _open_torch(checkpoint, options)
    try:
        return _open_native(checkpoint, options)
    except BuildError as error:
        if options.backend == "native" or options.precision == "int8":
            raise ValueError(f"{error} {HINT}") from None
        log.warning("%s Using torch instead, several times slower. %s", error, HINT)
        return _open_torch(checkpoint, options)


def _open_native(checkpoint: Checkpoint, options: EngineOptions) -> PagedModel:
    from app.gpt2 import NativeModel, open_int8

    config, weights, *_ = checkpoint
    folder = _folder(options)
    if options.precision in ("auto", "int8"):
        return open_int8(config, weights, folder, options.threads)
    return NativeModel(config, weights, options.precision, options.threads, folder)


def _open_torch(checkpoint: Checkpoint, options: EngineOptions) -> PagedModel:
    import torch

    from app.gpt2 import TorchPagedModel, n_cores, open_drawer

    if options.precision == "int8":
        raise ValueError("precision int8 needs the native backend; torch has float32 and bfloat16.")
    torch.set_num_threads(options.threads or min(torch.get_num_threads(), n_cores()))
    precision = "float32" if options.precision == "auto" else options.precision
    model = TorchPagedModel(checkpoint.config, checkpoint.weights, precision)
    model.draw_row = open_drawer(checkpoint.config.vocab_size, _folder(options))
    return model


def _folder(options: EngineOptions) -> Path | None:
    """Where the kernel is kept."""
    return None if options.compiled is None else Path(options.compiled)
