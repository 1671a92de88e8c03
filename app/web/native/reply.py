"""How the native API says a run: whole as JSON; or as it comes, as events, lines or plain text.

The events, the same for text/event-stream and application/x-ndjson:

    queue  {ahead, wait_ms}
    start  {id, model, seeds, prompt_tokens, cached_tokens, truncated, dropped_tokens,
            context_start, prompt_logprobs?}
    token  {index, id, text, dropped_tokens?, and with logprobs: bytes, logprob, start, end, top}
           The last of a choice has id null, what was still held back as its text, and its
           finish_reason and stop. A choice's texts, joined, are its continuation.
    done   the whole reply but for the texts
    error  {type, message, retry_after_ms?}
"""

import errno
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from app.engine import (
    Ended,
    Event,
    Failed,
    Finished,
    PromptToken,
    Queued,
    Scored,
    Slid,
    Started,
    Token,
    TopToken,
)

from ..run.run import Choice, Run
from .spans import Spans, utf16_length

LEAST_LOGPROB = -9999.0  # JSON has no infinity

RED, PLAIN = "\x1b[31m", "\x1b[0m"


def encode(value: Any) -> bytes:
    return msgspec.json.encode(value)


# ---- whole


def reply(run: Run, include_prompt: bool = False) -> dict[str, Any]:
    prompt = run.prompt if isinstance(run.prompt, str) else ""
    front = prompt if include_prompt else ""
    return _summary(run, front, with_text=True)


def _summary(run: Run, front: str, with_text: bool) -> dict[str, Any]:
    first, started = run.choices[0], run.started  # None: cancelled while it was queued
    said: dict[str, Any] = {"id": run.id, "model": run.model}
    if with_text:
        said |= {"prompt": run.prompt, "text": front + first.text}
    return said | {
        "seed": first.seed,
        "finish_reason": first.reason,
        "continuations": [_continuation(run, c, front, with_text) for c in run.choices],
        "usage": run.usage,
        "timings": run.timings,
        "prompt_logprobs": prompt_logprobs(run),
        "truncated": started is not None and started.truncated,
        "dropped_tokens": _dropped(run),
        "context_start": _context_start(run),
        "warnings": _warnings(run),
    }


def _continuation(run: Run, choice: Choice, front: str, with_text: bool) -> dict[str, Any]:
    said: dict[str, Any] = {"index": choice.index}
    if with_text:
        said["text"] = front + choice.text
        said["logprobs"] = None
        if run.params.logprobs is not None:
            said["logprobs"] = _logprobs(choice.tokens, utf16_length(front))
    return said | {
        "finish_reason": choice.reason,
        "stop": choice.stop,
        "tokens": [token.id for token in choice.tokens],
        "seed": choice.seed,
    }


def _warnings(run: Run) -> list[str]:
    said, started = [], run.started
    if started is not None and started.truncated:
        said.append(
            f"The prompt is longer than the model's window: its first {started.dropped_tokens} "
            "tokens were not read."
        )
    slid = max(choice.dropped_tokens for choice in run.choices)
    if slid:
        said.append(f"The window moved on: {slid} tokens at its beginning were forgotten.")
    return said


def _dropped(run: Run) -> int:
    at_start = 0 if run.started is None else run.started.dropped_tokens
    return at_start + max(choice.dropped_tokens for choice in run.choices)


def _context_start(run: Run) -> int:
    """From the engine's characters to UTF-16 units."""
    start = 0 if run.started is None else run.started.context_start
    return utf16_length(run.prompt[:start]) if isinstance(run.prompt, str) else start


# ---- tokens and how likely they were


def _logprobs(tokens: Sequence[Token | PromptToken], start: int) -> list[dict[str, Any]]:
    spans = Spans(start)
    return [token_entry(token, spans) for token in tokens]


def token_entry(token: Token | PromptToken, spans: Spans) -> dict[str, Any]:
    start, end = spans.next(token.bytes)
    return {
        "id": token.id,
        "text": token.bytes.decode("utf-8", "replace"),
        "bytes": list(token.bytes),
        "logprob": finite(token.logprob),
        "start": start,
        "end": end,
        "top": [top_entry(top) for top in token.top],
    }


def top_entry(top: TopToken) -> dict[str, Any]:
    text = top.bytes.decode("utf-8", "replace")
    return {"id": top.id, "text": text, "logprob": finite(top.logprob)}


def finite(logprob: float | None) -> float | None:
    return None if logprob is None else max(logprob, LEAST_LOGPROB)


def prompt_logprobs(run: Run) -> list[dict[str, Any]] | None:
    if run.started is None or run.started.prompt is None:
        return None
    return _logprobs(run.started.prompt, _context_start(run))


def score_entry(scored: Scored, text: str) -> dict[str, Any]:
    return {
        "logprob": finite(scored.logprob),
        "bits": scored.bits,
        "bits_per_char": scored.bits / len(text) if text else None,
        "tokens": _logprobs(scored.tokens, 0),
    }


# ---- as it comes


def sse(run: Run) -> Iterator[bytes]:
    """Comments in the silences, so that proxies and readers know somebody is there."""
    number = 0
    for name, said in _named(run):
        if name is None:
            yield b": still here\n\n"
            continue
        number += 1
        yield b"id: %d\nevent: %s\ndata: %s\n\n" % (number, name.encode(), encode(said))


def ndjson(run: Run) -> Iterator[bytes]:
    """A line per event; in the silences an empty one."""
    for name, said in _named(run):
        yield b"\n" if name is None else encode({"event": name} | said) + b"\n"


def _named(run: Run) -> Iterator[tuple[str | None, dict[str, Any]]]:
    spans: dict[int, Spans] = {}
    slid: dict[int, int] = {}
    for event in run.events():
        match event:
            case None:
                yield None, {}
            case Slid():
                slid[event.choice] = slid.get(event.choice, 0) + event.dropped_tokens
            case Token():
                said = _token(event, run, spans)
                if event.choice in slid:
                    said["dropped_tokens"] = slid.pop(event.choice)
                yield "token", said
            case _:
                yield _NAMES[type(event)], _event(event, run)


_NAMES: dict[type[Event], str] = {
    Queued: "queue",
    Started: "start",
    Ended: "token",
    Finished: "done",
    Failed: "error",
}


def _token(event: Token, run: Run, spans: dict[int, Spans]) -> dict[str, Any]:
    said = {"index": event.choice, "id": event.id, "text": event.text}
    if run.params.logprobs is None:
        return said
    entry = token_entry(event, spans.setdefault(event.choice, Spans()))
    return entry | said  # the text that is certain, rather than the token's own


def _event(event: Event, run: Run) -> dict[str, Any]:
    match event:
        case Queued():
            return {"ahead": event.ahead, "wait_ms": round(event.wait_s * 1000)}
        case Started():
            return _started(event, run)
        case Ended():
            said = {"index": event.choice, "id": None, "text": event.text}
            return said | {"finish_reason": event.reason, "stop": event.stop}
        case Failed():
            return _failed(event)
    return _summary(run, "", with_text=False)


def _started(event: Started, run: Run) -> dict[str, Any]:
    said = {
        "id": run.id,
        "model": run.model,
        "seeds": event.seeds,
        "prompt_tokens": event.prompt_tokens,
        "cached_tokens": event.cached_tokens,
        "truncated": event.truncated,
        "dropped_tokens": event.dropped_tokens,
        "context_start": _context_start(run),
    }
    if event.prompt is not None:
        said["prompt_logprobs"] = prompt_logprobs(run)
    return said


def _failed(event: Failed) -> dict[str, Any]:
    said: dict[str, Any] = {"type": event.kind, "message": event.message}
    if event.retry_after is not None:
        said["retry_after_ms"] = round(event.retry_after * 1000)
    return said


def plain(run: Run, include_prompt: bool, color: bool) -> Iterator[str]:
    """The first continuation and nothing else. A failure breaks the connection off: there is no
    other way to tell it from an end."""
    if include_prompt and isinstance(run.prompt, str):
        yield run.prompt
    if color:
        yield RED
    yield from texts(run)
    if color:
        yield PLAIN
    if run.failure is not None:
        raise BrokenPipeError(errno.EPIPE, run.failure.message)


def texts(run: Run) -> Iterator[str]:
    """The first continuation's text, as it becomes certain; "" in the silences."""
    for event in run.events():
        match event:
            case None:
                yield ""
            case Token() | Ended() if event.choice == 0:
                yield event.text
