"""Which dialect a body belongs to where several share a path: its text field decides.

    POST /generate    prompt: ours; inputs: TGI's
    POST /tokenize    text: ours; content: llama.cpp's; inputs: TGI's; prompt: vLLM's

Knows no dialect: each claims its own.
"""

from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask, Response, current_app, request

View = Callable[[dict[str, Any]], Response]


def claim(app: Flask, path: str, key: str, view: View) -> None:
    """Bodies with this key, sent to this path, go to that view."""
    app.extensions.setdefault("continuo.addresses", {}).setdefault(path, {})[key] = view


def owner(fields: Mapping[str, Any]) -> View | None:
    """The view that claims the current request; None: the native API's."""
    claims = current_app.extensions.get("continuo.addresses", {}).get(request.path, {})
    return next((view for key, view in claims.items() if key in fields), None)
