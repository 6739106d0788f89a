"""What the gateway tells of itself: structured logs, metrics, and the redaction that both pass through."""

from app.telemetry.logs import configure_logging
from app.telemetry.metrics import Metrics

__all__ = ["Metrics", "configure_logging"]
