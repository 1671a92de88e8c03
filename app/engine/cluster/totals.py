"""The numbers of all replicas, as if they were one engine."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from ..answers import EngineInfo, EngineStats


def add_up(replicas: dict[str, EngineStats]) -> EngineStats:
    """Sums, except that busy_s is the mean and uptime_s the longest."""
    found = list(replicas.values())
    outcomes: Counter[str] = sum((Counter(stats.outcomes) for stats in found), Counter())
    fields: dict[str, Any] = {
        name: sum(getattr(stats, name) for stats in found)
        for name in EngineStats.__struct_fields__
        if name not in ("outcomes", "busy_s", "uptime_s", "replicas")
    }
    return EngineStats(
        **fields,
        outcomes=dict(outcomes),
        busy_s=sum(stats.busy_s for stats in found) / len(found),
        uptime_s=max(stats.uptime_s for stats in found),
        replicas=replicas,
    )


def as_one(found: Sequence[EngineInfo]) -> EngineInfo:
    """The sums of what replicas hold; they all have the same models and options."""
    first, n = found[0], len(found)
    models = [
        msgspec.structs.replace(model, cache_bytes=n * model.cache_bytes) for model in first.models
    ]
    return msgspec.structs.replace(
        first,
        models=models,
        threads=n * first.threads,
        max_running=n * first.max_running,
        max_queue=n * first.max_queue,
    )
