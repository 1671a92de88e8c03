"""Errors: one sentence, a field and a status, in the shape of the route's dialect.

A Problem may be raised anywhere in a request. A dialect registers how its routes render one:

    errors.speaks(app, "/v1", render)        # for paths that begin so; the longest wins
    g.render_problem = render                # or for this request only
    render(problem) -> (status, a struct)    # its annotation describes it in /openapi.json
"""

import errno
import logging
import math
import re
from collections.abc import Callable
from typing import Any, get_args, get_type_hints

import msgspec
from flask import Flask, Response, current_app, g, render_template, request
from msgspec import UNSET, UnsetType
from werkzeug.exceptions import HTTPException

from app.engine import (
    PARAMETERS,
    EngineBusy,
    EngineError,
    EngineStopped,
    Failed,
    InvalidParams,
    UnknownModel,
)

from .body.reply import reply

log = logging.getLogger(__name__)

RETRY_S = 2.0  # if nothing better is known: an engine restarts within seconds


class Problem(Exception):
    """Why a request is not answered. The kind is for programs, the message for people."""

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        *,
        field: str | None = None,  # as the caller named it
        retry_after: float | None = None,  # seconds
        **details: Any,
    ) -> None:
        super().__init__(message)
        self.status, self.kind, self.message = status, kind, message
        self.field, self.retry_after = field, retry_after
        self.details = details  # fields of Reason


class Reason(msgspec.Struct, kw_only=True):
    type: str  # for programs
    message: str  # for people
    field: str | UnsetType = UNSET
    retry_after_ms: int | UnsetType = UNSET
    value: int | str | UnsetType = UNSET
    allowed: int | UnsetType = UNSET  # the most
    low: float | int | UnsetType = UNSET
    high: float | int | UnsetType = UNSET
    did_you_mean: str | UnsetType = UNSET
    ahead: int | UnsetType = UNSET  # requests in the queue
    state: str | UnsetType = UNSET  # the engine's, where that is why: loading, restarting, stuck
    request_id: str | None = None


class Refusal(msgspec.Struct):
    """The native API's."""

    error: Reason


Render = Callable[[Problem], tuple[int, msgspec.Struct]]


class ReaderGone(Exception):
    """The reader has left; there is nobody to answer."""


class CutOff(BrokenPipeError):
    """A stream fails by breaking off. As a broken pipe, because servers ignore those."""

    def __init__(self, message: str) -> None:
        super().__init__(errno.EPIPE, message)


def bad_value(field: str, message: str, **details: Any) -> Problem:
    return Problem(422, "invalid_value", message, field=field, **details)


def invalid_params(error: InvalidParams, value: Any = None) -> Problem:
    """The engine uses our names; `g.caller_names` holds the caller's name for each."""
    name = g.get("caller_names", {}).get(error.field, error.field)
    message = re.sub(rf"\b{re.escape(error.field)}\b", lambda _: name, str(error), count=1)
    details: dict[str, Any] = {} if value is None else {"value": f"{value!r:.80}"}
    for row in PARAMETERS:
        if row.name == error.field and row.low is not None:
            details |= {"low": row.low, "high": row.high}
    return bad_value(name, message, **details)


def unreadable(message: str, **details: Any) -> Problem:
    return Problem(400, "unreadable_body", message, **details)


def engine_problem(error: EngineError) -> Problem:
    """A Problem from what `engine.submit` and the like raise."""
    if isinstance(error, UnknownModel):
        return Problem(404, "unknown_model", str(error), field="model")
    if isinstance(error, EngineBusy):
        return Problem(
            429, "overloaded", str(error), retry_after=error.retry_after, ahead=error.ahead
        )
    if isinstance(error, EngineStopped):
        state = current_app.extensions["continuo"].engine.state().name
        return Problem(503, "unavailable", str(error), retry_after=RETRY_S, state=state)
    return Problem(503, "engine_error", str(error), retry_after=RETRY_S)


def failed(event: Failed) -> Problem:
    """A Problem from the failure of a running request."""
    status = 503 if event.kind == "engine_stopped" else 500
    return Problem(status, event.kind, event.message, retry_after=event.retry_after)


def native(problem: Problem) -> tuple[int, Refusal]:
    reason = Reason(
        type=problem.kind,
        message=problem.message,
        request_id=g.get("request_id"),
        **problem.details,
    )
    if problem.field is not None:
        reason.field = problem.field
    if problem.retry_after is not None:
        reason.retry_after_ms = round(problem.retry_after * 1000)
    return problem.status, Refusal(reason)


def speaks(app: Flask, prefix: str, render: Render) -> None:
    """Render problems on paths that begin with `prefix` by this."""
    app.extensions.setdefault("continuo.shapes", {})[prefix] = render


def renderer(path: str) -> Render:
    shapes: dict[str, Render] = current_app.extensions.get("continuo.shapes", {})
    fits = [p for p in shapes if path == p or path.startswith(p + "/")]
    return shapes[max(fits, key=len)] if fits else native


def structs_of(render: Render) -> tuple[type[msgspec.Struct], ...]:
    """What a dialect's refusals may be."""
    struct = get_args(get_type_hints(render)["return"])[1]
    return get_args(struct) or (struct,)


def answer(problem: Problem) -> Response:
    """The response, with the headers that tell clients when to retry."""
    if g.get("wants_html", False):
        page = render_template("error.html", problem=problem)
        response = Response(page, problem.status, mimetype="text/html")
    else:
        render: Render = g.get("render_problem") or renderer(request.path)
        status, body = render(problem)
        response = reply(body, status)
    if problem.retry_after is not None:
        response.headers["Retry-After"] = str(max(1, math.ceil(problem.retry_after)))
        response.headers["retry-after-ms"] = str(round(problem.retry_after * 1000))
    elif 400 <= problem.status < 500 and problem.status != 429:
        response.headers["x-should-retry"] = "false"
    if problem.status == 401:
        # With Basic, a person's browser asks for a password.
        scheme = "Basic" if request.endpoint == "status.show" else "Bearer"
        response.headers["WWW-Authenticate"] = scheme
    g.problem = problem
    return response


def register(app: Flask) -> None:
    app.register_error_handler(Problem, answer)
    app.register_error_handler(EngineError, lambda error: answer(engine_problem(error)))
    app.register_error_handler(InvalidParams, lambda error: answer(invalid_params(error)))
    app.register_error_handler(ReaderGone, lambda _: Response(status=499))
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _unexpected)


_SENTENCES = {
    404: ("not_found", "There is nothing at {path}; see /docs for the paths."),
    405: ("wrong_method", "{path} does not take {method}; use {allowed}."),
    413: ("too_large", "The body is larger than max_body allows: {max_body} bytes."),
}


def _http(error: HTTPException) -> Response:
    """Errors of Flask itself, such as an unknown route or a body that is too large."""
    status = error.code or 500
    if status < 400:  # a redirect is not a failure
        return Response(error.get_body(), status, error.get_headers())
    kind, sentence = _SENTENCES.get(status, ("refused", "{description}"))
    message = sentence.format(
        path=request.path,
        method=request.method,
        allowed=", ".join(getattr(error, "valid_methods", None) or ()),
        max_body=current_app.config["MAX_CONTENT_LENGTH"],
        description=error.description,
    )
    response = answer(Problem(status, kind, message))
    if status == 405:
        response.headers["Allow"] = ", ".join(getattr(error, "valid_methods", None) or ())
    return response


def _unexpected(error: Exception) -> Response:
    log.exception("request %s failed", g.get("request_id"))
    return answer(
        Problem(
            500,
            "internal_error",
            f"The server failed; its log says more under the id {g.get('request_id')}.",
        )
    )
