"""/status: the server's state on one page for people, without scripts. If keys are needed, a
browser sends one as the password."""

import time
from typing import Any

from flask import Blueprint, Response, make_response, render_template

from app.engine import EngineError, EngineInfo, EngineStats

from ..docs.openapi import gives
from ..service import service

MEASURE_S = 0.5  # between the two readings that give tokens per second

status = Blueprint("status", __name__)


@status.get("/status")
@gives("text/html")
def show() -> Response:
    """The server's state: readers, speed, cache, failures, models. A page for people."""
    here = service()
    facts: dict[str, Any] = {"reason": here.why_not_ready(), "engine": None}
    try:
        facts["engine"] = _engine(here.engine.info(), *_look_twice())
    except EngineError as error:
        facts["reason"] = facts["reason"] or str(error)
    faults = here.faults.last_hour()
    page = render_template(
        "status.html",
        **facts,
        first_token=here.metrics.first_token_quantiles((0.5, 0.95)),
        faults=faults[:20],
        n_faults=len(faults),
        now=time.strftime("%H:%M:%S"),
        clock=lambda seconds: time.strftime("%H:%M:%S", time.localtime(seconds)),
    )
    response = make_response(page)
    response.headers["Cache-Control"] = "no-store"
    return response


def _look_twice() -> tuple[EngineStats, EngineStats]:
    first = service().engine.stats()
    time.sleep(MEASURE_S)
    return first, service().engine.stats()


def _engine(info: EngineInfo, before: EngineStats, now: EngineStats) -> dict[str, Any]:
    # What each engine did meanwhile; a replica that came or left is not compared.
    earlier = before.parts
    pairs = [(earlier[name], part) for name, part in now.parts.items() if name in earlier]
    seconds = sum(after.uptime_s - first.uptime_s for first, after in pairs)
    n_written = sum(after.completion_tokens - first.completion_tokens for first, after in pairs)
    return {
        "running": now.running,
        "waiting": now.waiting,
        "max_running": info.max_running_in_all,
        "max_queue": info.max_queue_in_all,
        "tokens_per_s": len(pairs) * _share(n_written, seconds),
        "busy": _share(sum(after.busy_s - first.busy_s for first, after in pairs), seconds),
        "cache": _share(now.pages_used, now.pages),
        "from_cache": _share(now.cached_tokens, now.prompt_tokens),
        "outcomes": {name: n for name, n in sorted(now.outcomes.items()) if n},
        "memory_mb": now.memory_bytes / 2**20,
        "uptime": _spell(now.uptime_s),
        "threads": info.threads,
        "models": info.models,
    }


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0


def _spell(seconds: float) -> str:
    days, rest = divmod(int(seconds), 86_400)
    clock = f"{rest // 3600}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days} d {clock}" if days else clock
