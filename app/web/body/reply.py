"""A value -> a JSON reply. Knows no dialect."""

from typing import Any

import msgspec
from flask import Response


def reply(value: Any, status: int = 200) -> Response:
    """Ends with a newline: in a terminal the prompt comes on a line of its own."""
    return Response(msgspec.json.encode(value) + b"\n", status, content_type="application/json")
