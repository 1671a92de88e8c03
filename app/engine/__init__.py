"""How many readers share one model: turns, slots, queues. Knows no HTTP."""

import importlib
from typing import Any

from app.gpt2 import MAX_SEED

from .answers import EngineInfo, EngineState, EngineStats, ModelInfo, Tokenized
from .completion import (
    Completion,
    Ended,
    EngineBusy,
    EngineError,
    EngineStopped,
    Event,
    Failed,
    Finished,
    PromptToken,
    Queued,
    Slid,
    Started,
    Timings,
    Token,
    TopToken,
    UnknownModel,
    Usage,
    is_last,
)
from .interface import AnyEngine
from .options import EngineOptions
from .parameters import MAX_ID, PARAMETERS, InvalidParams, Parameter, Params, make_params

# Looked up when asked for: they need NumPy or torch, ZeroMQ, and Ray.
_FROM = {
    "Engine": ".engine",
    "connect": ".process.client",
    "join_cluster": ".cluster.client",
    "cluster_application": ".cluster.deployment",
}


def __getattr__(name: str) -> Any:
    if name in _FROM:
        return getattr(importlib.import_module(_FROM[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Engine",
    "AnyEngine",
    "Completion",
    "Ended",
    "EngineBusy",
    "EngineError",
    "EngineInfo",
    "EngineOptions",
    "EngineState",
    "EngineStats",
    "EngineStopped",
    "Event",
    "Failed",
    "Finished",
    "InvalidParams",
    "MAX_ID",
    "MAX_SEED",
    "ModelInfo",
    "PARAMETERS",
    "Parameter",
    "Params",
    "PromptToken",
    "Queued",
    "Slid",
    "Started",
    "Timings",
    "Token",
    "Tokenized",
    "TopToken",
    "UnknownModel",
    "Usage",
    "cluster_application",
    "connect",
    "is_last",
    "join_cluster",
    "make_params",
]
