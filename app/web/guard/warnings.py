"""Warnings for the operator, each logged once."""

import logging

from flask import request

from ..run.connection import is_local
from ..service import service

log = logging.getLogger(__name__)

OPEN_TO_ALL = (
    "Requests arrive from other machines and no key is needed: anybody who can reach this server "
    "can use it. Set CONTINUO_API_KEYS."
)
ONE_EACH = (
    "Each worker serves only one reader at a time, and may cut long streams off. Use threads: "
    "gunicorn -c deployment/gunicorn.conf.py"
)


def warn_once() -> None:
    if not service().options.api_keys and not is_local(request.environ):
        _warn(OPEN_TO_ALL)
    if not request.environ["wsgi.multithread"]:
        _warn(ONE_EACH)


def _warn(message: str) -> None:
    if message not in service().warned:
        service().warned.add(message)
        log.warning(message)
