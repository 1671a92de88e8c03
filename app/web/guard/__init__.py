"""Who may come in and how often, and in which order this is checked.

Knows nothing of what a request asks for.
"""

from flask import Flask, Response, g, request

from ..errors import RETRY_S, Problem
from ..service import service
from . import keys, origins, policy, warnings
from .limits import Limits

# even without a key
OPEN = ("health.livez", "health.readyz", "pages.index", "pages.worker", "static")
WHILE_STOPPING = ("health.livez", "health.readyz", "health.healthy", "health.metrics", "static")


def register(app: Flask) -> None:
    here = app.extensions["continuo"]
    here.limits = Limits(here.options)
    app.before_request(_admit)
    app.after_request(policy.add_headers)
    app.after_request(origins.add_headers)


def _admit() -> Response | None:
    g.wants_html = _is_a_page()
    warnings.warn_once()
    origins.check_host()
    if origins.is_preflight():
        # For any path, so that a page of another origin can read our 404.
        return Response(status=204)
    origins.check_origin()
    if request.method == "OPTIONS":
        return None  # Flask answers with the route's methods
    if service().stopping.is_draining and request.endpoint not in WHILE_STOPPING:
        raise Problem(
            503, "stopping", "The server is stopping; it takes nothing new.", retry_after=RETRY_S
        )
    if service().options.api_keys and request.endpoint not in OPEN:
        keys.check()
    return None


def _is_a_page() -> bool:
    """Whether the form without JavaScript was sent: then a refusal is a page."""
    best = request.accept_mimetypes.best_match(["application/json", "text/html"])
    return request.endpoint == "native.generate" and best == "text/html"
