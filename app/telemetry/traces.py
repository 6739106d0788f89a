"""Traces by OpenTelemetry: spans that say what took how long, and what caused it. Off unless told where to.

    with traces.span("look", {"rentgate.upstream_key_id": str(key_id)}) as span:
        ...
        span.note({"rentgate.outcome": "succeeded"})

A span tells names, ids, states and durations. It never tells a URL, a header, a body or what an exception
says, since any of these may hold a key; texts pass the redaction as those of logs do. While traces are off, a
span is one shared object that does nothing, and OpenTelemetry's SDK is not even imported.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from app.telemetry.redaction import redacted

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
"""The standard variable that turns traces on; the others of OpenTelemetry are heeded too."""

TRACEPARENT = "traceparent"

CLIENT, SERVER = SpanKind.CLIENT, SpanKind.SERVER
"""The kinds of spans that end at somebody else's, and that begin there."""

Value = str | int | float | None

_W3C = TraceContextTextMapPropagator()


class Span:
    """A block of work under way, to say more of it."""

    __slots__ = ("_failed", "_span")

    def __init__(self, span: trace.Span | None) -> None:
        self._span = span
        self._failed = False

    def note(self, attributes: Mapping[str, Value]) -> None:
        """Add what is known by now; what is None is left out."""
        if self._span is not None:
            self._span.set_attributes(_told(attributes))

    def rename(self, name: str) -> None:
        """Call it by a better name."""
        if self._span is not None:
            self._span.update_name(name)

    def fail(self, kind: str) -> None:
        """Mark it as failed; `kind` is an error's code, never what it says. The first one stays."""
        if self._span is not None and not self._failed:
            self._failed = True
            self._span.set_status(StatusCode.ERROR)
            self._span.set_attribute("error.type", kind)


_OFF = nullcontext(Span(None))
_tracer: trace.Tracer | None = None


def is_on() -> bool:
    """Whether spans are recorded."""
    return _tracer is not None


def span(
    name: str,
    attributes: Mapping[str, Value],
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    parent: str | None = None,
    link: str | None = None,
) -> AbstractContextManager[Span]:
    """A span around a block, within the one around that; an exception that leaves the block fails it.

    Args:
        attributes: what is known from the start; what is None is left out.
        parent: the `traceparent` of who caused it, if that is outside this process.
        link: the `traceparent` of what led to it.
    """
    if _tracer is None:
        return _OFF
    return _recorded(_tracer, name, attributes, kind=kind, parent=parent, link=link)


def headers() -> dict[str, str]:
    """The W3C header by which others go on with the present span; nothing while there is none."""
    carrier: dict[str, str] = {}
    if _tracer is not None:
        _W3C.inject(carrier)
    return carrier


@asynccontextmanager
async def exporting() -> AsyncIterator[None]:
    """Traces spans meanwhile, if the environment says where to, and sends off the last ones at the end."""
    global _tracer  # noqa: PLW0603  one process has one, as it has one log
    if not os.environ.get(ENDPOINT):
        yield
        return
    from app.telemetry.exporter import Exporter  # noqa: PLC0415  what is off is not loaded

    exporter = Exporter()
    _tracer = exporter.tracer
    try:
        yield
    finally:
        _tracer = None
        await exporter.aclose()


@contextmanager
def _recorded(
    tracer: trace.Tracer,
    name: str,
    attributes: Mapping[str, Value],
    *,
    kind: SpanKind,
    parent: str | None,
    link: str | None,
) -> Iterator[Span]:
    linked = trace.get_current_span(_context(link)).get_span_context() if link else None
    with tracer.start_as_current_span(
        name,
        context=_context(parent) if parent else None,
        kind=kind,
        attributes=_told(attributes),
        links=[trace.Link(linked)] if linked is not None and linked.is_valid else None,
        record_exception=False,
        set_status_on_exception=False,
    ) as recorded:
        told = Span(recorded)
        try:
            yield told
        except Exception as error:
            told.fail(type(error).__name__)
            raise


def _context(traceparent: str) -> Context:
    """The context that a header tells of; an empty one if it tells of none."""
    return _W3C.extract({TRACEPARENT: traceparent}, Context())


def _told(attributes: Mapping[str, Value]) -> dict[str, str | int | float]:
    return {
        name: redacted(value) if isinstance(value, str) else value
        for name, value in attributes.items()
        if value is not None
    }
