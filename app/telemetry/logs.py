"""Structured logs: one JSON object a line, on standard output, for our own events and the libraries'."""

from __future__ import annotations

import logging
import logging.config
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import structlog

from app.telemetry.redaction import redacted, redacted_values

_LIBRARIES = {
    # The gateway's own access log has the tenant and the route; uvicorn's would double it.
    "uvicorn.access": {"handlers": [], "propagate": False, "level": "CRITICAL"},
    "uvicorn": {"handlers": [], "propagate": True, "level": "INFO"},
    "alembic": {"level": "WARNING"},
}


def configure_logging(level: str = "INFO", *, file: Path | None = None) -> None:
    """Set up logging for this process; everything that is written passes the redaction, tracebacks too.

    Args:
        level: the least that is written.
        file: written to instead of standard output.
    """
    target = {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}
    if file is not None:
        target = {"class": "logging.FileHandler", "filename": str(file)}
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _plain,
        _redact,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "json": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "processors": [
                        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                        structlog.processors.JSONRenderer(default=_as_text),
                    ],
                    "foreign_pre_chain": shared,
                }
            },
            "handlers": {"out": {**target, "formatter": "json"}},
            "root": {"handlers": ["out"], "level": level.upper()},
            "loggers": _LIBRARIES,
        }
    )


def _redact(_logger: Any, _method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Redact what an entry says; structlog's own members (`_record` and the like) are not written."""
    for key, value in entry.items():
        if not key.startswith("_"):
            entry[key] = redacted_values(value)
    return entry


def _plain(_logger: Any, _method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drop what uvicorn adds for terminals."""
    entry.pop("color_message", None)
    return entry


def _as_text(value: Any) -> str:
    return redacted(str(value))
