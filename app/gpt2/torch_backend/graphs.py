"""CUDA graphs: what a function does on the GPU is recorded once, then played again as one launch.

A token of GPT-2 is some hundred small kernels, and launching them one by one takes longer than they
run. Knows no model. Without a GPU nothing is recorded: the function is called.
"""

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

log = logging.getLogger(__name__)

Function = Callable[[Tensor], tuple[Tensor, ...]]


class Recording(NamedTuple):
    given: Tensor  # what is read, to be overwritten before each play
    made: tuple[Tensor, ...]  # what each play writes anew
    graph: Any  # a CUDAGraph


class Recorded:
    """A function of one tensor, recorded once for each shape that comes; few should.

    It must neither wait for the device nor look at numbers on it, and whatever else it reads must
    stay at its place in memory.
    """

    def __init__(self, function: Function, device: torch.device) -> None:
        self.function = function
        self.device = device
        self.may_record = device.type == "cuda"
        self._recordings: dict[torch.Size, Recording] = {}
        # One stream and one memory for all recordings, since they play one at a time.
        self._aside = torch.cuda.Stream(device) if self.may_record else None
        self._pool: Any = None

    def __call__(self, given: Tensor) -> tuple[Tensor, ...]:
        """What becomes of `given`, a tensor of the host. Valid until the next call."""
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
            except Exception as error:  # whatever it is, the turn counts for more than its speed
                self.may_record = False
                log.warning("A CUDA graph could not be recorded; turns are slower now: %s", error)
        return self._recordings.get(given.shape)

    def forget(self) -> None:
        """Call the function from now on."""
        self.may_record = False
        self._recordings.clear()


def record(function: Function, given: Tensor, aside: Any, pool: Any) -> Recording:
    """On the stream `aside`, in the memory of earlier recordings if there is a pool of it."""
    here = torch.cuda.current_stream()
    with torch.cuda.stream(here):  # and here again, also where a recording breaks off half-way
        # 1. Once as it is: first calls choose kernels and make workspaces.
        aside.wait_stream(here)
        with torch.cuda.stream(aside):
            function(given)
        here.wait_stream(aside)
        # 2. Once more for the recording, in which nothing is computed.
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool, aside, capture_error_mode="thread_local"):
            made = function(given)
    return Recording(given, made, graph)


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """To the device, without waiting until it is there."""
    return _pinned(tensor, device).to(device, non_blocking=True)


def _pinned(tensor: Tensor, device: torch.device) -> Tensor:
    """In memory that a GPU can fetch from while the program goes on."""
    return tensor.pin_memory() if device.type == "cuda" else tensor
