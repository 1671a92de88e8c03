"""How many readers share one model: turns, slots, queues. Knows no HTTP."""

import importlib
from typing import Any

from .answers import EngineInfo, EngineState, EngineStats, ModelInfo, Scored, Tokenized
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
from .parameters import MAX_ID, MAX_SEED, PARAMETERS, InvalidParams, Parameter, Params, make_params

_LAZY = {"Engine": ".engine", "connect": ".process.client"}  # torch or OpenVINO; ZeroMQ


def __getattr__(name: str) -> Any:
    """Engine needs torch or OpenVINO, and a web worker neither: looked up when asked for."""
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name], __name__), name)
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
    "Scored",
    "Slid",
    "Started",
    "Timings",
    "Token",
    "Tokenized",
    "TopToken",
    "UnknownModel",
    "Usage",
    "connect",
    "is_last",
    "make_params",
]
