"""What the gateway tells of itself: structured logs, metrics, traces, and the redaction that texts pass."""

from app.telemetry.logs import configure_logging
from app.telemetry.metrics import Metrics

__all__ = ["Metrics", "configure_logging"]
