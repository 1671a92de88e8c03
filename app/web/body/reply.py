"""JSON replies. Knows no dialect."""

from typing import Any

import msgspec
from flask import Response


def reply(value: Any, status: int = 200) -> Response:
    """Ends with a newline, so that a terminal's prompt starts on its own line."""
    return Response(msgspec.json.encode(value) + b"\n", status, content_type="application/json")
