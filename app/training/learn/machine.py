"""What this machine offers for training: number formats, memory, signals. Knows no model."""

import contextlib
import ctypes
import resource
import signal
import threading
import types
from collections.abc import Iterator
from typing import Any

import torch

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def keep_memory() -> None:
    """Keep freed memory in the process: page faults took a third of a step on a CPU."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 1 << 30)


def precision(wish: str) -> str:
    """The precision to compute in; `auto` depends on the machine."""
    if wish != "auto":
        return wish
    if has_bfloat16():
        return "bfloat16"
    return "float16" if torch.cuda.is_available() else "float32"


def has_bfloat16() -> bool:
    if torch.cuda.is_available():
        # Emulation is slow, as on a T4.
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def peak_memory() -> int:
    """The most bytes this process has held; on the GPU if it has one."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Interrupted:
    """True once a signal has asked to stop."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None


@contextlib.contextmanager
def interruptible() -> Iterator[Interrupted]:
    """The first Ctrl-C or SIGTERM stops after the current step, the second at once."""
    interrupted = Interrupted()
    # Only the main thread gets signals.
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return

    def note(number: int, frame: types.FrameType | None) -> None:
        interrupted.signal = number
        signal.signal(number, before[number])

    before: dict[int, Any] = {}
    for one in (signal.SIGINT, signal.SIGTERM):
        before[one] = signal.signal(one, note)
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
