"""Who may come in, in which order that is asked, and how often.

Nothing here knows what a request is for; a request that passes is the view's.
"""

from flask import Flask, Response, g, request

from ..errors import RETRY_S, Problem
from ..service import service
from . import keys, origins, policy, warnings
from .limits import Limits

# without a key too
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
        return Response(status=204)  # for any path, so that a page hears of a 404 from us
    origins.check_origin()
    if request.method == "OPTIONS":
        return None  # Flask answers with what the route takes
    if service().stopping.is_draining and request.endpoint not in WHILE_STOPPING:
        raise Problem(
            503, "stopping", "The server is stopping; it takes nothing new.", retry_after=RETRY_S
        )
    if service().options.api_keys and request.endpoint not in OPEN:
        keys.check()
    return None


def _is_a_page() -> bool:
    """The form without JavaScript: who may not come in is told so on a page."""
    best = request.accept_mimetypes.best_match(["application/json", "text/html"])
    return request.endpoint == "native.generate" and best == "text/html"
