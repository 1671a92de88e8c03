"""Training: making new weights. Knows no server."""

import importlib
from typing import Any

_FROM = {  # name: the module it is in, imported when first asked for, as it needs torch
    "finetune": "begin",
    "TrainConfig": "config",
    "TrainingError": "errors",
}
__all__ = list(_FROM)


def __getattr__(name: str) -> Any:
    if name in _FROM:
        return getattr(importlib.import_module(f"app.training.{_FROM[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
