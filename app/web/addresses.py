"""Which dialect owns a body that several could mean: the name of its text tells.

    POST /generate    prompt: ours; inputs: TGI's
    POST /tokenize    text: ours; content: llama.cpp's; inputs: TGI's; prompt: vLLM's

Knows no dialect: each claims what is its own.
"""

from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask, Response, current_app, request

View = Callable[[dict[str, Any]], Response]


def claim(app: Flask, path: str, key: str, view: View) -> None:
    """Bodies with this key, sent to this path, are that view's."""
    app.extensions.setdefault("continuo.addresses", {}).setdefault(path, {})[key] = view


def owner(fields: Mapping[str, Any]) -> View | None:
    """Whose the current request is; None: ours."""
    claims = current_app.extensions.get("continuo.addresses", {}).get(request.path, {})
    return next((view for key, view in claims.items() if key in fields), None)
