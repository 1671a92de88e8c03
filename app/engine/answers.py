"""What the engine answers besides completions: ids, its models and how it is doing.

Imports no torch: these cross the socket.
"""

from typing import Any

import msgspec


class EngineState(msgspec.Struct, frozen=True):
    """Whether requests are taken; what /readyz says."""

    name: str  # ready | loading | restarting | stuck (it hangs) | failed (retried rarely)
    message: str  # one sentence for those who wait; "" when ready


class Tokenized(msgspec.Struct, frozen=True):
    ids: list[int]
    offsets: list[tuple[int, int]]  # of each id: start and end in the text's characters


class ModelInfo(msgspec.Struct, frozen=True):
    name: str
    path: str
    about: str  # one line by whoever trained it, or ""
    backend: str  # native | torch
    device: str  # cpu | cuda
    instruction_set: str | None  # which the native backend was built for
    precision: str  # of the weights as served: float32 | bfloat16 | int8
    cache_precision: str  # of keys and values
    notes: list[str]  # what checking the quantized weights found; why a precision is not served
    perplexity_loss: float | None  # of the quantized weights over float32: 0.001 is 0.1% worse
    same_bits: str  # "always", or "same batch": when a seed gives the same tokens again
    n_positions: int  # the window, in tokens
    vocab_size: int
    n_layer: int
    n_embd: int
    n_head: int
    n_parameters: int
    bos_token_id: int
    eos_token_ids: list[int]
    cache_bytes: int
    card: dict[str, Any] | None = None  # how it introduces itself, from its card.toml


class EngineInfo(msgspec.Struct, frozen=True):
    models: list[ModelInfo]  # the default one first
    threads: int
    max_running: int  # continuations, of each model
    max_queue: int  # requests, of each model
    max_wait: float
    max_time: float

    @property
    def max_running_in_all(self) -> int:
        """In all models together."""
        return self.max_running * len(self.models)

    @property
    def max_queue_in_all(self) -> int:
        return self.max_queue * len(self.models)


class EngineStats(msgspec.Struct, frozen=True):
    """Counters since the start and the state now, over all models."""

    waiting: int  # requests
    running: int  # continuations
    pages: int  # of cache
    pages_used: int  # by running continuations
    requests: int  # accepted
    outcomes: dict[str, int]  # finished | cancelled | deadline | failed | busy -> requests
    prompt_tokens: int
    cached_tokens: int  # of these, found in the cache
    completion_tokens: int
    turns: int
    busy_s: float  # seconds spent in turns
    uptime_s: float
    memory_bytes: int  # resident, of the engine's process
    replicas: dict[str, "EngineStats"] = {}  # of a cluster, by name: what all these add up to

    @property
    def parts(self) -> dict[str, "EngineStats"]:
        """Each engine's own, whose counters never fall; a sum falls when a replica leaves."""
        return self.replicas or {"": self}
