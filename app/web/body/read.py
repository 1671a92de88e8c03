"""A request's body -> its fields, as JSON would have said them; or a sentence why not."""

import contextlib
import time
from collections.abc import Mapping
from typing import Any

import msgspec
from flask import Request, g
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wsgi import get_input_stream

from app.engine import PARAMETERS

from ..errors import Problem, unreadable
from ..run.connection import socket_of
from .fields import seen

JSON, FORM, TEXT = "json", "form", "text"

_KINDS = {
    "application/json": JSON,
    "application/x-www-form-urlencoded": FORM,
    "multipart/form-data": FORM,
    "text/plain": TEXT,
    "": JSON,  # no Content-Type at all: programs that send bytes mean JSON
}

_DEFAULTS = {parameter.name: parameter.default for parameter in PARAMETERS}


def body_kind(request: Request) -> str:
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


def is_form(request: Request) -> bool:
    return _KINDS.get(request.mimetype) is FORM


def needs_preflight(request: Request) -> bool:
    """Whether a browser asks first before another site's page may send such a body here."""
    return _KINDS.get(request.mimetype) not in (FORM, TEXT) and request.mimetype != ""


def read_body(request: Request, patience: float) -> bytes:
    """The body's bytes; a body that stalls or breaks off is the caller's mistake."""
    accepted = socket_of(request.environ)
    if accepted is not None:
        accepted.settimeout(patience)
    try:
        return request.get_data()
    except Exception as error:  # every server has its own for a body that breaks off
        g.body_failed = True
        if isinstance(error, RequestEntityTooLarge):
            _read_past(request)
            raise
        if isinstance(error.__context__ or error, TimeoutError):
            raise Problem(408, "too_slow", f"The body stood still for {patience:g} s.") from None
        raise unreadable(f"The body broke off: {type(error).__name__}.") from None
    finally:
        if accepted is not None:
            accepted.settimeout(None)


def _read_past(request: Request) -> None:
    """Who is cut off while sending never reads why: up to 64 MB more, for 5 s, are dropped."""
    rest, end = get_input_stream(request.environ), time.monotonic() + 5
    with contextlib.suppress(Exception):  # of any server's; the answer is the same
        for _ in range(1024):
            if not rest.read(2**16) or time.monotonic() > end:
                return


def read_json(request: Request, patience: float) -> dict[str, Any]:
    """A JSON object sent as JSON. Any other type is refused: a web page could send it unasked."""
    if body_kind(request) is not JSON:
        raise Problem(
            415,
            "unsupported_media_type",
            f"Content-Type is {request.mimetype}; add -H 'Content-Type: application/json'.",
        )
    return parse_json(read_body(request, patience))


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


def read_fields(request: Request, patience: float) -> dict[str, Any]:
    """The fields of a JSON object, a form, or a text with its parameters in the address."""
    kind = body_kind(request)
    body = read_body(request, patience)
    if kind is JSON:
        return from_texts(request.args) | parse_json(body)
    if kind is FORM:
        _refuse_json_in_form(body)
        return from_texts(request.args) | from_texts(request.form)
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise unreadable(f"The body is not UTF-8: {error.reason} at byte {error.start}.") from None
    return from_texts(request.args) | {"prompt": text}


def _refuse_json_in_form(body: bytes) -> None:
    if body.lstrip()[:1] == b"{" and b'"' in body[:200]:
        raise unreadable("This is JSON sent as a form; add -H 'Content-Type: application/json'.")


def from_texts(texts: Any) -> dict[str, Any]:
    """Fields of a form or an address, whose values are all texts -> what JSON would have said."""
    fields: dict[str, Any] = {}
    for name, values in texts.lists():
        if name in _FORM_ONLY:
            continue
        if name in _DEFAULTS and values == [""] and not isinstance(_DEFAULTS[name], list):
            continue  # a field left empty in a form
        fields[name] = _from_text(name, values)
    return fields


_FORM_ONLY = ("color", "key")  # for the page, not for the model


def _from_text(name: str, values: list[str]) -> Any:
    if name == "stop":
        return [value for value in values if value]
    if name in ("prompt", "model"):
        return values[0] if len(values) == 1 else values
    try:
        return msgspec.json.decode(values[-1])
    except (msgspec.MsgspecError, RecursionError):
        return {"on": True}.get(values[-1], values[-1])  # a ticked box says "on"


def read_form_again(request: Request, patience: float) -> Mapping[str, str]:
    """What a refused reader wrote, for the form shown again; nothing if it is unreadable."""
    if not g.get("body_failed", False):
        with contextlib.suppress(Problem, RequestEntityTooLarge):
            read_body(request, patience)
            return request.form
    return {}
