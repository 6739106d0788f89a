"""Sends spans off by OTLP over HTTP, in a thread of its own: a collector that is away disturbs nobody."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from threading import Thread

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Tracer

from app import __version__

FLUSH_SECONDS = 3.0
"""How long the end of a process waits for its last spans to be taken."""

log = structlog.get_logger(__name__)


class Exporter:
    """A tracer whose spans go where OpenTelemetry's variables say; those that can't are dropped."""

    def __init__(self) -> None:
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # else a line for each try that failed
        resource = {
            "service.name": os.environ.get("OTEL_SERVICE_NAME") or "rentgate",
            "service.version": __version__,
        }
        self._sending = _Sending()
        # A provider of our own, not the process's: what else would find that one tells more than we do.
        self._provider = TracerProvider(resource=Resource.create(resource), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(self._sending))

    @property
    def tracer(self) -> Tracer:
        """Makes the spans."""
        return self._provider.get_tracer("rentgate", __version__)

    async def aclose(self) -> None:
        """Send off what waits, but not for longer than some seconds."""
        flushing = Thread(target=self._provider.shutdown, daemon=True)  # no thread that the loop waits for
        flushing.start()
        await asyncio.to_thread(flushing.join, FLUSH_SECONDS)
        if flushing.is_alive():
            self._sending.give_up()


class _Sending(SpanExporter):
    """OpenTelemetry's exporter; the log tells once that it fails, and once that it works again."""

    def __init__(self) -> None:
        self._exporter = OTLPSpanExporter()
        self._away = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans; called by the processor's thread alone."""
        result = self._exporter.export(spans)
        away = result is not SpanExportResult.SUCCESS
        if away and not self._away:
            log.warning("traces.collector_away", advice="Spans are dropped until it takes them.")
        elif self._away and not away:
            log.info("traces.collector_back")
        self._away = away
        return result

    def shutdown(self) -> None:
        """Send nothing more; called by the processor when it has ended."""
        self.give_up()

    def give_up(self) -> None:
        """Send nothing more, and don't try again what is being tried."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]
