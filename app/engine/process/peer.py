"""A web worker's process, as the engine's process sees it. Knows no socket."""

import os
from collections import deque
from typing import Any

from ..completion import Completion, is_last
from . import messages as wire


class Peer:
    def __init__(self, address: bytes, pid: int) -> None:
        self.address = address
        self.pidfd = os.pidfd_open(pid)
        self.completions: dict[int, Completion] = {}
        self.replies: deque[wire.Message] = deque()
        self.frame: bytes | None = None  # packed, but not yet taken by the socket

    def pack(self) -> bytes | None:
        """Everything new, in one frame; but first the previous frame, if it still waits."""
        if self.frame is None:
            # Events first, so that all that came before a cancel() arrives before its answer.
            unread = [number for number, c in list(self.completions.items()) if c.unread]
            messages: list[wire.Message] = [self._take_events(number) for number in unread]
            messages += [self.replies.popleft() for _ in range(len(self.replies))]
            self.frame = wire.encode(messages) if messages else None
        return self.frame

    def cancel(self) -> None:
        """End this worker's requests."""
        for completion in list(self.completions.values()):
            completion.cancel()

    def _take_events(self, number: int) -> wire.Events:
        completion = self.completions[number]
        events: list[Any] = []
        while (event := completion.next(0)) is not None:
            events.append(event)
        if is_last(events[-1]):
            del self.completions[number]
        return wire.Events(number, events)
