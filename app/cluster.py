"""What `serve deploy deployment/ray_serve.yaml` runs: replicas of an engine, from its settings."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ray.serve import Application


def build(arguments: dict[str, Any]) -> "Application":
    """`arguments` are settings by name, and how many replicas to run."""
    from app import engine_options
    from app.engine import cluster_application
    from app.settings import read_settings

    ours = {name: arguments.pop(name) for name in ("replicas", "most", "gpus") if name in arguments}
    settings = read_settings(arguments)
    options = engine_options(settings)
    return cluster_application(options, cpus=settings.threads or 1, **({"replicas": 1} | ours))
