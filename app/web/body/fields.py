"""Fields of any body: taken by type, counted, bounded, and refused in a sentence.

The bounds of parameters are in PARAMETERS.
"""

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from ..errors import bad_value
from ..service import service


def check_total(prompts: int, n: int) -> None:
    most = service().options.max_total
    if prompts * n > most:
        raise bad_value(
            "n",
            f"{prompts} prompts times n {n} is more than max_total, {most}; lower n "
            "or send fewer prompts.",
            value=n,
            allowed=most,
        )


def texts(name: str, value: Any) -> list[str]:
    """A list of 1 to max_prompts texts."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise bad_value(name, f"{name} must be a text or a list of texts; got {seen(value)}.")
    check_count(name, len(value))
    return value


def check_count(name: str, count: int) -> None:
    most = service().options.max_prompts
    if not 1 <= count <= most:
        raise bad_value(
            name,
            f"{name} has {count} entries; max_prompts allows 1 to {most}.",
            value=count,
            allowed=most,
        )


def bounded(name: str, text: str) -> str:
    """A text of at most max_prompt characters."""
    most = service().options.max_prompt
    if len(text) > most:
        raise bad_value(
            name,
            f"{name} has {len(text)} characters; max_prompt allows {most}.",
            allowed=most,
        )
    return text


_NOUNS: dict[type, str] = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    list: "a list",
    dict: "an object",
}


def take(fields: Mapping[str, Any], name: str, kind: type, default: Any) -> Any:
    """One field of a plain type; null counts as absent."""
    value = fields.get(name)
    if value is None:
        return default
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)  # some clients write 20 as 20.0
    if type(value) is not kind:
        raise bad_value(name, f"{name} must be {_NOUNS[kind]}; got {seen(value)}.")
    return value


def refuse_unknown(fields: Collection[str], known: Collection[str]) -> None:
    for name in fields:
        if name not in known:
            close = difflib.get_close_matches(name, list(known), 1)
            hint = f"; did you mean {close[0]!r}?" if close else "."
            details = {"did_you_mean": close[0]} if close else {}
            raise bad_value(name[:80], f"There is no field {name[:80]!r}{hint}", **details)


def seen(value: Any) -> str:
    """A value, shortened for an error message."""
    return f"{value!r:.60}"
