"""The cards of served models, with settings checked like a request's."""

import logging
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from app.gpt2 import Card, card_of

from .parameters import InvalidParams, make_params

log = logging.getLogger(__name__)


def card_data(model: str) -> dict[str, Any] | None:
    """A model's card as data, without settings that no request may have."""
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
            log.warning("card.toml of %s: ignoring its %s: %s", model, name, error)
            data[name] = type(data[name])()
    return data
