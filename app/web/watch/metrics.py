"""Metrics for Prometheus: what readers experience, from each web worker, and the engine's state.

Several workers are summed in the folder PROMETHEUS_MULTIPROC_DIR, which
deployment/gunicorn.conf.py makes.
"""

import math
from collections.abc import Iterator, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
    multiprocess,
    values,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.engine import AnyEngine, EngineError, EngineStats

LATENCIES = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)  # seconds
GAPS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)  # seconds

COUNTERS = {  # of the engine: their names and what they count
    "prompt_tokens": ("prompt_tokens", "Tokens of prompts read."),
    "cached_tokens": ("prompt_tokens_cached", "Of these, not computed."),
    "completion_tokens": ("generation_tokens", "Tokens written."),
    "turns": ("turns", "Turns of the engine."),
    "busy_s": ("busy_seconds", "Seconds spent in turns."),
}


class Metrics:
    def __init__(self, engine: AnyEngine) -> None:
        self._engine = engine
        self._registry = CollectorRegistry()
        self.responses = self._counter("responses", "Answers by status.", "status")
        self.rejected = self._counter("rejected", "Requests not taken, by reason.", "reason")
        self.cancelled = self._counter(
            "cancelled", "Completions ended early: in which phase, and by what.", "phase", "by"
        )
        self.wasted = self._counter("tokens_wasted", "Tokens made that no reader took.")
        self.first_token = self._seconds("time_to_first_token", "From request to token.", LATENCIES)
        self.gap = self._seconds("inter_token_latency", "Between two tokens.", GAPS)
        self.whole = self._seconds("e2e_request_latency", "From request to last token.", LATENCIES)
        self.queued = self._seconds("request_queue_time", "Waiting for a turn.", LATENCIES)

    def _counter(self, name: str, help: str, *labels: str) -> Counter:
        return Counter(f"continuo_{name}", help, labels, registry=self._registry)

    def _seconds(self, name: str, help: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"continuo_{name}_seconds", help, buckets=buckets, registry=self._registry)

    def first_token_quantiles(self, shares: Sequence[float]) -> list[float]:
        """Seconds in which these shares of readers had their first token; [] without readers."""
        buckets: list[tuple[float, float]] = []  # upper bound -> how many up to it
        for metric in self._all_workers().collect():
            for sample in metric.samples:
                if sample.name == "continuo_time_to_first_token_seconds_bucket":
                    buckets.append((float(sample.labels["le"]), sample.value))
        buckets.sort()
        if not buckets or not buckets[-1][1]:
            return []
        return [_quantile(buckets, share) for share in shares]

    def text(self) -> bytes:
        engine = CollectorRegistry()
        engine.register(_EngineCollector(self._engine))
        return generate_latest(self._all_workers()) + generate_latest(engine)

    def _all_workers(self) -> CollectorRegistry:
        if not getattr(values.ValueClass, "_multiprocess", False):
            return self._registry
        together = CollectorRegistry()
        multiprocess.MultiProcessCollector(together)
        return together


def _quantile(buckets: Sequence[tuple[float, float]], share: float) -> float:
    """As Prometheus does: evenly spread within a bucket, and at most the last bound."""
    rank, low, below = share * buckets[-1][1], 0.0, 0.0
    for bound, count in buckets:
        if count >= rank:
            if math.isinf(bound):
                return low
            return low + (bound - low) * (rank - below) / (count - below)
        low, below = bound, count
    return low


class _EngineCollector(Collector):
    """The numbers of the engine, which all workers share, so nothing is summed."""

    def __init__(self, engine: AnyEngine) -> None:
        self._engine = engine

    def describe(self) -> list[Metric]:
        return []  # else registering would ask the engine

    def collect(self) -> Iterator[Metric]:
        try:
            stats, info = self._engine.stats(), self._engine.info()
        except EngineError:
            yield _gauge("ready", "1 when the engine answers.", 0)
            return
        yield _gauge("ready", "1 when the engine answers.", 1)
        yield _gauge("num_requests_waiting", "Requests in the queue.", stats.waiting)
        yield _gauge("num_requests_running", "Continuations being written.", stats.running)
        yield from _counters(stats)
        yield _gauge("process_rss_bytes", "Memory of the engine's process.", stats.memory_bytes)
        cache = sum(model.cache_bytes for model in info.models)
        yield _gauge("kv_bytes_limit", "Bytes of cache there are.", cache)
        used = cache * stats.pages_used / max(1, stats.pages)
        yield _gauge("kv_bytes", "Bytes of it in use.", used)
        yield _gauge("kv_usage", "Share of it in use, from 0 to 1.", used / max(1, cache))


def _gauge(name: str, help: str, value: float) -> Metric:
    return GaugeMetricFamily(f"continuo_{name}", help, value)


def _counters(stats: EngineStats) -> Iterator[Metric]:
    """Of a cluster those of each replica: their sum falls when one leaves, which is no reset."""
    labels = ["replica"] if stats.replicas else []
    requests = CounterMetricFamily(
        "continuo_requests", "Requests by how they ended.", labels=[*labels, "outcome"]
    )
    counters = {
        field: CounterMetricFamily(f"continuo_{name}", help, labels=labels)
        for field, (name, help) in COUNTERS.items()
    }
    for replica, part in stats.parts.items():
        values = [replica] * len(labels)
        for outcome, count in part.outcomes.items():
            requests.add_metric([*values, outcome], count)
        for field, counter in counters.items():
            counter.add_metric(values, getattr(part, field))
    yield from (requests, *counters.values())
