"""Which backend computes a model, in which precision: as the options say, or the machine has."""

import importlib.util
from pathlib import Path

from app.gpt2 import Checkpoint, PagedModel

from ..options import EngineOptions


def open_model(checkpoint: Checkpoint, options: EngineOptions) -> PagedModel:
    if _backend(options) == "torch":
        return _open_torch(checkpoint, options)
    from app.gpt2 import OpenVINOModel, open_int8

    config, weights, *_ = checkpoint
    if options.precision in ("auto", "int8"):
        folder = Path(options.compiled) if options.compiled is not None else None
        return open_int8(config, weights, folder, options.threads)
    return OpenVINOModel(config, weights, options.precision, options.threads)


def _backend(options: EngineOptions) -> str:
    if options.backend != "auto":
        return options.backend
    has_openvino = importlib.util.find_spec("openvino") is not None
    # The driver is asked for, not torch, which takes seconds to import.
    has_gpu = Path("/dev/nvidiactl").exists()
    return "openvino" if has_openvino and not has_gpu else "torch"


def _open_torch(checkpoint: Checkpoint, options: EngineOptions) -> PagedModel:
    import torch

    from app.gpt2 import TorchPagedModel

    device = "cuda" if torch.cuda.is_available() else "cpu"
    precision = options.precision
    if precision == "auto":
        precision = "bfloat16" if device == "cuda" else "float32"
    if precision == "int8":
        raise ValueError("precision int8 needs the openvino backend; torch has float32, bfloat16.")
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    return TorchPagedModel(checkpoint.config, checkpoint.weights, precision, device)
