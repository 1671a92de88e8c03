"""Spans, as a collector receives them over HTTP."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from app.web.watch import traces

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def collector():
    """Its address, and what was sent there."""
    received = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/traces", received
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_request_is_a_span_of_its_callers_trace(collector, make_client):
    proto = pytest.importorskip(
        "opentelemetry.proto.collector.trace.v1.trace_service_pb2",
        reason="needs requirements-traces.txt",
    )
    address, received = collector
    client = make_client(traces=address)
    asked = {"prompt": "a secret", "max_tokens": 3}
    client.post("/generate", json=asked, headers={"traceparent": PARENT}).close()
    client.application.extensions["continuo"].traces._provider.shutdown()  # sends what is left
    [sent] = received
    assert b"secret" not in sent
    [resource] = proto.ExportTraceServiceRequest.FromString(sent).resource_spans
    [span] = resource.scope_spans[0].spans
    assert span.name == "POST /generate"
    assert span.trace_id.hex() in PARENT and span.parent_span_id.hex() in PARENT
    known = {entry.key: entry.value for entry in span.attributes}
    assert known["http.response.status_code"].int_value == 200
    assert known["gen_ai.usage.output_tokens"].int_value == 3
    events = [event.name for event in span.events]
    assert events == ["prefill", "first token", "over"]
    assert span.start_time_unix_nano < span.end_time_unix_nano


def test_without_the_library_a_sentence_says_what_to_install(monkeypatch):
    def missing(endpoint):
        raise ImportError

    monkeypatch.setattr(traces, "SentTraces", missing)
    with pytest.raises(ValueError, match="pip install -r requirements-traces.txt"):
        traces.make_traces("http://127.0.0.1:4318/v1/traces")
