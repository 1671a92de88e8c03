"""Runs -> what Text Generation Inference answers: whole, or by events whose last has everything."""

import math
from collections.abc import Iterator
from typing import Any

import msgspec

from app.engine import Ended, Failed, ModelInfo, Params, PromptToken, Token

from ...errors import failed
from ...native import reply as formats
from ...run.run import Choice, Run
from .. import shared as words

REASONS = {"length": "length", "deadline": "length", "end_of_text": "eos_token"}


class Asked(msgspec.Struct):
    """What was asked for, in any of the three places."""

    ids: list[int]
    params: Params
    info: ModelInfo
    front: str  # the prompt, where the full text is wanted
    details: bool
    prefill: bool  # with the prompt's tokens
    top: bool  # with alternatives


# ---- whole


def whole(run: Run, asked: Asked) -> dict[str, Any]:
    """The likeliest continuation; the others with the details."""
    ranked = sorted(run.choices, key=words.mean_logprob, reverse=True)
    said: dict[str, Any] = {"generated_text": asked.front + ranked[0].text}
    if asked.details:
        said["details"] = _details(ranked[0], run, asked)
        if len(ranked) > 1:
            said["details"]["best_of_sequences"] = [
                {"generated_text": asked.front + choice.text} | _details(choice, run, asked)
                for choice in ranked[1:]
            ]
    return said


def _details(choice: Choice, run: Run, asked: Asked) -> dict[str, Any]:
    tokens = [_entry(token, asked) for token in choice.tokens]
    if choice.reason == "end_of_text":
        tokens.append(_end(asked))
    said = _summary(choice.reason, len(tokens), choice) | {"prefill": [], "tokens": tokens}
    if asked.prefill and run.started is not None:
        said["prefill"] = [_prefill(token) for token in run.started.prompt or ()]
    if asked.top:
        said["top_tokens"] = [_top(token, asked) for token in choice.tokens]
    return said


def _summary(reason: str | None, count: int, choice: Choice) -> dict[str, Any]:
    return {
        "finish_reason": REASONS.get(reason or "", "stop_sequence"),
        "generated_tokens": count,
        "seed": choice.seed,
    }


def _entry(token: Token, asked: Asked, text: str | None = None) -> dict[str, Any]:
    return {
        "id": token.id,
        "text": words.plain(token.bytes) if text is None else text,
        "logprob": formats.finite(token.logprob),
        "special": token.id in asked.info.eos_token_ids,
    }


def _end(asked: Asked, text: str = "") -> dict[str, Any]:
    """The token that ended the text: TGI counts it, and its clients pass over what is special."""
    return {"id": asked.info.eos_token_ids[0], "text": text, "logprob": None, "special": True}


def _prefill(token: PromptToken) -> dict[str, Any]:
    text, logprob = words.plain(token.bytes), formats.finite(token.logprob)
    return {"id": token.id, "text": text, "logprob": logprob}


def _top(token: Token, asked: Asked) -> list[dict[str, Any]]:
    return [
        {
            "id": top.id,
            "text": words.plain(top.bytes),
            "logprob": formats.finite(top.logprob),
            "special": top.id in asked.info.eos_token_ids,
        }
        for top in token.top
    ]


# ---- by events


def stream(run: Run, asked: Asked) -> Iterator[bytes]:
    """The last event has a token and the whole text: a token that may be the last one waits."""
    held: Token | None = None
    index = 0
    for event in run.events():
        match event:
            case None:
                yield words.PING
            case Token():
                if held is not None:
                    yield _told(index, held, asked)
                index, held = index + 1, event
                if not asked.params.stop and index < (asked.params.max_tokens or math.inf):
                    yield _told(index, held, asked)
                    held = None
            case Ended():
                if held is not None and event.reason == "end_of_text":
                    yield _told(index, held, asked)
                    held = None
                yield _last(index, held, event, run, asked)
            case Failed():
                message = failed(event).message
                yield words.data({"error": message, "error_type": "generation"})


def _told(index: int, token: Token, asked: Asked) -> bytes:
    return _frame(index, _entry(token, asked, token.text), token, asked)


def _frame(
    index: int, entry: dict[str, Any], token: Token | None, asked: Asked, **end: Any
) -> bytes:
    said: dict[str, Any] = {"index": index, "token": entry}
    if asked.top:
        said["top_tokens"] = [] if token is None else _top(token, asked)
    return words.data(said | {"generated_text": None, "details": None} | end)


def _last(index: int, held: Token | None, event: Ended, run: Run, asked: Asked) -> bytes:
    choice = run.choices[0]
    if held is not None:
        entry = _entry(held, asked, held.text + event.text)
    else:
        index, entry = index + 1, _end(asked, event.text)
    summary = _summary(event.reason, index, choice)
    return _frame(
        index,
        entry,
        held,
        asked,
        generated_text=asked.front + choice.text,
        details=summary | {"input_length": len(asked.ids)},
    )
