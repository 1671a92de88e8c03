"""Continuo continues text."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from app.engine import AnyEngine, EngineOptions
    from app.settings import Settings

MODELS = Path(__file__).resolve().parent.parent / "models"


def create_app(settings: "Settings | None" = None, engine: "AnyEngine | None" = None) -> "Flask":
    """The Flask app. Without `engine`, it starts or joins the server's own."""
    from app.settings import read_settings
    from app.web import make_app

    if settings is None:
        settings = read_settings()
    return make_app(settings, _find_engine(settings) if engine is None else engine)


def _find_engine(settings: "Settings") -> "AnyEngine":
    if settings.engine == "ray":
        from app.engine import join_cluster

        return join_cluster()
    from app.engine import connect

    return connect(engine_options(settings), settings.runtime, start=not _only_reloads())


def _only_reloads() -> bool:
    """Whether this is the parent of Flask's reloader, which loads the app but does not serve."""
    import click
    from flask.helpers import get_debug_flag
    from werkzeug.serving import is_running_from_reloader

    context = click.get_current_context(silent=True)
    if context is None or "reload" not in context.params:
        return False
    reload = context.params["reload"]
    return (get_debug_flag() if reload is None else reload) and not is_running_from_reloader()


def engine_options(settings: "Settings") -> "EngineOptions":
    from app.engine import EngineOptions

    return EngineOptions(
        models=find_models(settings.models),
        backend=settings.backend,
        precision=settings.precision,
        threads=settings.threads,
        cache_bytes=settings.cache_mb * 2**20,
        max_running=settings.max_running,
        max_queue=settings.max_queue,
        max_wait=settings.max_wait,
        max_time=settings.max_time,
        compiled=settings.cache,
    )


def find_models(words: Sequence[str]) -> dict[str, str]:
    """Names to serve by -> absolute paths; without words, the default model."""
    from app.gpt2 import find, name_of
    from app.settings import SettingsError

    found: dict[str, str] = {}
    for word in words or (None,):
        path = find(word, MODELS)
        name = name_of(path)
        if name in found:
            raise SettingsError(f"CONTINUO_MODELS: two models are called {name!r}; rename one.")
        found[name] = str(path.resolve())
    return found


def __getattr__(name: str) -> object:
    """What a notebook imports, looked up only when asked for: a web worker never needs it."""
    if name == "continue_texts":
        from app.samples import continue_texts

        return continue_texts
    if name == "finetune":
        from app.training import finetune

        return finetune
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
