"""The events of one client's texts on a replica, until they are sent. Knows no Ray."""

import asyncio
from typing import Any

from ..completion import Completion, is_last
from ..process.messages import Events


class Outbox:
    def __init__(self, carrier: int) -> None:
        self.carrier = carrier  # the number of the call that carries all events
        self._texts: dict[int, tuple[Completion, asyncio.Event]] = {}  # by the number of its call

    def __len__(self) -> int:
        """How many texts are not over."""
        return len(self._texts)

    def add(self, number: int, completion: Completion) -> asyncio.Event:
        """The event that is returned is set once the text's last event has been taken."""
        is_over = asyncio.Event()
        self._texts[number] = completion, is_over
        return is_over

    def take(self) -> list[Events]:
        """All new events."""
        numbers = [number for number, (text, _) in self._texts.items() if text.unread]
        return [Events(number, self._take(number)) for number in numbers]

    def _take(self, number: int) -> list[Any]:
        completion, is_over = self._texts[number]
        events: list[Any] = []
        while (event := completion.next(0)) is not None:
            events.append(event)
        if is_last(events[-1]):
            is_over.set()
            del self._texts[number]
        return events

    def cancel(self) -> None:
        """End all texts: nobody will take their events."""
        for completion, is_over in self._texts.values():
            completion.cancel()
            is_over.set()
        self._texts.clear()
