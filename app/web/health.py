"""Whether the server is alive and ready: for supervisors, proxies and dashboards."""

import msgspec
from flask import Blueprint, Response

from .body.reply import reply
from .docs.openapi import gives, replies
from .errors import RETRY_S, Problem
from .service import service

health = Blueprint("health", __name__)


class Health(msgspec.Struct):
    status: str = "ok"


@health.get("/livez")
@replies(Health)
def livez() -> Response:
    """This process answers."""
    return reply(Health())


@health.get("/readyz")
@replies(Health)
def readyz() -> Response:
    """The model is loaded and requests are welcome."""
    reason = service().why_not_ready()
    if reason is not None:
        raise Problem(503, "unavailable", reason, retry_after=RETRY_S)
    return reply(Health())


@health.get("/health")
@replies(Health)
def healthy() -> Response:
    """The same as /readyz, in the form that llama.cpp's clients expect."""
    return readyz()


@health.get("/metrics")
@gives("text/plain")
def metrics() -> Response:
    """Counters for Prometheus, summed over all workers."""
    return Response(
        service().metrics.text(), content_type="text/plain; version=0.0.4; charset=utf-8"
    )
