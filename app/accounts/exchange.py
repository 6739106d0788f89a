"""One call whose turn has come: behind the breaker, counted and traced, and heard if it asks for a pause."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

import structlog

from app.accounts.breaker import Breaker
from app.accounts.health import Observations
from app.accounts.observed import observed
from app.accounts.pace import Pace
from app.accounts.set_aside_reports import SetAsideReports
from app.errors import DatabaseUnavailable, RentgateError, UpstreamBusy, UpstreamTimeout, UpstreamUnavailable
from app.telemetry import Metrics
from app.upstream.client import UpstreamClient
from app.upstream.errors import CallFailed, Outcome
from app.upstream.set_aside import Findings

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Exchange:
    """Makes the calls of a process, each when it is told to."""

    def __init__(self, client: UpstreamClient, pace: Pace, metrics: Metrics) -> None:
        self._client = client
        self._pace = pace
        self._metrics = metrics
        self._breaker = Breaker()
        self._set_aside = SetAsideReports(metrics)

    async def make(
        self,
        method: str,
        upstream_key_id: UUID | None,
        call: Callable[[UpstreamClient], Awaitable[T]],
        readings: Observations | None = None,
    ) -> T:
        """Make a call once.

        Args:
            method: the upstream's name of the call, for metrics.
            upstream_key_id: the account that it is made for; None for a call without a key.
            readings: takes up what its answer holds that can't be read.

        Raises:
            CallFailed: with what is certain of the outcome.
        """

        def observe(findings: Findings) -> None:
            self._set_aside.report(findings)
            if readings is not None:
                readings.add(findings)

        try:
            self._breaker.pass_or_refuse()
        except UpstreamUnavailable as error:
            raise CallFailed(Outcome.NOT_SENT, error, method) from None
        try:
            result = await observed(
                self._metrics, method, upstream_key_id, lambda: call(self._client.observed_by(observe))
            )
        except CallFailed as failure:
            if failure.outcome is not Outcome.NOT_SENT:
                await self._hold_off(upstream_key_id, failure.error)
            if isinstance(failure.error, UpstreamUnavailable | UpstreamTimeout):
                self._breaker.failed()
            else:
                self._breaker.answered()
            raise
        self._breaker.answered()
        return result

    async def _hold_off(self, upstream_key_id: UUID | None, error: RentgateError) -> None:
        """If the upstream limits an account's calls, none is made before it wants one."""
        if upstream_key_id is None or not isinstance(error, UpstreamBusy) or error.retry_after is None:
            return
        try:
            await self._pace.hold_off(upstream_key_id, error.retry_after)
        except DatabaseUnavailable as away:  # what came of the call must not be lost over this
            log.warning("pace.not_held_off", upstream_key_id=str(upstream_key_id), code=away.code)
