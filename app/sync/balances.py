"""Reading balances: of each account now and then, and soon after a call that may have moved it.

It goes to another host, with a pace of its own. Where a balance can't be read, it is tried again later, and
nothing else changes: neither the account's looks and calls, nor its key's status, nor the breaker.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from datetime import datetime

import structlog

from app.accounts import balance_schedule, balances
from app.accounts.balance_schedule import Due
from app.accounts.calls import UpstreamCalls, WatchedAccount
from app.accounts.observed import observed
from app.accounts.pace import NotYet, Pace
from app.audit import repository as audit
from app.audit.repository import Uses
from app.database import WORKER, Access, Database
from app.errors import RentgateError, UpstreamBusy
from app.telemetry import Metrics
from app.upstream.balance import METHOD, BalanceClient
from app.upstream.errors import CallFailed

READ_AT_ONCE = 20
LONGEST_PAUSE = 600.0
CLAIM_MARGIN_SECONDS = 15.0
"""How much longer than a call a claim lasts: for the key to be opened, and for what was read to be kept."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class BalanceTimes:
    """Seconds between two readings of an account that nothing moves, and until one that failed is tried again
    for the first time.
    """

    interval: float = 600.0
    retry: float = 10.0

    def pause(self, error: RentgateError, failures: int) -> float:
        """Seconds until the next try after one that failed: longer each time in a row, up to the interval, or
        to 10 minutes if that is longer.

        Args:
            failures: how many had failed in a row before.
        """
        seconds = self.retry * float(2 ** min(failures, 10)) * random.uniform(1.0, 1.25)  # noqa: S311
        if isinstance(error, UpstreamBusy) and error.retry_after:
            seconds = max(seconds, error.retry_after)
        return min(seconds, self.interval, LONGEST_PAUSE)


class BalanceReader:
    """Reads the balances of all tenants' accounts. Any number of processes may; an account is read by one."""

    def __init__(
        self,
        database: Database,
        calls: UpstreamCalls,
        client: BalanceClient,
        pace: Pace,
        metrics: Metrics,
        *,
        call_timeout: float,
        times: BalanceTimes,
    ) -> None:
        self._database = database
        self._calls = calls
        self.client = client
        self._pace = pace
        self._metrics = metrics
        self._claim_seconds = call_timeout + CLAIM_MARGIN_SECONDS
        self._times = times
        self._reading: set[asyncio.Task[None]] = set()

    async def step(self) -> None:
        """Begin to read the balances that are due, and don't wait for them."""
        room = READ_AT_ONCE - len(self._reading)
        if room <= 0:
            return
        async with self._database.transaction(WORKER) as connection:
            found = await balance_schedule.claim(connection, room, self._claim_seconds)
        for due in found:
            task = asyncio.ensure_future(self._attend(due))
            self._reading.add(task)
            task.add_done_callback(self._reading.discard)

    async def idle(self) -> None:
        """Wait until what is being read has been."""
        if self._reading:
            await asyncio.wait(set(self._reading))

    async def stop(self) -> None:
        """Give up what is being read: it costs nothing, and is read again once its claim has lapsed."""
        for task in self._reading:
            task.cancel()
        await self.idle()

    async def _attend(self, due: Due) -> None:
        """Read one balance. Whatever goes wrong, it is tried again; if that can't even be noted, once its
        claim has lapsed.
        """
        try:
            try:
                await self._read(due)
            except NotYet as turn:
                async with self._database.transaction(Access.tenant(due.tenant_id)) as connection:
                    await balance_schedule.put_off(connection, due, turn.seconds)
            except RentgateError as error:
                await self._note_failure(due, error)
        except RentgateError as away:
            log.info("balance.failure_not_noted", code=away.code)
        except Exception:
            log.exception("balance.crashed", upstream_key_id=str(due.upstream_key_id))

    async def _read(self, due: Due) -> None:
        account = WatchedAccount(due.tenant_id, due.upstream_key_id)
        await self._pace.wait_for_balance(due.upstream_key_id)
        await self._calls.keys.make_ready(due.tenant_id, due.upstream_key_id)
        async with self._database.transaction(Access.tenant(due.tenant_id)) as connection:
            renewed = await balance_schedule.renew(connection, due, self._claim_seconds)
            if renewed is None:
                return
            api_key = await self._calls.open_for(connection, account)
        await self._ask(*renewed, api_key)

    async def _ask(self, due: Due, asked_at: datetime, api_key: str) -> None:
        try:
            amount = await observed(
                self._metrics, METHOD, due.upstream_key_id, lambda: self.client.balance(api_key)
            )
        except CallFailed as failure:
            await self._note_failure(due, failure.error, was_asked=True)
            return
        async with self._database.transaction(Access.tenant(due.tenant_id)) as connection:
            await balances.note_reading(connection, due, amount, asked_at, self._times.interval)
            await audit.count_background_calls(connection, [_use(due, audit.SUCCEEDED)])

    async def _note_failure(self, due: Due, error: RentgateError, *, was_asked: bool = False) -> None:
        pause = self._times.pause(error, due.failures)
        log.info(
            "balance.unread",
            upstream_key_id=str(due.upstream_key_id),
            code=error.code,
            failures=due.failures + 1,
            next_in=round(pause, 1),
        )
        async with self._database.transaction(Access.tenant(due.tenant_id)) as connection:
            await balance_schedule.note_failure(connection, due, error.code, pause)
            if was_asked:
                await audit.count_background_calls(connection, [_use(due, error.code)])


def _use(due: Due, outcome: str) -> Uses:
    return Uses(due.tenant_id, due.upstream_key_id, METHOD, outcome, 1)
