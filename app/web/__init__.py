"""HTTP in, HTTP out. Knows no tensor, imports no torch."""

from typing import TYPE_CHECKING, Any

from .options import Count, Seconds, WebOptions
from .run.stopping import SharedStopping

if TYPE_CHECKING:
    from .app import make_app

__all__ = ["Count", "Seconds", "SharedStopping", "WebOptions", "make_app"]


def __getattr__(name: str) -> Any:
    """make_app is imported only when asked for: it needs Flask, and settings do not."""
    if name == "make_app":
        from .app import make_app

        return make_app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
