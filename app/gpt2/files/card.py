"""card.toml, beside the weights: how a model introduces itself. Made by training, then edited."""

import json
import logging
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import msgspec

log = logging.getLogger(__name__)

NAME = "card.toml"
Line = Annotated[str, msgspec.Meta(max_length=200)]
Opening = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
Few = Annotated[list[Opening], msgspec.Meta(max_length=16)]


class Card(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    title: Line = ""
    blurb: Annotated[str, msgspec.Meta(max_length=2000)] = ""  # one paragraph
    language: Annotated[str, msgspec.Meta(max_length=35)] = ""  # en, zh, pt-BR
    starters: Few = []  # first lines to begin with
    settings: dict[str, int | float | bool] = {}  # parameters of a request, such as temperature
    stop: Few = []  # texts to end at
    speakers: Annotated[list[Line], msgspec.Meta(max_length=32)] = []  # of a script
    licence: Line = ""
    warning: Annotated[str, msgspec.Meta(max_length=2000)] = ""  # what readers should know first


def card_of(model: Path) -> Card | None:
    """The card in a model's folder; None if there is none, or a bad one, which is logged."""
    path = model / NAME
    try:
        stat = path.stat()
    except OSError:
        return None
    return _read(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=64)
def _read(path: Path, *version: int) -> Card | None:
    """Once for each version of the file, so that a bad one is logged once."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Card)
    except (OSError, ValueError) as error:  # tomllib's, msgspec's, and of undecodable bytes
        log.warning("%s is left out: %s.", path, str(error).rstrip("."))
        return None


def card_toml(card: Card) -> str:
    """The file, with a comment on each field for whoever edits it."""
    values = msgspec.to_builtins(card)
    settings = values.pop("settings")
    lines = [
        "# How this model introduces itself. Change what you like: training keeps your changes."
    ]
    for name, value in values.items():
        lines += ["", f"# {MEANING[name]}", f"{name} = {_value(value)}"]
    lines += ["", f"# {MEANING['settings']}", "[settings]"]
    lines += [f"{name} = {_value(value)}" for name, value in settings.items()]
    return "\n".join(lines) + "\n"


MEANING = {
    "title": "Its name for readers.",
    "blurb": "One paragraph: what it was trained on, and what it is good at.",
    "language": "The language it writes: en, zh, ...",
    "starters": "First lines to start a text with.",
    "stop": "Texts that end a continuation.",
    "speakers": "For scripts: the names that lines begin with.",
    "licence": "The licence of the model and its texts.",
    "warning": "What a reader should know before the first line.",
    "settings": "Its best settings: any parameters of a request.",
}


def _value(value: Any) -> str:
    """TOML writes strings, except for one character, numbers and true like JSON."""
    if isinstance(value, list):
        return "[" + "".join(f"\n    {_value(item)}," for item in value) + ("\n]" if value else "]")
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
