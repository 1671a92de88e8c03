"""Runs -> OpenAI's completion objects: whole, or in chunks."""

import secrets
import time
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from app.engine import (
    Ended,
    EngineError,
    Failed,
    ModelInfo,
    Params,
    PromptToken,
    Started,
    Token,
)

from ...errors import Problem, engine_problem, failed
from ...native import reply as formats
from ...native.spans import Spans
from ...run.run import Choice, Prompt, Run
from .. import shared as words

DONE = b"data: [DONE]\n\n"

# What ended a text is one of theirs; an end that came from outside is told as the nearest.
REASONS = {
    "length": "length",
    "deadline": "length",
    "stop": "stop",
    "end_of_text": "stop",
    "cancelled": "stop",
}


class Asked(msgspec.Struct):
    """What POST /v1/completions was asked for."""

    prompts: list[Prompt]
    params: Params  # with as many continuations as there are to choose from
    info: ModelInfo
    n: int  # how many of them to tell
    logprobs: int | None
    echo: bool
    stream: bool
    include_usage: bool
    continuous_usage: bool
    id: str = msgspec.field(default_factory=lambda: f"cmpl-{secrets.token_hex(12)}")
    created: int = msgspec.field(default_factory=lambda: int(time.time()))


# ---- whole


def whole(runs: list[Run], asked: Asked) -> dict[str, Any]:
    choices: list[dict[str, Any]] = []
    for run in runs:
        ranked, front = run.choices, _front(run, asked)
        if asked.params.n > asked.n:
            ranked = sorted(ranked, key=words.mean_logprob, reverse=True)[: asked.n]
        for choice in ranked:
            said = _choice(choice, run, front, asked)
            choices.append({"index": len(choices)} | said)
    return _head(asked) | {"choices": choices, "usage": _usage(runs)}


def _choice(choice: Choice, run: Run, front: str, asked: Asked) -> dict[str, Any]:
    logprobs = None
    if asked.logprobs is not None:
        logprobs = _logprobs(choice.tokens, Spans(len(front), len))
        if asked.echo:
            logprobs = _joined(_prompt_logprobs(run), logprobs)
    return {
        "text": front + choice.text,
        "finish_reason": REASONS[choice.reason or "cancelled"],
        "stop_reason": choice.stop,
        "logprobs": logprobs,
        "seed": choice.seed,
    }


def _front(run: Run, asked: Asked) -> str:
    return words.text_of(run.prompt, asked.info) if asked.echo else ""


def _prompt_logprobs(run: Run) -> dict[str, list[Any]]:
    prompt = None if run.started is None else run.started.prompt
    return _logprobs(prompt or (), Spans(0, len))


def _joined(one: dict[str, list[Any]], other: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {key: one[key] + other[key] for key in one}


# ---- in chunks


def stream(first: Run, rest: Iterable[Run], asked: Asked) -> Iterator[bytes]:
    """The runs one after another, then the usage if it was asked for, then [DONE]."""
    runs = [first]
    try:
        yield from _run(0, runs, asked)
        for run in rest:
            if runs[-1].failure is not None:
                break
            runs.append(run)
            yield from _run(len(runs) - 1, runs, asked)
    except EngineError as error:  # the engine has no room for the next prompt
        yield _error(engine_problem(error))
    else:
        if asked.include_usage and runs[-1].failure is None:
            yield words.data(_head(asked) | {"choices": [], "usage": _usage(runs)})
    yield DONE


def _run(number: int, runs: list[Run], asked: Asked) -> Iterator[bytes]:
    """The chunks of the latest run."""
    run = runs[-1]
    spans: list[Spans] = []
    for event in run.events():
        match event:
            case None:
                yield words.PING
            case Started():
                front = _front(run, asked)
                spans = [Spans(len(front), len) for _ in run.choices]
                if asked.echo:
                    said = _prompt_logprobs(run) if asked.logprobs is not None else None
                    for k in range(asked.n):
                        yield _chunk(number, k, runs, asked, text=front, logprobs=said)
            case Token() if event.text or asked.logprobs is not None:
                said = None
                if asked.logprobs is not None:
                    said = _logprobs([event], spans[event.choice])
                yield _chunk(number, event.choice, runs, asked, text=event.text, logprobs=said)
            case Ended():
                yield _chunk(
                    number,
                    event.choice,
                    runs,
                    asked,
                    text=event.text,
                    finish_reason=REASONS[event.reason],
                    stop_reason=event.stop,
                    seed=run.choices[event.choice].seed,
                )
            case Failed():
                yield _error(failed(event))


def _chunk(number: int, k: int, runs: list[Run], asked: Asked, text: str, **more: Any) -> bytes:
    choice = {"index": number * asked.n + k, "text": text, "logprobs": None, "finish_reason": None}
    said = _head(asked) | {"choices": [choice | more]}
    if asked.include_usage:
        said["usage"] = _usage(runs) if asked.continuous_usage else None
    return words.data(said)


def _error(problem: Problem) -> bytes:
    error = {"message": problem.message, "type": "server_error", "param": None}
    return words.data({"error": error | {"code": problem.status}})


# ---- what both have


def _head(asked: Asked) -> dict[str, Any]:
    return {
        "id": asked.id,
        "object": "text_completion",
        "created": asked.created,
        "model": asked.info.name,
    }


def _usage(runs: list[Run]) -> dict[str, Any]:
    """So far; every token was an event of the engine's."""
    started = [run.started for run in runs if run.started is not None]
    prompt = sum(s.prompt_tokens for s in started)
    written = sum(len(choice.tokens) for run in runs for choice in run.choices)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": written,
        "total_tokens": prompt + written,
        "prompt_tokens_details": {"cached_tokens": sum(s.cached_tokens for s in started)},
    }


def _logprobs(tokens: Iterable[Token | PromptToken], spans: Spans) -> dict[str, list[Any]]:
    """Offsets are in characters of the text returned. The prompt's first token has no odds."""
    said: dict[str, list[Any]] = {
        "tokens": [],
        "token_logprobs": [],
        "top_logprobs": [],
        "text_offset": [],
    }
    for token in tokens:
        said["tokens"].append(_name(token.bytes))
        said["token_logprobs"].append(formats.finite(token.logprob))
        said["top_logprobs"].append(_top(token))
        said["text_offset"].append(spans.next(token.bytes)[0])
    return said


def _top(token: Token | PromptToken) -> dict[str, float | None] | None:
    if token.logprob is None:
        return None
    return {_name(top.bytes): formats.finite(top.logprob) for top in words.with_chosen(token)}


def _name(token: bytes) -> str:
    """A token's text; OpenAI's form for bytes that are none alone, so that names differ."""
    piece = words.piece(token)
    if isinstance(piece, str):
        return piece
    return "bytes:" + "".join(f"\\x{byte:02x}" for byte in piece)
