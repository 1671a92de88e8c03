"""Scores: requests that only read their text for its probabilities, gathered into one answer."""

import math
from typing import NamedTuple

from .answers import Scored
from .completion import (
    Completion,
    Ended,
    EngineError,
    EngineStopped,
    Event,
    Failed,
    PromptToken,
    Started,
    is_last,
)


class Part(NamedTuple):
    completion: Completion
    n_scored: int  # of its last tokens


class Scoring:
    def __init__(self, parts: list[Part]) -> None:
        self._parts = parts
        self._events: list[list[Event]] = [[] for _ in parts]

    def is_done(self) -> bool:
        """Take the events that have come; whether that was all. Never blocks."""
        return all([self._take(at) for at in range(len(self._parts))])

    def _take(self, at: int) -> bool:
        while (event := self._parts[at].completion.next(0)) is not None:
            self._events[at].append(event)
        return bool(self._events[at]) and is_last(self._events[at][-1])

    def wait(self) -> list[Scored]:
        for (completion, _), events in zip(self._parts, self._events, strict=True):
            events.extend(completion)
        return self.result()

    def result(self) -> list[Scored]:
        """Raises EngineError unless every text was read to its end."""
        parts = zip(self._parts, self._events, strict=True)
        return [_score(events, n_scored) for (_, n_scored), events in parts]

    def cancel(self) -> None:
        for completion, _ in self._parts:
            completion.cancel()


def _score(events: list[Event], n_scored: int) -> Scored:
    prompt: list[PromptToken] = []
    for event in events:
        match event:
            case Started(prompt=list(prompt)):
                pass
            case Failed(message=message):
                raise EngineStopped(message)
            case Ended(reason="deadline"):
                raise EngineError("The text was not scored within max_time; try a shorter one.")
            case Ended(reason="cancelled"):
                raise EngineError("The score was cancelled.")
    tokens = prompt[len(prompt) - n_scored :]
    logprob = sum(token.logprob or 0.0 for token in tokens)
    return Scored(tokens, logprob, bits=-logprob / math.log(2))
