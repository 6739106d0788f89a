"""Tells operators what of the upstream's answers is set aside: counted each time, logged once an hour."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from app.telemetry import Metrics
from app.upstream.set_aside import Findings, SetAside

REPEAT_SECONDS = 3600.0

log = structlog.get_logger(__name__)


class SetAsideReports:
    """The reports of one process."""

    def __init__(self, metrics: Metrics, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._clock = clock
        self._logged: dict[SetAside, float] = {}

    def report(self, findings: Findings) -> None:
        """Report what one answer held that can't be read; of a value only its place and its kind."""
        now = self._clock()
        for finding in findings.set_aside:
            self._metrics.set_aside(finding.method, finding.field)
            logged_at = self._logged.get(finding)
            if logged_at is None or now - logged_at >= REPEAT_SECONDS:
                self._logged[finding] = now
                log.warning(
                    "upstream.set_aside", method=finding.method, field=finding.field, kind=finding.kind
                )
