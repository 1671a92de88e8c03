"""What the dialects share: reading their fields, and writing their streams.

A dialect has a table: our parameter -> its own names for it, the preferred one first.

    NAMES = {"max_tokens": ("n_predict",), "seed": ("seed",), ...}
    params(fields, NAMES, {"max_tokens": 16})

Unknown fields are ignored, as in all these servers; null counts as absent.
"""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from flask import g

from app.engine import (
    MAX_SEED,
    PARAMETERS,
    ModelInfo,
    Params,
    PromptToken,
    Token,
    TopToken,
    make_params,
)

from ..body import fields as body
from ..body.read import read_body, read_json
from ..errors import bad_value
from ..run.run import Choice, Prompt
from ..service import service

Fields = Mapping[str, Any]
Names = Mapping[str, tuple[str, ...]]

# Fields that ask for another form of text are refused, never ignored.
GRAMMARS = (
    "grammar",
    "grammar_string",
    "json_schema",
    "response_format",
    "structured_outputs",
    "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
)


# ---- the document


def described(names: Names) -> dict[str, Any]:
    """Each field's description. Bounds differ between servers, so only errors report them."""
    helps = {row.name: row.help for row in PARAMETERS}
    return {theirs[0]: {"description": helps[ours]} for ours, theirs in names.items()}


def maybe(described: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [described, {"type": "null"}]}


# ---- reading


def read_if_any() -> dict[str, Any]:
    """Like read_json(), but an empty body is {}."""
    return read_json() if read_body() else {}


def first(fields: Fields, names: Sequence[str]) -> Any:
    return next((fields[name] for name in names if fields.get(name) is not None), None)


def params(fields: Fields, names: Names, defaults: Fields) -> Params:
    """Params from the fields; `defaults` uses our names.

    Other servers' clients do not expect the prompt's last word to be completed, so healing is off.
    """
    g.caller_names = {
        ours: next((name for name in theirs if fields.get(name) is not None), ours)
        for ours, theirs in names.items()
    }
    values = {"healing": False} | dict(defaults)
    for ours, theirs in names.items():
        if (value := first(fields, theirs)) is not None:
            values[ours] = _READ[ours](value) if ours in _READ else value
    return make_params(values)


def _seed(value: Any) -> Any:
    """-1 draws a seed, like null; seeds above MAX_SEED are folded."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        return value
    return None if value == -1 else int(value) % (MAX_SEED + 1)


def _stop(value: Any) -> Any:
    """One text or a list; empty texts are ignored."""
    texts = [value] if isinstance(value, str) else value
    return [text for text in texts if text != ""] if isinstance(texts, list) else texts


def _texts(value: Any) -> Any:
    """A list of texts, or one written as a JSON string, as SillyTavern sends it."""
    if isinstance(value, str):
        with contextlib.suppress(msgspec.DecodeError):
            value = msgspec.json.decode(value)
    return _stop(value)


def _switch(value: Any) -> Any:
    """Many servers use -1 for off, or for all."""
    return 0 if isinstance(value, int | float) and value < 0 else value


_READ = {
    "seed": _seed,
    "stop": _stop,
    "top_k": _switch,
    "penalty_range": _switch,
    "dry_range": _switch,
    "dry_breakers": _texts,
    "banned_phrases": _texts,
}

# DRY and XTC, whose names are the same everywhere.
MODERN: Names = {
    "dry_multiplier": ("dry_multiplier",),
    "dry_base": ("dry_base",),
    "dry_allowed_length": ("dry_allowed_length",),
    "dry_breakers": ("dry_sequence_breakers",),
    "dry_range": ("dry_penalty_last_n", "dry_range"),
    "xtc_probability": ("xtc_probability",),
    "xtc_threshold": ("xtc_threshold",),
}


def refuse_grammars(fields: Fields) -> None:
    for name in GRAMMARS:
        # {} is refused too: it allows any JSON, which is not any text.
        if fields.get(name) not in (None, False, "", [], {"type": "text"}):
            raise bad_value(name, f"{name} is not supported: this server writes free text only.")


def model(fields: Fields) -> ModelInfo:
    """The requested model. With a single model any name will do: clients send all sorts."""
    name = body.take(fields, "model", str, None)
    if not name or len(service().models()) == 1:
        return service().model()
    return service().model(name)


# ---- prompts


def text(fields: Fields, name: str) -> str:
    """A text; required, but may be empty."""
    if fields.get(name) is None:
        raise bad_value(name, f"{name} is missing.")
    return body.bounded(name, body.take(fields, name, str, ""))


def prompts(fields: Fields, info: ModelInfo) -> tuple[list[Prompt], bool]:
    """A text, a list of ids, or a list of either; and whether it was a list of prompts."""
    value = fields.get("prompt")
    if value is None:
        raise bad_value("prompt", "prompt is missing.")
    if isinstance(value, str) or _is_ids(value):
        return [prompt(value, info)], False
    if not isinstance(value, list):
        raise bad_value("prompt", f"prompt must be a text or a list; got {body.seen(value)}.")
    body.check_count("prompt", len(value))
    return [prompt(item, info) for item in value], True


def _is_ids(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(id) is int for id in value)


def prompt(value: Any, info: ModelInfo) -> Prompt:
    if isinstance(value, str):
        return body.bounded("prompt", value)
    if not _is_ids(value):
        raise bad_value(
            "prompt", f"A prompt must be a text or a list of token ids; got {body.seen(value)}."
        )
    return check_ids("prompt", value, info)


def check_ids(name: str, ids: list[int], info: ModelInfo) -> list[int]:
    for id in ids:
        if not 0 <= id < info.vocab_size:
            raise bad_value(
                name, f"{name} holds {id}; this model's tokens are 0 to {info.vocab_size - 1}."
            )
    return ids


def ids(name: str, fields: Fields, info: ModelInfo) -> list[int]:
    """A list of token ids; required, but may be empty."""
    value = fields.get(name)
    if not isinstance(value, list) or not (value == [] or _is_ids(value)):
        raise bad_value(name, f"{name} must be a list of token ids; got {body.seen(value)}.")
    return check_ids(name, value, info)


def id_of(text: str) -> int | None:
    """A token's id written in digits; None if it is not."""
    return int(text) if text.isdecimal() and len(text) < 10 else None


def tokens_of(prompt: Prompt, info: ModelInfo) -> Sequence[int]:
    if not isinstance(prompt, str):
        return prompt
    return service().engine.tokenize(prompt, info.name).ids


def text_of(prompt: Prompt, info: ModelInfo) -> str:
    if isinstance(prompt, str):
        return prompt
    return service().engine.detokenize(prompt, info.name)


# ---- saying


def data(value: Any) -> bytes:
    """One event of a stream."""
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


def piece(token: bytes) -> str | list[int]:
    """A token as text, or as bytes if they are not text on their own."""
    try:
        return token.decode("utf-8")
    except UnicodeDecodeError:
        return list(token)


def plain(token: bytes) -> str:
    return token.decode("utf-8", "replace")


def with_chosen(token: Token | PromptToken) -> list[TopToken]:
    """The alternatives, likeliest first, and the token itself if it is not one of them."""
    chosen = TopToken(token.id, token.bytes, token.logprob or 0.0)
    return token.top if any(top.id == token.id for top in token.top) else [*token.top, chosen]


def mean_logprob(choice: Choice) -> float:
    """How likely the model finds a continuation; best_of chooses by this."""
    return sum(token.logprob or 0.0 for token in choice.tokens) / max(1, len(choice.tokens))
