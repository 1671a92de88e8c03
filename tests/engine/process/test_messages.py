import pytest

from app.engine import (
    Ended,
    EngineBusy,
    EngineError,
    EngineStopped,
    Failed,
    Finished,
    InvalidParams,
    Params,
    PromptToken,
    Queued,
    Slid,
    Started,
    Timings,
    Token,
    TopToken,
    UnknownModel,
    Usage,
)
from app.engine.process import messages as wire

TOP = [TopToken(5, "é".encode(), -0.5)]
EVENTS = [
    Queued(3, 0.5),
    Started(4, 2, False, 0, 0, [1, 2**53 - 1], [PromptToken(7, b"\xc3", None, TOP)]),
    Token(1, 50256, "", b"\xc3", -1.25, TOP),
    Slid(0, 32),
    Ended(0, "stop", 13, "left"),
    Ended(1, "stop", "\n"),
    Finished(Usage(4, 1, 2), Timings(0.1, 0.2, 0.3, 4.5)),
    Failed("engine_stopped", "Gone.", 3.0),
]
ERRORS = [
    UnknownModel("There is no model x."),
    EngineBusy("Full.", 2.5, 7),
    EngineStopped("Gone."),
    EngineError("Something else."),
    InvalidParams("n", "n is 0; it must be from 1 to 64."),
]


def test_events_arrive_as_they_left():
    messages = [wire.Events(9, EVENTS), wire.Status(1, "ready")]
    assert wire.decode_replies(wire.encode(messages)) == messages


@pytest.mark.parametrize("prompt", ["Once upon a \U0001f600\0", "", [], [50256, 0]])
def test_requests_arrive_as_they_left(prompt):
    params = Params(logit_bias={5: -1.5}, banned=[3, "x"], max_tokens=None, seed=0)
    messages = [wire.Hello(3), wire.Submit(0, prompt, params, None, "id"), wire.Leave(True)]
    assert wire.decode_requests(wire.encode(messages)) == messages


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_refusal_is_the_exception_it_was(error):
    (refused,) = wire.decode_replies(wire.encode([wire.refuse(1, error)]))
    arrived = wire.to_error(refused)
    assert type(arrived) is type(error)
    assert (str(arrived), vars(arrived)) == (str(error), vars(error))
