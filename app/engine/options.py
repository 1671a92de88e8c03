"""What an engine is made with; filled from the settings. Reads no environment.

Imports no torch: it is sent to the engine's process as a message.
"""

import msgspec


class EngineOptions(msgspec.Struct, frozen=True, kw_only=True):
    models: dict[str, str]  # name -> path of a checkpoint; the first is the default
    backend: str = "auto"  # auto | native | torch; auto: torch on a GPU, else native
    precision: str = "auto"  # auto | float32 | bfloat16 | int8; auto: bfloat16 on a GPU, else int8
    threads: int | None = None  # of the kernel or torch; None = as many as cores
    cache_bytes: int = 512 * 2**20  # of keys and values, for all models; at least one window each
    max_running: int = 64  # continuations at a time in one model
    max_queue: int = 256  # requests waiting for one model; more get EngineBusy
    max_wait: float = 60.0  # seconds; a request expected to wait longer gets EngineBusy
    max_time: float = 600.0  # seconds; the limit for every request, and the default
    compiled: str | None = None  # folder for the kernel and quantized weights; None = kept nowhere

    def __post_init__(self) -> None:
        if not self.models:
            raise ValueError("models is empty: name at least one checkpoint to serve.")
        _check_choice("backend", self.backend, ("auto", "native", "torch"))
        _check_choice("precision", self.precision, ("auto", "float32", "bfloat16", "int8"))
        for name in ("threads", "max_running", "max_queue", "max_wait", "max_time", "cache_bytes"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} is {value}; it must be more than 0.")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(choices)}.")
