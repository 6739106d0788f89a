"""A collector of traces: it takes OTLP over HTTP, and keeps the bytes as they came and the spans in them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent
from opentelemetry.proto.trace.v1.trace_pb2 import Status


@dataclass(frozen=True, slots=True)
class Collected:
    """A span; ids in hex, `parent` empty if it has none, `links` as (trace, span)."""

    name: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, Any]
    links: list[tuple[str, str]]
    failed: bool

    @classmethod
    def of(cls, span: Sent) -> Collected:
        """The span as it was sent; that it holds no event is seen to, since exceptions would be some."""
        assert not span.events
        assert not span.status.message
        assert not span.trace_state
        return cls(
            span.name,
            span.trace_id.hex(),
            span.span_id.hex(),
            span.parent_span_id.hex(),
            {one.key: getattr(one.value, one.value.WhichOneof("value") or "") for one in span.attributes},
            [(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
            span.status.code == Status.STATUS_CODE_ERROR,
        )


@dataclass(slots=True)
class Collector:
    """What came: `raw` holds all bytes, `paths` where they were sent."""

    url: str = ""
    raw: bytes = b""
    spans: list[Collected] = field(default_factory=list)
    services: set[str] = field(default_factory=set)
    paths: set[str] = field(default_factory=set)

    def named(self, name: str) -> list[Collected]:
        """The spans of a name."""
        return [span for span in list(self.spans) if span.name == name]

    def take(self, headers: str, body: bytes) -> None:
        """Keep what a request brought."""
        self.raw += headers.encode() + body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            names = [
                one.value.string_value for one in resource.resource.attributes if one.key == "service.name"
            ]
            self.services.update(names)
            self.spans += [Collected.of(span) for scope in resource.scope_spans for span in scope.spans]


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a free port."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            collector.paths.add(self.path)
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/v1/traces":
                collector.take(str(self.headers), body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    collector.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
