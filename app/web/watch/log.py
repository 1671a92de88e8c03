"""A log line for each request, once its last byte is sent, for people or machines.

Prompts are logged only with CONTINUO_LOG_PROMPTS; the page's own files only if they fail.
"""

import logging
import re
import secrets
import time
from functools import partial
from typing import Any

import msgspec
from flask import Flask, Response, g, request
from flask.logging import has_level_handler
from msgspec import UNSET, UnsetType

from ..run.run import Run
from ..service import Service, service
from .faults import Fault

log = logging.getLogger(__name__)

_NOT_IN_ID = re.compile(r"[^A-Za-z0-9._:-]")


class Line(msgspec.Struct, kw_only=True):
    id: str
    method: str
    path: str
    status: int
    address: str | None = msgspec.field(name="from")
    problem: str | UnsetType = UNSET
    ms: float = 0.0
    runs: list[dict[str, Any]] = []


def register(app: Flask) -> None:
    rooms = logging.getLogger("app")
    rooms.setLevel(logging.INFO)
    if not has_level_handler(rooms):
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        rooms.addHandler(handler)
    app.before_request(_begin)
    app.after_request(_end_later)


def _begin() -> None:
    given = _NOT_IN_ID.sub("", request.headers.get("X-Request-Id", ""))[:128]
    g.request_id = given or secrets.token_hex(8)
    g.started = time.monotonic()
    g.stopping = service().stopping
    g.stopping.begin()


def _end_later(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.request_id
    response.direct_passthrough = False  # a file passed through would be closed alone, unnoticed
    service().metrics.responses.labels(str(response.status_code)).inc()
    if "problem" in g:
        service().metrics.rejected.labels(g.problem.kind).inc()
    if request.endpoint != "static" or response.status_code >= 400:  # a visit fetches sixty files
        line = Line(
            id=g.request_id,
            method=request.method,
            path=request.path,
            status=response.status_code,
            address=request.remote_addr,
            problem=g.problem.kind if "problem" in g else UNSET,
        )
        runs, here = g.get("runs", []), service()
        response.call_on_close(partial(_end, g.started, line, runs, here))
        parent = request.headers.get("traceparent")
        response.call_on_close(lambda: here.traces.note(line, runs, parent))
    response.call_on_close(g.stopping.end)
    return response


def _end(started: float, line: Line, runs: list[Run], here: Service) -> None:
    line.ms = round((time.monotonic() - started) * 1000, 1)
    line.runs = [_describe_run(run, here.options.log_prompts) for run in runs]
    _note_faults(line, runs, here)
    if here.options.log == "json":
        log.info("%s", msgspec.json.encode(line).decode())
    else:
        log.info("%s", _for_people(line))


def _note_faults(line: Line, runs: list[Run], here: Service) -> None:
    kinds = [run.failure.kind for run in runs if run.failure is not None]
    if line.status >= 500:
        kinds = [line.problem or "unexpected"]
    for kind in kinds:  # also failures within a stream, after a 200
        here.faults.note(Fault(time.time(), line.status, kind, line.method, line.path))


def _describe_run(run: Run, with_prompt: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {"model": run.model, "end": run.end}
    if run.usage is not None:
        entry |= msgspec.structs.asdict(run.usage)
    if run.timings is not None:
        entry |= {k: round(v, 1) for k, v in msgspec.structs.asdict(run.timings).items()}
    if with_prompt:
        entry["prompt"] = run.prompt
    return entry


def _for_people(line: Line) -> str:
    parts = [f"{line.method} {line.path!r} {line.status} {line.ms:.0f} ms"]
    for run in line.runs:
        about = [f"{key} {value!r}" for key, value in run.items() if key != "model"]
        parts.append(f"{run['model']}: " + ", ".join(about))
    if line.problem:
        parts.append(line.problem)
    return " | ".join([*parts, line.id])
