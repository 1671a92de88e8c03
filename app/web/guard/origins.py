"""Other people's pages: which host names we answer to, and which origins may call us."""

from urllib.parse import urlsplit

from flask import Response, request

from ..body.read import needs_preflight
from ..errors import Problem
from ..run.connection import is_loopback, is_loopback_name
from ..service import service

EXPOSED = "X-Request-Id, Retry-After, retry-after-ms"  # what another origin's page may read


def check_host() -> None:
    """A page elsewhere may rebind its name to 127.0.0.1; the Host it sends still tells."""
    if not is_loopback(request.environ):
        return
    host = _name(f"//{request.host}")
    if not is_loopback_name(host) and not any(
        _matches(host, pattern) for pattern in service().options.hosts
    ):
        raise Problem(
            403, "wrong_host", f"This server does not answer to {host!r}; add it to CONTINUO_HOSTS."
        )


def _matches(host: str, pattern: str) -> bool:
    """*.example.org is every name below it, * is every name."""
    pattern = pattern.lower()
    if pattern.startswith("*"):
        return host.endswith(pattern[1:])
    return host == pattern


def _name(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:  # brackets that do not close
        return ""


def check_origin() -> None:
    """What a browser sends for any page unasked, a form or plain text, must be our own page's."""
    if request.method != "POST" or needs_preflight(request):
        return
    origin = request.headers.get("Origin")
    site = request.headers.get("Sec-Fetch-Site")
    is_ours = origin is None or origin.partition("://")[2] == request.host
    if site is not None:
        is_ours = site in ("same-origin", "none")
    if not is_ours and not _is_listed(origin):
        raise Problem(403, "cross_site", f"Pages of {origin or 'other sites'} may not post here.")


def is_preflight() -> bool:
    """Whether a browser asks if a listed origin's page may send something."""
    headers = request.headers
    is_asking = request.method == "OPTIONS" and "Access-Control-Request-Method" in headers
    return is_asking and _is_listed(headers.get("Origin"))


def _is_listed(origin: str | None) -> bool:
    origins = service().options.origins
    return origin is not None and (origin in origins or "*" in origins)


def add_headers(response: Response) -> Response:
    headers = response.headers
    if service().options.origins:
        headers.add("Vary", "Origin")
    origin = request.headers.get("Origin")
    if _is_listed(origin):
        headers["Access-Control-Allow-Origin"] = origin
        headers["Access-Control-Expose-Headers"] = EXPOSED
        if is_preflight():
            wanted = request.headers.get("Access-Control-Request-Headers")
            if wanted is not None:  # any: none of them changes who may come in
                headers["Access-Control-Allow-Headers"] = wanted
                headers.add("Vary", "Access-Control-Request-Headers")
            headers["Access-Control-Allow-Methods"] = "GET, POST, DELETE"
            headers["Access-Control-Max-Age"] = "600"
    return response
