"""The page in the reader's language, with and without JavaScript.

Addresses in the templates are relative, so the page works under any path of a proxy.
"""

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, current_app, make_response, render_template, request

from app.engine import PARAMETERS

from .body.read import read_form_again
from .docs.openapi import gives

pages = Blueprint("pages", __name__)


@pages.get("/")
@gives("text/html")
def index() -> Response:
    """The page to write on."""
    response = make_response(render_template("index.html", modules=_modules(_static())))
    response.headers["Cache-Control"] = "no-cache"
    response.vary.add("Accept-Language")
    return response


@pages.get("/worker.js")
@gives("text/javascript")
def worker() -> Response:
    """The service worker, which keeps the page usable while the server is away."""
    files = sorted(f"static/{name}" for name in _contents(_static()))
    version = hashlib.sha256(json.dumps(_contents(_static())).encode()).hexdigest()[:16]
    response = make_response(render_template("worker.js", files=files, version=version))
    response.mimetype = "text/javascript"
    response.headers["Cache-Control"] = "no-cache"
    return response


@pages.app_context_processor
def _for_templates() -> dict[str, Any]:
    words = _words(_static())
    language = request.accept_languages.best_match(words, default="en")
    return {
        "language": language,
        "languages": {code: table["language.name"] for code, table in words.items()},
        "t": words[language],
        "parameters": {row.name: row for row in PARAMETERS},
        "form_values": _form_values,
    }


def _form_values() -> dict[str, Any]:
    """The values in the form without JavaScript: what its reader sent, or the defaults."""
    sent = request.args | read_form_again()
    defaults = {row.name: row.default for row in PARAMETERS}
    return {name: sent.get(name, defaults[name]) for name in ("max_tokens", "temperature")} | {
        "prompt": sent.get("prompt", "")
    }


def _static() -> Path:
    assert current_app.static_folder is not None
    return Path(current_app.static_folder)


@functools.cache
def _words(static: Path) -> dict[str, dict[str, str]]:
    """The page's languages by their codes, each from a file."""
    files = sorted((static / "words").glob("*.json"))
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in files}


@functools.cache
def _contents(static: Path) -> dict[str, str]:
    """The page's files, each with a hash of its content."""
    files = [path for path in sorted(static.rglob("*")) if path.is_file()]
    return {
        path.relative_to(static).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


@functools.cache
def _modules(static: Path) -> list[str]:
    """The page's modules, so that a browser can load them all at once."""
    modules = (path for path in static.rglob("*.js") if path.name not in ("page.js", "theme.js"))
    return sorted(path.relative_to(static).as_posix() for path in modules)
