"""OpenTelemetry, if CONTINUO_TRACES is set: a span for each request, without any text.

Made at the request's end, from its log line; a traceparent header names its parent. Needs
requirements-traces.txt.
"""

import time
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from ..run.run import Run
    from .log import Line


class Traces(Protocol):
    def note(self, line: "Line", runs: "list[Run]", parent: str | None) -> None:
        """Send the span of a request; `line` is its log line."""
        ...


class NoTraces:
    def note(self, line: "Line", runs: "list[Run]", parent: str | None) -> None:
        pass


class SentTraces:
    def __init__(self, endpoint: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        self._provider = TracerProvider(resource=Resource({"service.name": "continuo"}))
        exporter = OTLPSpanExporter(endpoint=endpoint)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1000))
        self._tracer = self._provider.get_tracer("continuo")

    def note(self, line: "Line", runs: "list[Run]", parent: str | None) -> None:
        from opentelemetry.trace import SpanKind, Status, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        end = time.time_ns()
        start = end - int(line.ms * 1e6)
        context = TraceContextTextMapPropagator().extract({"traceparent": parent or ""})
        span = self._tracer.start_span(
            f"{line.method} {line.path}",
            context,
            SpanKind.SERVER,
            {
                "http.request.method": line.method,
                "url.path": line.path,
                "http.response.status_code": line.status,
                "continuo.request_id": line.id,
            },
            start_time=start,
        )
        for run in runs:
            _tell(span, run, start)
        if line.status >= 500 or any(run.failure is not None for run in runs):
            span.set_status(Status(StatusCode.ERROR, line.problem or None))
        span.end(end)


def _tell(span: Any, run: "Run", start: int) -> None:
    """Mark when it left the queue, and when its first token came."""
    about: dict[str, Any] = {"continuo.model": run.model, "continuo.end": run.end}
    if run.usage is not None:
        about["gen_ai.usage.input_tokens"] = run.usage.prompt_tokens
        about["gen_ai.usage.output_tokens"] = run.usage.completion_tokens
    if run.timings is not None:
        span.add_event("prefill", {}, start + int(run.timings.queue_ms * 1e6))
        span.add_event("first token", {}, start + int(run.timings.first_token_ms * 1e6))
    span.add_event("over", about)
    span.set_attributes(about)


def make_traces(endpoint: str | None) -> Traces:
    if endpoint is None:
        return NoTraces()
    try:
        return SentTraces(endpoint)
    except ImportError:
        raise ValueError(
            "CONTINUO_TRACES needs OpenTelemetry: pip install -r requirements-traces.txt."
        ) from None
