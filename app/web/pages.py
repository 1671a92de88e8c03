"""The page, in the reader's language; and what its templates need, with and without JavaScript.

Addresses in the templates are relative: the page works under any path a proxy may put it.
"""

import contextlib
import functools
import json
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, current_app, make_response, render_template, request
from werkzeug.exceptions import RequestEntityTooLarge

from app.engine import PARAMETERS

from .body import fields as schema
from .docs.openapi import gives
from .errors import Problem
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
    _read_form()
    language = request.accept_languages.best_match(LANGUAGES, default="en")
    defaults = {row.name: row.default for row in PARAMETERS}
    asked = {
        name: request.values.get(name, defaults[name]) for name in ("max_tokens", "temperature")
    }
    return {"language": language, "t": _words(_static(), language), "asked": asked}


def _read_form() -> None:
    """What a refused reader wrote stands in the form again, if it can be read at all."""
    if "form" not in vars(request):
        with contextlib.suppress(Problem, RequestEntityTooLarge):
            schema.read_body(request, service().options.patience)


def _static() -> Path:
    assert current_app.static_folder is not None
    return Path(current_app.static_folder)


@functools.cache
def _words(static: Path, language: str) -> dict[str, str]:
    return json.loads((static / "words" / f"{language}.json").read_text(encoding="utf-8"))
