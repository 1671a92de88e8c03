"""Read a request's body into fields as JSON would give them, or refuse it in a sentence."""

import contextlib
import time
from collections.abc import Mapping
from typing import Any

import msgspec
from flask import g, request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wsgi import get_input_stream

from app.engine import PARAMETERS

from ..errors import Problem, unreadable
from ..run.connection import socket_of
from ..service import service
from .fields import seen

JSON, FORM, TEXT = "json", "form", "text"

_KINDS = {
    "application/json": JSON,
    "application/x-www-form-urlencoded": FORM,
    "multipart/form-data": FORM,
    "text/plain": TEXT,
    "": JSON,  # without a Content-Type: programs that send bytes mean JSON
}

_DEFAULTS = {parameter.name: parameter.default for parameter in PARAMETERS}
_FORM_ONLY = ("color", "key")  # for the page, not a parameter


def body_kind() -> str:
    kind = _KINDS.get(request.mimetype)
    if kind is None and request.mimetype.endswith("+json"):
        kind = JSON
    if kind is None:
        raise Problem(
            415,
            "unsupported_media_type",
            f"Content-Type is {request.mimetype}; send application/json, a form or text/plain.",
        )
    return kind


def is_form() -> bool:
    return _KINDS.get(request.mimetype) is FORM


def needs_preflight() -> bool:
    """Whether a browser asks us first when another site's page sends such a body."""
    return _KINDS.get(request.mimetype) not in (FORM, TEXT) and request.mimetype != ""


def read_body() -> bytes:
    """The body's bytes; a body that stalls or breaks off is a 4xx."""
    accepted, patience = socket_of(request.environ), service().options.patience
    if accepted is not None:
        accepted.settimeout(patience)
    try:
        return request.get_data()
    except Exception as error:  # each server raises its own when a body breaks off
        g.body_failed = True
        if isinstance(error, RequestEntityTooLarge):
            _read_past()
            raise
        if isinstance(error.__context__ or error, TimeoutError):
            raise Problem(408, "too_slow", f"No data arrived for {patience:g} s.") from None
        raise unreadable(f"The body was cut off: {type(error).__name__}.") from None
    finally:
        if accepted is not None:
            accepted.settimeout(None)


def _read_past() -> None:
    """Drop up to 64 MB for up to 5 s: a client that is cut off while sending never reads why."""
    rest, end = get_input_stream(request.environ), time.monotonic() + 5
    with contextlib.suppress(Exception):  # any server's own; the answer stays the same
        for _ in range(1024):
            if not rest.read(2**16) or time.monotonic() > end:
                return


def read_json() -> dict[str, Any]:
    """A JSON object sent as JSON. Other types are refused: any web page could send them."""
    if body_kind() is not JSON:
        raise Problem(
            415,
            "unsupported_media_type",
            f"Content-Type is {request.mimetype}; add -H 'Content-Type: application/json'.",
        )
    return parse_json(read_body())


def parse_json(body: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise unreadable(f"The body is not JSON: {error}.") from None
    except RecursionError:
        raise unreadable("The body is nested too deeply.") from None
    if not isinstance(value, dict):
        raise unreadable(
            f'The body must be a JSON object such as {{"prompt": "…"}}; got {seen(value)}.'
        )
    return value


def read_fields() -> dict[str, Any]:
    """The fields of a JSON object, of a form, or of a text with parameters in the address."""
    kind, body = body_kind(), read_body()
    fields = from_texts(request.args)
    if kind is JSON:
        return fields | parse_json(body)
    if kind is FORM:
        _refuse_json_in_form(body)
        return fields | from_texts(request.form)
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise unreadable(f"The body is not UTF-8: {error.reason} at byte {error.start}.") from None
    return fields | {"prompt": text}


def _refuse_json_in_form(body: bytes) -> None:
    if body.lstrip()[:1] == b"{" and b'"' in body[:200]:
        raise unreadable("This is JSON sent as a form; add -H 'Content-Type: application/json'.")


def from_texts(texts: Any) -> dict[str, Any]:
    """Fields of a form or address, where all values are texts, as JSON would give them."""
    fields: dict[str, Any] = {}
    for name, values in texts.lists():
        if name in _FORM_ONLY:
            continue
        if name in _DEFAULTS and values == [""] and not isinstance(_DEFAULTS[name], list):
            continue  # a form field left empty
        fields[name] = _from_text(name, values)
    return fields


def _from_text(name: str, values: list[str]) -> Any:
    if name == "stop":
        return [value for value in values if value]
    if name in ("prompt", "model"):
        return values[0] if len(values) == 1 else values
    if values[-1] == "on":  # a ticked box
        return True
    try:
        return msgspec.json.decode(values[-1])
    except (msgspec.MsgspecError, RecursionError):
        return values[-1]


def read_form_again() -> Mapping[str, str]:
    """The form's fields, to show it again after an error; empty if they are unreadable."""
    if not g.get("body_failed", False):
        with contextlib.suppress(Problem, RequestEntityTooLarge):
            read_body()
            return request.form
    return {}
