"""The engine as `web` sees it, whether in this process, behind a socket or on a cluster.

Exceptions and events are listed in completion.py. `Engine(options, after_turn=g)` also calls g()
after each turn, when all its events are put, so that a process that serves many readers can send
them together; g must not block.
"""

from collections.abc import Sequence
from typing import Protocol

from .answers import EngineInfo, EngineState, EngineStats, Tokenized
from .completion import Completion
from .parameters import Params


class AnyEngine(Protocol):
    def submit(
        self,
        prompt: str | Sequence[int],
        params: Params,
        model: str | None = None,
        id: str | None = None,
    ) -> Completion:
        """Continue a text or ids; "" starts from nothing; model None is the default one.

        The completion's id is `id`, or an unguessable one; an id in use raises InvalidParams.

        Returns at once. Raises UnknownModel, EngineBusy, EngineStopped, or InvalidParams for what
        only the model can judge: ids it does not have ("prompt", "logit_bias", ...), a banned
        text that is not one token, more cache than there is ("n").
        """
        ...

    def cancel(self, id: str) -> bool:
        """End the completion with this id, whoever submitted it; False if there is none."""
        ...

    def tokenize(self, text: str, model: str | None = None) -> Tokenized: ...

    def detokenize(self, ids: Sequence[int], model: str | None = None) -> str: ...

    def pieces(self, ids: Sequence[int], model: str | None = None) -> list[bytes]:
        """The bytes of each token; b"" for an id outside the vocabulary."""
        ...

    def models(self) -> list[str]:
        """Names, the default one first."""
        ...

    def state(self) -> EngineState:
        """Answers quickly and never raises."""
        ...

    def info(self) -> EngineInfo: ...

    def stats(self) -> EngineStats: ...

    def close(self, grace: float = 0.0) -> None:
        """Take nothing new, let running requests go on for `grace` seconds, then fail the rest.

        Those get Failed("engine_stopped", ...). Closing again does nothing.
        """
        ...
