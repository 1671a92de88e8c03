"""What the model is: tensors and files. Knows no request, no server, no setting."""

import importlib
from typing import Any

_FROM = {  # imported when first asked for: some need torch, which takes a second
    "Config": "config",
    "Tokenizer": "tokenizer",
    "TokenizerError": "tokenizer",
    "Checkpoint": "checkpoint",
    "CheckpointError": "checkpoint",
    "load": "checkpoint",
    "save": "checkpoint",
    "save_legacy": "checkpoint",
    "download": "hub",
    "DownloadError": "hub",
    "find": "shelf",
    "name_of": "shelf",
    "open_all": "shelf",
    "ModelNotFound": "shelf",
    "whole_file": "whole",
    "whole_folder": "whole",
    "TorchModel": "torch_model",
    "TorchPagedModel": "torch_pages",
    "OpenVINOModel": "openvino_model",
    "open_int8": "quantize",
    "PagedModel": "pages",
    "Feed": "pages",
    "Logits": "pages",
    "Rows": "pages",
    "continue_ids": "generate",
    "GELU": "network",
    "transformers_config": "network",
    "transformers_model": "network",
    "search_beams": "beams",
}
__all__ = list(_FROM)


def __getattr__(name: str) -> Any:
    if name in _FROM:
        return getattr(importlib.import_module(f"app.gpt2.{_FROM[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
