"""Who may come in: keys, limits, hosts, other people's pages; and the headers that keep a page
safe. Nothing here knows what a request is for; a request that passes is the view's.
"""

import hashlib
import hmac
import importlib
import logging
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from flask import Flask, Response, g, request
from flask_limiter import Limit, Limiter, RateLimitExceeded

from ..body import fields as schema
from ..errors import RETRY_S, Problem, answer
from ..run.connection import is_local, is_loopback, is_loopback_name
from ..service import service

log = logging.getLogger(__name__)

OPEN = ("health.livez", "health.readyz", "pages.index", "static")  # without a key too
WHILE_STOPPING = ("health.livez", "health.readyz", "health.healthy", "health.metrics", "static")

# What a page may do: its own files and its own server, nothing else, nothing inline.
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)
ALLOWED_HEADERS = (
    "authorization, content-type, x-api-key, x-request-id, last-event-id, client-agent, "
    "x-client-agent, koboldai-client-agent"
)


def register(app: Flask) -> None:
    app.before_request(_admit)
    app.after_request(_headers)
    _limit(app)


def _admit() -> Response | None:
    g.wants_html = _is_a_page()
    _warn_once()
    _check_host()
    _check_origin()
    if request.method == "OPTIONS":
        return None  # a preflight carries no key; Flask answers with what the route takes
    if service().stopping.is_draining and request.endpoint not in WHILE_STOPPING:
        raise Problem(
            503, "stopping", "The server is stopping; it takes nothing new.", retry_after=RETRY_S
        )
    if service().options.api_keys and request.endpoint not in OPEN:
        _check_key()
    return None


def _is_a_page() -> bool:
    """The form without JavaScript: who may not come in is told so on a page."""
    best = request.accept_mimetypes.best_match(["application/json", "text/html"])
    return request.endpoint == "native.generate" and best == "text/html"


# ---- keys


def _check_key() -> None:
    given = _given_key()
    if given is None:
        raise Problem(401, "no_key", "A key is needed: Authorization: Bearer KEY, or X-Api-Key.")
    # Compared as digests and all of them, so that time tells nothing about any.
    digest = _digest(given)
    matches = [hmac.compare_digest(digest, _digest(key)) for key in service().options.api_keys]
    if not any(matches):
        raise Problem(401, "wrong_key", "That key is not known here.")
    g.key = digest.hex()[:16]


def _given_key() -> str | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    if request.headers.get("X-Api-Key"):
        return request.headers["X-Api-Key"].strip()
    if request.endpoint == "native.generate" and schema.is_form(request):
        schema.read_body(request, service().options.patience)  # kept, for the view to read again
        return request.form.get("key") or None  # the page without JavaScript
    return None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


# ---- limits


def _limit(app: Flask) -> None:
    options = app.extensions["continuo"].options
    limits: list[str | Callable[[], str] | Limit] = [
        Limit(limit, key_function=who, scope=scope, shared=True, methods=["POST"])
        for limit, who, scope in (
            (options.limit_per_key, _key, "key"),
            (options.limit_per_address, _address, "address"),
        )
        if limit is not None
    ]
    if limits:
        importlib.import_module(".tally", __package__)  # makes sqlite:// known
        app.extensions["continuo.limiter"] = limiter = Limiter(
            _address, app=app, default_limits=limits, storage_uri=options.limit_storage
        )
        app.register_error_handler(RateLimitExceeded, lambda error: _too_many(limiter, error))


def _key() -> str:
    return g.get("key", "none")


def _address() -> str:
    return request.remote_addr or "nowhere"


def _too_many(limiter: Limiter, error: RateLimitExceeded) -> Response:
    breached = limiter.current_limit
    wait = 1.0 if breached is None else max(1.0, breached.reset_at - time.time())
    message = f"More than {error.description} is not allowed; try again in {wait:.0f} s."
    return answer(Problem(429, "rate_limit", message, retry_after=wait))


# ---- other people's pages


def _check_host() -> None:
    """A page elsewhere may rebind its name to 127.0.0.1; the Host it sends still tells."""
    if not is_loopback(request.environ):
        return
    host = _name(f"//{request.host}")
    if not is_loopback_name(host) and host not in service().options.hosts:
        raise Problem(
            403, "wrong_host", f"This server does not answer to {host!r}; add it to CONTINUO_HOSTS."
        )


def _name(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:  # brackets that do not close
        return ""


def _check_origin() -> None:
    """What a browser sends for any page unasked, a form or plain text, must be our own page's."""
    if request.method != "POST" or schema.needs_preflight(request):
        return
    origin = request.headers.get("Origin")
    site = request.headers.get("Sec-Fetch-Site")
    is_ours = origin is None or origin.partition("://")[2] == request.host
    if site is not None:
        is_ours = site in ("same-origin", "none")
    if not is_ours and not _is_listed(origin):
        raise Problem(403, "cross_site", f"Pages of {origin or 'other sites'} may not post here.")


def _is_listed(origin: str | None) -> bool:
    origins = service().options.origins
    return origin is not None and (origin in origins or "*" in origins)


def _headers(response: Response) -> Response:
    headers = response.headers
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "no-referrer"
    headers["Content-Security-Policy"] = POLICY
    if service().options.origins:
        headers.add("Vary", "Origin")
    origin = request.headers.get("Origin")
    if _is_listed(origin):
        headers["Access-Control-Allow-Origin"] = origin
        headers["Access-Control-Allow-Headers"] = ALLOWED_HEADERS
        headers["Access-Control-Allow-Methods"] = "GET, POST, DELETE"
        headers["Access-Control-Expose-Headers"] = "X-Request-Id, Retry-After, retry-after-ms"
        headers["Access-Control-Max-Age"] = "600"
    return response


# ---- what whoever runs this should know


OPEN_TO_ALL = (
    "Requests come in from beyond this machine and no key is asked for: anybody who can reach this "
    "server can use it. Set CONTINUO_API_KEYS."
)
ONE_EACH = (
    "Each of these workers serves one reader at a time, and may cut long streams off. Use threads: "
    "gunicorn -c deployment/gunicorn.conf.py"
)


def _warn_once() -> None:
    if not service().options.api_keys and not is_local(request.environ):
        _warn(OPEN_TO_ALL)
    if not request.environ["wsgi.multithread"]:
        _warn(ONE_EACH)


def _warn(message: str) -> None:
    if message not in service().warned:
        service().warned.add(message)
        log.warning(message)
