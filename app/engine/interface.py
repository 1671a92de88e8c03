"""What `web` holds, whether the engine is in this process or behind the socket.

`Engine(options)` and `Client(...)` are both of this shape. The exceptions and events are drawn in
completion.py. For a process that serves many readers from one thread, the Engine takes one thing
more: `Engine(options, after_turn=g)` calls g() once all events of a turn are put, so that they can
be sent together. It must not block.
"""

from collections.abc import Sequence
from typing import Protocol

from .answers import EngineInfo, EngineState, EngineStats, Scored, Tokenized
from .completion import Completion
from .parameters import Params
from .scoring import Scoring


class AnyEngine(Protocol):
    def submit(
        self,
        prompt: str | Sequence[int],
        params: Params,
        model: str | None = None,
        id: str | None = None,
    ) -> Completion:
        """Continue a text or its ids; "" is unconditional; model None is the default one.

        The completion's id is `id`, or an unguessable one; an id that is in use is InvalidParams.

        Answers at once. Raises UnknownModel, EngineBusy, EngineStopped, or InvalidParams for what
        only the model can judge: ids it does not have ("prompt", "logit_bias", ...), a banned
        text that is not one token, more cache than it will ever have ("n").
        """
        ...

    def cancel(self, id: str) -> bool:
        """End that completion, whoever submitted it; False when there is none."""
        ...

    def tokenize(self, text: str, model: str | None = None) -> Tokenized: ...

    def detokenize(self, ids: Sequence[int], model: str | None = None) -> str: ...

    def pieces(self, ids: Sequence[int], model: str | None = None) -> list[bytes]:
        """The bytes of each token; b"" for an id that the vocabulary does not have."""
        ...

    def score(
        self, prompt: str, continuations: Sequence[str], top: int = 0, model: str | None = None
    ) -> list[Scored]:
        """How likely each continuation is after the prompt; waits its turn like any request."""
        ...

    def models(self) -> list[str]:
        """Names, the default one first."""
        ...

    def state(self) -> EngineState:
        """Never waits for long, never raises; in this process an Engine is "ready" until closed."""
        ...

    def info(self) -> EngineInfo: ...

    def stats(self) -> EngineStats: ...

    def close(self, grace: float = 0.0) -> None:
        """Takes nothing new, lets what runs go on for `grace` seconds, then fails the rest.

        What is failed gets Failed("engine_stopped", ...). Closing twice does nothing more.
        """
        ...


class ServableEngine(AnyEngine, Protocol):
    """An engine that can be asked by one thread for many: nothing but close() ever waits."""

    def begin_score(
        self, prompt: str, continuations: Sequence[str], top: int = 0, model: str | None = None
    ) -> Scoring: ...
