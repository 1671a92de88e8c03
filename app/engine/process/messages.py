"""The messages between web workers and the engine's process.

A frame is a list of messages in MessagePack, so all events of a turn reach a worker together. A
`number` is the worker's own and ties answers and events to its request. Knows no socket.
"""

from typing import Any, Literal

import msgspec

from ..completion import (
    Ended,
    EngineBusy,
    EngineError,
    EngineStopped,
    Failed,
    Finished,
    Queued,
    Slid,
    Started,
    Token,
    UnknownModel,
)
from ..parameters import InvalidParams, Params

AnyEvent = Queued | Started | Token | Slid | Ended | Finished | Failed
Method = Literal["cancel", "tokenize", "detokenize", "pieces", "models", "info", "stats"]


class Message(msgspec.Struct, frozen=True, tag=True, array_like=True):
    pass


# ---- from a worker to the engine


class Hello(Message, frozen=True):
    """Sent until a Status answers: a worker is here, and may be watched by its pid."""

    pid: int


class Submit(Message, frozen=True):
    number: int
    prompt: str | list[int]
    params: Params
    model: str | None
    id: str


class Call(Message, frozen=True):
    """Any other method of the engine."""

    number: int
    method: Method
    arguments: list[Any]


class Leave(Message, frozen=True):
    """This worker is done; if it is the server itself, the engine must stop too."""

    stop: bool


# ---- from the engine to a worker


class Status(Message, frozen=True):
    pid: int  # of the engine's process, to be watched
    name: str  # as in EngineState; never "failed", since a failed engine sends nothing
    due: float = 0.0  # when a restarting engine starts, on the machine's monotonic clock


class Answer(Message, frozen=True):
    number: int
    result: msgspec.Raw  # of a type that the asker knows


class Refused(Message, frozen=True):
    """An exception: the name of its class, and its arguments."""

    number: int
    kind: str
    message: str
    fields: dict[str, Any]


class Events(Message, frozen=True):
    number: int
    events: list[AnyEvent]


def answer(number: int, result: Any) -> Answer:
    return Answer(number, msgspec.Raw(encode(result)))


_ERRORS = {kind.__name__: kind for kind in (EngineError, UnknownModel, EngineBusy, EngineStopped)}


def refuse(number: int, error: EngineError | InvalidParams) -> Refused:
    return Refused(number, type(error).__name__, str(error), vars(error))


def to_error(refused: Refused) -> EngineError | InvalidParams:
    if refused.kind == InvalidParams.__name__:
        return InvalidParams(refused.fields["field"], refused.message)
    return _ERRORS[refused.kind](refused.message, **refused.fields)


Request = Hello | Submit | Call | Leave
Reply = Status | Answer | Refused | Events
encode = msgspec.msgpack.Encoder().encode
decode_requests = msgspec.msgpack.Decoder(list[Request]).decode
decode_replies = msgspec.msgpack.Decoder(list[Reply]).decode
