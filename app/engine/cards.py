"""The cards of the models that are served, their settings checked as a request's are."""

import logging
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from app.gpt2 import Card, card_of

from .parameters import InvalidParams, make_params

log = logging.getLogger(__name__)


def card_data(model: str) -> dict[str, Any] | None:
    """What is told of a model's card; settings that no request could have are left out."""
    card = card_of(Path(model))
    return None if card is None else _checked(model, msgspec.json.encode(card))


@lru_cache(maxsize=64)
def _checked(model: str, encoded: bytes) -> dict[str, Any]:
    card = msgspec.json.decode(encoded, type=Card)
    data = msgspec.to_builtins(card)
    for name, values in (("settings", card.settings), ("stop", {"stop": card.stop})):
        try:
            make_params(values)
        except InvalidParams as error:
            log.warning("card.toml of %s: its %s are left out: %s", model, name, error)
            data[name] = type(data[name])()
    return data
