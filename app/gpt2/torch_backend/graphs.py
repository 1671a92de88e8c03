"""CUDA graphs: record what a function does on the GPU once, then replay it as one launch.

A token of GPT-2 takes some hundred small kernels, and launching them one by one takes longer than
running them. Knows no model. Without a GPU nothing is recorded, and the function is called.
"""

import contextlib
import gc
import logging
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

log = logging.getLogger(__name__)

Function = Callable[[Tensor], tuple[Tensor, ...]]


class Recording(NamedTuple):
    given: Tensor  # the input, overwritten before each replay
    made: tuple[Tensor, ...]  # the output of each replay
    graph: Any  # a CUDAGraph


class Recorded:
    """A function of one tensor, recorded once for each shape; there should be few.

    It must neither wait for the device nor read numbers from it, and everything else it reads must
    stay at the same address.
    """

    def __init__(self, function: Function, device: torch.device) -> None:
        self.function = function
        self.device = device
        self.may_record = device.type == "cuda"
        self._recordings: dict[torch.Size, Recording] = {}
        # One stream and one memory pool for all recordings, since they replay one at a time.
        self._aside = torch.cuda.Stream(device) if self.may_record else None
        self._pool: Any = None

    def __call__(self, given: Tensor) -> tuple[Tensor, ...]:
        """The function of `given`, a tensor on the host. Valid until the next call."""
        recording = self._find_or_record(given)
        if recording is None:
            return self.function(send(given, self.device))
        recording.given.copy_(_pinned(given, self.device), non_blocking=True)
        recording.graph.replay()
        return recording.made

    def _find_or_record(self, given: Tensor) -> Recording | None:
        if self.may_record and given.shape not in self._recordings:
            try:
                there = send(given, self.device)
                made = record(self.function, there, self._aside, self._pool)
                self._recordings[given.shape], self._pool = made, made.graph.pool()
            except Exception as error:  # whatever it is, the turn matters more than its speed
                self.may_record = False
                log.warning("Recording a CUDA graph failed, so turns are slower: %s", error)
        return self._recordings.get(given.shape)

    def forget(self) -> None:
        """Call the function from now on."""
        self.may_record = False
        self._recordings.clear()


def record(function: Function, given: Tensor, aside: Any, pool: Any) -> Recording:
    """Record on the stream `aside`, in the pool of earlier recordings if there is one."""
    here = torch.cuda.current_stream()
    with torch.cuda.stream(here):  # and back, even if a recording fails half-way
        # 1. Call it once: first calls choose kernels and allocate workspaces.
        aside.wait_stream(here)
        with torch.cuda.stream(aside):
            function(given)
        here.wait_stream(aside)
        # 2. Record it, which computes nothing.
        graph = torch.cuda.CUDAGraph()
        recording = torch.cuda.graph(graph, pool, aside, capture_error_mode="thread_local")
        with _nothing_collected(), recording:
            made = function(given)
    return Recording(given, made, graph)


@contextlib.contextmanager
def _nothing_collected() -> Iterator[None]:
    """Python may free another model's graphs at any moment: CUDA then breaks a recording off."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Send to the device without waiting for arrival."""
    return _pinned(tensor, device).to(device, non_blocking=True)


def _pinned(tensor: Tensor, device: torch.device) -> Tensor:
    """Memory that a GPU can copy from while the program goes on."""
    return tensor.pin_memory() if device.type == "cuda" else tensor
