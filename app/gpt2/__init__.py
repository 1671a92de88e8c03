"""The model: tensors and files. Knows no request, no server, no setting."""

import importlib
from typing import Any

_FROM = {  # imported when first asked for: some need torch, which takes a second
    "Config": "config",
    "Tokenizer": "tokenizer",
    "TokenizerError": "tokenizer",
    "Checkpoint": "files.checkpoint",
    "CheckpointError": "files.checkpoint",
    "load": "files.checkpoint",
    "save": "files.checkpoint",
    "save_legacy": "files.checkpoint",
    "download": "files.hub",
    "DownloadError": "files.hub",
    "find": "files.shelf",
    "name_of": "files.shelf",
    "open_all": "files.shelf",
    "ModelNotFound": "files.shelf",
    "Card": "files.card",
    "card_of": "files.card",
    "card_toml": "files.card",
    "WouldReplace": "files.atomic",
    "check_free": "files.atomic",
    "whole_file": "files.atomic",
    "whole_folder": "files.atomic",
    "TorchModel": "torch_backend.network",
    "TorchPagedModel": "torch_backend.paged",
    "open_on_gpu": "torch_backend.device",
    "NativeModel": "native.model",
    "n_cores": "native.model",
    "open_drawer": "native.drawer",
    "BuildError": "native.build",
    "open_int8": "native.quantize",
    "PagedModel": "paged",
    "Feed": "paged",
    "Logits": "paged",
    "DeviceLost": "paged",
    "Rows": "paged",
    "PAGE": "paged",
    "MAX_SEED": "seeds",
    "row_seed": "seeds",
    "continue_ids": "generate",
    "GELU": "transformers_network",
    "transformers_config": "transformers_network",
    "transformers_model": "transformers_network",
    "search_beams": "beams",
}
__all__ = list(_FROM)


def __getattr__(name: str) -> Any:
    if name in _FROM:
        return getattr(importlib.import_module(f"app.gpt2.{_FROM[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
