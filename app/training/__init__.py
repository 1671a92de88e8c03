"""Making new weights. Knows no server."""

import importlib
from typing import Any

_FROM = {  # name: the module it is in, imported when first asked for, as most need torch
    "Corpus": "corpus.corpus", "Rules": "corpus.corpus", "prepare": "corpus.corpus",
    "find": "corpus.sources",
    "TrainConfig": "config", "TrainingError": "config", "SIZES": "config",
    "Run": "train", "train": "train",
}  # fmt: skip
__all__ = list(_FROM)


def __getattr__(name: str) -> Any:
    if name in _FROM:
        return getattr(importlib.import_module(f"app.training.{_FROM[name]}"), name)
    raise AttributeError(name)
