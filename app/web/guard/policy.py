"""Headers that keep the page safe: only its own files and server, nothing inline, and no frames but
on the named sites."""

from flask import Response

from ..service import service

POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "worker-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors {frames}",
    ]
)


def add_headers(response: Response) -> Response:
    frames = " ".join(service().options.frames) or "'none'"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Content-Security-Policy"] = POLICY.format(frames=frames)
    return response
