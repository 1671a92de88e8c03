"""One text that the cluster writes, and how much of it its reader has. Knows no Ray."""

import dataclasses
from typing import Any

from ..completion import (
    MAX_UNREAD,
    Completion,
    Ended,
    Event,
    Failed,
    Finished,
    Queued,
    Started,
    Timings,
    Token,
    Usage,
)
from ..parameters import Params

RETRY_S = 3.0  # until readers of a lost stream should try again


@dataclasses.dataclass
class Stream:
    prompt: str | list[int]
    params: Params
    model: str | None
    id: str
    deadline: float | None
    completion: Completion
    started: Started | None = None
    seen: dict[int, list[int | None]] = dataclasses.field(default_factory=dict)  # ids by choice
    to_skip: dict[int, int] = dataclasses.field(default_factory=dict)  # those that come again
    ended: set[int] = dataclasses.field(default_factory=set)
    carrier: int | None = None  # number of the call that brings its events
    n_lost: int = 0  # how often
    is_lost: bool = False  # between two replicas
    is_cancelled: bool = False
    is_over: bool = False

    def rewind(self) -> None:
        """Its replica is lost; another will send everything again."""
        self.is_lost = True
        self.n_lost += 1
        self.to_skip = {choice: len(seen) for choice, seen in self.seen.items()}

    def told(self) -> list[list[int]]:
        """The ids of each choice to resume from; none if they are too many to be sent at once."""
        seen = [self.seen.get(choice, []) for choice in range(self.params.n)]
        ids = [[id for id in some if id is not None] for some in seen]
        return ids if sum(map(len, ids)) < MAX_UNREAD // 2 else []

    def take(self, event: Event) -> None:
        """Pass it on unless the reader has it; AssertionError if the text came out differently."""
        match event:
            case Started():
                is_news, self.started = self.started is None, self.started or event
            case Queued():
                is_news = self.started is None
            case Finished() | Failed():
                is_news = self.is_over = True
            case _:
                is_news = self._is_new_of_choice(event)
        if is_news and not (self.is_cancelled and isinstance(event, Token)):
            self.completion.put(event)  # tokens may have been on their way when it was cancelled

    def _is_new_of_choice(self, event: Any) -> bool:
        seen, id = self.seen.setdefault(event.choice, []), getattr(event, "id", None)
        n_left = self.to_skip.get(event.choice, 0)
        if n_left:
            self.to_skip[event.choice] = n_left - 1
            if seen[len(seen) - n_left] != id and not self.is_cancelled:
                raise AssertionError("another text came out")
            return False
        seen.append(id)
        if isinstance(event, Ended):
            self.ended.add(event.choice)
        return True

    def end_cancelled(self) -> None:
        """End it here: no replica is left to do so."""
        for choice in set(range(self.params.n)) - self.ended:
            self.completion.put(Ended(choice, "cancelled"))
        n = sum(id is not None for seen in self.seen.values() for id in seen)
        n_prompt = 0 if self.started is None else self.started.prompt_tokens
        self.take(Finished(Usage(n_prompt, n, 0), Timings(0.0, 0.0, 0.0, 0.0)))

    def fail(self, message: str) -> None:
        if not self.is_over:
            self.take(Failed("engine_stopped", message, RETRY_S))
