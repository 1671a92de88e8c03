"""Runs -> what KoboldAI and koboldcpp answer: results, or a message for each token."""

from collections.abc import Iterator
from typing import Any

from app.engine import Ended, Failed, Token, TopToken

from ...errors import Problem, failed
from ...native import reply as formats
from ...run.run import Choice, Run
from .. import shared as words

REASONS = {"length": "length", "deadline": "length"}


def render(problem: Problem) -> tuple[int, Any]:
    if problem.status == 422:
        return 422, {"detail": {problem.field or "body": [problem.message]}}
    status = 503 if problem.status == 429 else problem.status
    kind = "service_unavailable" if status == 503 else problem.type
    return status, {"detail": {"msg": problem.message, "type": kind}}


def result(choice: Choice, run: Run) -> dict[str, Any]:
    assert run.usage is not None
    return {
        "text": choice.text,
        "finish_reason": REASONS.get(choice.reason or "", "stop"),
        "logprobs": logprobs(choice, run),
        "prompt_tokens": run.usage.prompt_tokens,
        "completion_tokens": len(choice.tokens),
    }


def logprobs(choice: Choice, run: Run) -> dict[str, Any] | None:
    if run.params.logprobs is None:
        return None
    return {
        "content": [_one(token) | {"top_logprobs": _top(token)} for token in choice.tokens],
    }


def _top(token: Token) -> list[dict[str, Any]]:
    return [_one(top) for top in token.top]


def _one(token: Token | TopToken) -> dict[str, Any]:
    logprob = formats.finite(token.logprob)
    return {"token": words.plain(token.bytes), "logprob": logprob, "bytes": list(token.bytes)}


def stream(run: Run) -> Iterator[bytes]:
    has_odds = run.params.logprobs is not None
    for event in run.events():
        match event:
            case None:
                yield words.PING
            case Token() if event.text or has_odds:
                more = {"top_logprobs": _top(event)} if has_odds else {}
                yield _frame({"token": event.text, "finish_reason": None} | more)
            case Ended():
                reason = REASONS.get(event.reason, "stop")
                yield _frame({"token": event.text, "finish_reason": reason})
            case Failed():
                yield _frame(render(failed(event))[1])


def _frame(said: dict[str, Any]) -> bytes:
    return b"event: message\n" + words.data(said)
