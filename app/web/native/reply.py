"""The native API's replies as JSON: whole continuations, scores, tokens and models."""

import math
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from app.engine import ModelInfo, Parameter, PromptToken, Timings, Token, TopToken, Usage

from ..run.run import Run
from ..service import service
from .spans import Spans, utf16_length

LEAST_LOGPROB = -9999.0  # JSON has no infinity


def finite(logprob: float | None) -> float | None:
    return None if logprob is None else max(logprob, LEAST_LOGPROB)


# ---- tokens and how likely they were


class Alternative(msgspec.Struct):
    id: int
    text: str
    logprob: float | None


class Entry(msgspec.Struct):
    """A token, and where it is in the text, in UTF-16 units."""

    id: int
    text: str
    bytes: list[int]
    logprob: float | None
    start: int
    end: int
    top: list[Alternative]


def entry(token: Token | PromptToken, spans: Spans) -> Entry:
    start, end = spans.next(token.bytes)
    return Entry(
        token.id,
        token.bytes.decode("utf-8", "replace"),
        list(token.bytes),
        finite(token.logprob),
        start,
        end,
        [alternative(top) for top in token.top],
    )


def alternative(top: TopToken) -> Alternative:
    return Alternative(top.id, top.bytes.decode("utf-8", "replace"), finite(top.logprob))


def _entries(tokens: Sequence[Token | PromptToken], start: int) -> list[Entry]:
    spans = Spans(start)
    return [entry(token, spans) for token in tokens]


# ---- whole


class Continuation(msgspec.Struct, kw_only=True):
    index: int
    text: str | UnsetType = UNSET
    logprobs: list[Entry] | None | UnsetType = UNSET
    finish_reason: str | None  # length | stop | end_of_text | deadline | cancelled
    stop: str | int | None
    tokens: list[int]
    seed: int | None


class Reply(msgspec.Struct, kw_only=True):
    id: str
    model: str
    prompt: str | Sequence[int] | UnsetType = UNSET
    text: str | UnsetType = UNSET
    seed: int | None
    finish_reason: str | None
    continuations: list[Continuation]
    usage: Usage | None
    timings: Timings | None
    prompt_logprobs: list[Entry] | None
    truncated: bool
    dropped_tokens: int
    context_start: int
    warnings: list[str]


class Results(msgspec.Struct):
    """For a list of prompts: a reply for each, in order."""

    results: list[Reply]


def whole(run: Run, include_prompt: bool = False) -> Reply:
    prompt = run.prompt if isinstance(run.prompt, str) else ""
    front = prompt if include_prompt else ""
    reply = summary(run)
    reply.prompt, reply.text = run.prompt, front + run.text
    for choice, continuation in zip(run.choices, reply.continuations, strict=True):
        continuation.text = front + choice.text
        continuation.logprobs = None
        if run.params.logprobs is not None:
            continuation.logprobs = _entries(choice.tokens, utf16_length(front))
    return reply


def summary(run: Run) -> Reply:
    first, started = run.choices[0], run.started  # None: cancelled while it was queued
    n_unread = 0 if started is None else started.dropped_tokens
    n_slid = max(choice.dropped_tokens for choice in run.choices)
    return Reply(
        id=run.id,
        model=run.model,
        seed=first.seed,
        finish_reason=first.reason,
        continuations=[
            Continuation(
                index=choice.index,
                finish_reason=choice.reason,
                stop=choice.stop,
                tokens=choice.ids,
                seed=choice.seed,
            )
            for choice in run.choices
        ],
        usage=run.usage,
        timings=run.timings,
        prompt_logprobs=prompt_logprobs(run),
        truncated=n_unread > 0,
        dropped_tokens=n_unread + n_slid,
        context_start=context_start(run),
        warnings=_warnings(n_unread, n_slid),
    )


def _warnings(n_unread: int, n_slid: int) -> list[str]:
    warnings = []
    if n_unread:
        warnings.append(
            f"The prompt is longer than the model's window: its first {n_unread} tokens were not "
            "read."
        )
    if n_slid:
        warnings.append(
            f"The text outgrew the model's window: its first {n_slid} tokens are no longer seen."
        )
    return warnings


def context_start(run: Run) -> int:
    """From the engine's characters to UTF-16 units."""
    start = 0 if run.started is None else run.started.context_start
    return utf16_length(run.prompt[:start]) if isinstance(run.prompt, str) else start


def prompt_logprobs(run: Run) -> list[Entry] | None:
    if run.started is None or run.started.prompt is None:
        return None
    return _entries(run.started.prompt, context_start(run))


class Score(msgspec.Struct):
    logprob: float | None
    bits: float
    bits_per_char: float | None
    tokens: list[Entry]


class Scores(msgspec.Struct):
    results: list[Score]


def score(tokens: list[PromptToken], text: str) -> Score:
    logprob = sum(token.logprob or 0.0 for token in tokens)
    bits = -logprob / math.log(2)
    per_char = bits / len(text) if text else None
    return Score(finite(logprob), bits, per_char, _entries(tokens, 0))


class Tokens(msgspec.Struct):
    count: int
    tokens: list[int]
    offsets: list[list[int]]  # of each token: start and end, in UTF-16 units


class Detokenized(msgspec.Struct):
    text: str
    content: str  # the same, for llama.cpp's clients
    prompt: str  # the same, for vLLM's


class ModelCard(msgspec.Struct):
    """As OpenAI describes a model."""

    id: str
    created: int
    max_model_len: int
    object: str = "model"
    owned_by: str = "continuo"


def card(info: ModelInfo) -> ModelCard:
    return ModelCard(info.name, service().began, info.n_positions)


class ServedModel(msgspec.Struct):
    name: str
    parameters: int
    window: int
    precision: str
    loss_by_quantization: float | None
    about: str
    card: dict[str, Any] | None  # how it introduces itself


class Models(msgspec.Struct):
    default: str
    models: list[ServedModel]
    data: list[ModelCard]  # the same in OpenAI's form, since clients of llama.cpp ask here too
    object: str = "list"


def models(infos: Sequence[ModelInfo]) -> Models:
    return Models(
        infos[0].name,
        [
            ServedModel(
                info.name,
                info.n_parameters,
                info.n_positions,
                info.precision,
                info.perplexity_loss,
                info.about,
                info.card,
            )
            for info in infos
        ],
        [card(info) for info in infos],
    )


class Parameters(msgspec.Struct):
    parameters: Sequence[Parameter]


class Cancelled(msgspec.Struct):
    id: str
    cancelled: bool = True
