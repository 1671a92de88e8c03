"""What the model is: tensors and files. Knows no request, no server, no setting."""

import importlib
from typing import Any

_FROM = {  # name: the module it is in, imported when first asked for, as some need torch
    "Checkpoint": "checkpoint", "CheckpointError": "checkpoint", "Config": "config",
    "Tokenizer": "tokenizer", "TorchModel": "torch_model", "continue_ids": "generate",
    "load": "checkpoint", "save": "checkpoint", "save_legacy": "checkpoint",
    "find": "shelf", "name_of": "shelf", "open_all": "shelf", "ModelNotFound": "shelf", "search_beams": "beams",
}  # fmt: skip
__all__ = list(_FROM)


def __getattr__(name: str) -> Any:
    if name in _FROM:
        return getattr(importlib.import_module(f"app.gpt2.{_FROM[name]}"), name)
    raise AttributeError(name)
