"""The page, in the reader's language; and what its templates need, with and without JavaScript.

Addresses in the templates are relative: the page works under any path a proxy may put it.
"""

import functools
import json
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, current_app, make_response, render_template, request

from app.engine import PARAMETERS

from .body.read import read_form_again
from .docs.openapi import gives
from .service import service

LANGUAGES = ("en", "zh")

pages = Blueprint("pages", __name__)


@pages.get("/")
@gives("text/html")
def index() -> Response:
    """The page to write on."""
    response = make_response(render_template("index.html"))
    response.headers["Cache-Control"] = "no-cache"
    response.vary.add("Accept-Language")
    return response


@pages.app_context_processor
def _for_templates() -> dict[str, Any]:
    language = request.accept_languages.best_match(LANGUAGES, default="en")
    rows = {row.name: row for row in PARAMETERS}
    return {
        "language": language,
        "t": _words(_static(), language),
        "parameters": rows,
        "form_values": _form_values,
    }


def _form_values() -> dict[str, Any]:
    """What stands in the form without JavaScript: what its reader sent, or the defaults."""
    sent = request.args | read_form_again(request, service().options.patience)
    defaults = {row.name: row.default for row in PARAMETERS}
    return {name: sent.get(name, defaults[name]) for name in ("max_tokens", "temperature")} | {
        "prompt": sent.get("prompt", "")
    }


def _static() -> Path:
    assert current_app.static_folder is not None
    return Path(current_app.static_folder)


@functools.cache
def _words(static: Path, language: str) -> dict[str, str]:
    return json.loads((static / "words" / f"{language}.json").read_text(encoding="utf-8"))
