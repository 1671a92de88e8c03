"""Which host names we answer to, and which other sites' pages may call us."""

from urllib.parse import urlsplit

from flask import Response, request

from ..body.read import needs_preflight
from ..errors import Problem
from ..run.connection import is_loopback, is_loopback_name
from ..service import service

EXPOSED = (
    "X-Request-Id, Retry-After, retry-after-ms"  # the headers that another origin's page may read
)


def check_host() -> None:
    """A foreign page may rebind its name to 127.0.0.1, but its Host header still shows it."""
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
    """*.example.org matches every name below it, * every name."""
    pattern = pattern.lower()
    if pattern.startswith("*"):
        return host.endswith(pattern[1:])
    return host == pattern


def _name(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:  # unclosed brackets
        return ""


def check_origin() -> None:
    """Forms and plain text, which any page can make a browser send, must come from our own page."""
    if request.method != "POST" or needs_preflight():
        return
    origin = request.headers.get("Origin")
    site = request.headers.get("Sec-Fetch-Site")
    is_ours = origin is None or origin.partition("://")[2] == request.host
    if site is not None:
        is_ours = site in ("same-origin", "none")
    if not is_ours and not _is_listed(origin):
        raise Problem(403, "cross_site", f"Pages of {origin or 'other sites'} may not post here.")


def is_preflight() -> bool:
    """Whether this is a preflight for a page of a listed origin."""
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
            if wanted is not None:  # any header: none affects who may come in
                headers["Access-Control-Allow-Headers"] = wanted
                headers.add("Vary", "Access-Control-Request-Headers")
            headers["Access-Control-Allow-Methods"] = "GET, POST, DELETE"
            headers["Access-Control-Max-Age"] = "600"
    return response
