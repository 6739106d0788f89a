"""One poll of an account: its orders once, messages where something is new, and what follows from both."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar, cast
from uuid import UUID

import structlog

from app.accounts import schedule
from app.accounts.calls import UpstreamCalls
from app.accounts.health import LIST
from app.accounts.pace import NotYet
from app.audit.caller import Caller, background
from app.database import Access, Database
from app.database.pipeline import Query, run_together
from app.errors import (
    RentgateError,
    UpstreamBadResponse,
    UpstreamRefusedError,
)
from app.operations import lookup
from app.operations.operation import Operation
from app.operations.states import State
from app.rentals import intake, message_reads
from app.settlement.unknowns import settle_from_list
from app.sync.assignments import Lease, Requests
from app.sync.failures import note_failure
from app.sync.history import HistoryReader
from app.sync.intervals import Intervals
from app.sync.learning import health_now, keep_health, learn
from app.sync.messages import MessageReader
from app.sync.pages import Ask
from app.sync.watch import Reading, Watch
from app.telemetry import Metrics, traces
from app.upstream.client import News, UpstreamClient
from app.upstream.rows import Listing
from app.upstream.wire import Order, SmsLists

T = TypeVar("T")

LEAST_READING_SECONDS = 1.0
"""How long a look may read messages and the archive, at least."""

UNREADABLE = (UpstreamBadResponse, UpstreamRefusedError)
"""The upstream answered, but not with what was asked for; its other methods may still be readable."""

log = structlog.get_logger(__name__)

_CLOCK = "select clock_timestamp() as now"


class Lost(Exception):
    """The lease was lost: another worker has this account, so what was seen is not written."""


class Looker:
    """Polls accounts for the workers that have them."""

    def __init__(
        self, database: Database, calls: UpstreamCalls, intervals: Intervals, metrics: Metrics
    ) -> None:
        self.intervals = intervals
        self._metrics = metrics
        self._database = database
        self._calls = calls
        self._history = HistoryReader(database, intervals)
        self._messages = MessageReader(database)

    async def look(self, watch: Watch, lease: Lease, requests: Requests, *, due: bool = True) -> None:
        """Poll once an account that is assigned to a worker.

        Args:
            watch: what is remembered of it, which this brings up to date.
            requests: those of callers, which are answered as soon as their rentals are read.
            due: the list is due; else it is read only if it wasn't asked for within the interval.

        Raises:
            NotYet: the background has to wait for its turn.
            Lost: the account is another worker's by now.
            RentgateError: the poll failed.
        """
        key_id = watch.account.upstream_key_id
        parent = requests.pending[0].traceparent if requests.pending else None
        with traces.span("look", {"rentgate.upstream_key_id": str(key_id)}, parent=parent) as span:
            try:
                await self._look(watch, lease, requests, due=due)
            except RentgateError as error:
                span.fail(error.code)
                raise
            finally:
                await keep_health(self._database, watch)
                watch.odd.clear()

    async def _look(self, watch: Watch, lease: Lease, requests: Requests, *, due: bool) -> None:
        if requests.pending:
            is_old = watch.list_asked_at < requests.since
            is_asked = is_old or watch.list_failed or (due and watch.list_due)
        else:
            is_asked = watch.list_due
        if is_asked:
            await self._read_list(watch, lease, requests.pending[0].caller if requests.pending else None)
        elif watch.needs_database:
            await self._learn(watch)
        try:
            await self._read_on(watch, lease, requests)
        except NotYet:
            return  # the pace leaves no room for more now; the next poll goes on

    async def _read_list(self, watch: Watch, lease: Lease, caller: Caller | None) -> None:
        """Read the list of orders and take it in. One that can't be read is put off: the messages of known
        orders can be read all the same.
        """
        by_database = watch.needs_database
        watch.stale = watch.listed = False  # what changes from now on is for the next look
        try:
            looked_from = None if by_database else lease.now()
            if looked_from is None:
                looked_from, by_database = await self._prepare(watch, for_caller=caller is not None), True
            known = None if by_database or watch.health.has(LIST) else watch.listing

            async def call(client: UpstreamClient, api_key: str) -> News[Listing[Order]]:
                watch.list_asked_at = time.monotonic()
                return await client.orders_if_new(api_key, known)

            listing = await self._ask(
                watch,
                caller,
                LIST,
                call,
                patient=watch.unsettled,
            )
            if listing.content is not None:
                await self._take_in(watch, lease, listing.content, looked_from)
                watch.listing = listing.digest
            watch.seen_at, watch.listed, watch.list_retry_at = time.monotonic(), True, 0.0
        except UNREADABLE as error:
            await note_failure(self._database, watch, lease, error)
            await self._learn(watch)
            pause = self.intervals.list_pause(watch.failures, unsettled=watch.unsettled)
            watch.list_retry_at = time.monotonic() + pause
            log.info("look.list_put_off", upstream_key_id=str(watch.account.upstream_key_id), code=error.code)
        except BaseException:
            watch.stale = True
            raise

    async def _learn(self, watch: Watch) -> None:
        """Learn from the database what waits for this look, where no list can tell."""
        watch.stale = False
        try:
            async with self._database.transaction(Access.tenant(watch.account.tenant_id)) as connection:
                await learn(connection, watch)
        except BaseException:
            watch.stale = True
            raise

    async def _read_on(self, watch: Watch, lease: Lease, requests: Requests) -> None:
        """Read the messages that somebody waits for or that the list tells of; then the archive, if it is
        wanted, and the slow round of messages, which come first in turn. Where an order that is gone waits
        for the archive, that comes first of all in its turn: who polls all the time must not keep it waiting.

        Callers are answered before the archive and the slow round. This takes about an interval, however much
        there is to read: the next poll, which goes on with the rest, may have a purchase to settle.

        Raises:
            NotYet: the pace leaves no room for more now.
            RentgateError: no messages can be read.
        """
        enough = time.monotonic() + max(LEAST_READING_SECONDS, self.intervals.busy)
        callers: dict[UUID, Caller] = {}
        for request in requests.pending:
            callers.setdefault(request.rental_id, request.caller)
        first = next(iter(callers), None)  # of each poll at least one caller comes to his answer
        pressing, slow_round = watch.due(callers, requests.since)

        async def ask(reading: Reading) -> News[SmsLists]:
            return await self._ask(
                watch,
                callers.get(reading.rental_id),
                "sms",
                lambda client, api_key: client.sms_if_new(
                    api_key, None if reading.troubled else reading.digest, order_id=reading.order_id
                ),
                subject=reading.order_id,
            )

        async def keep_on(reading: Reading | None = None) -> bool:
            if time.monotonic() > enough and (reading is None or reading.rental_id != first):
                return False
            if not lease.holds:
                raise Lost
            return True

        watch.archive_next = not watch.archive_next
        if watch.archive_next and watch.gone and not callers:
            await self._history.read(watch, self._asking(watch), keep_on)
        await self._messages.read(watch, pressing, ask, keep_on)
        await requests.answer()
        if watch.archive_next:
            await self._history.read(watch, self._asking(watch), keep_on)
        await self._messages.read(watch, slow_round, ask, keep_on)
        if not watch.archive_next:
            await self._history.read(watch, self._asking(watch), keep_on)

    async def _ask(
        self,
        watch: Watch,
        caller: Caller | None,
        method: str,
        call: Callable[[UpstreamClient, str], Awaitable[T]],
        *,
        patient: bool = False,
        subject: str = "",
    ) -> T:
        """Make a call in the name of the caller who wants it, or in the background's."""
        if caller is not None:
            return await self._calls.read(
                caller, watch.account.upstream_key_id, method, call, subject=subject
            )
        try:
            return await self._calls.watch(watch.account, method, call, patient=patient, subject=subject)
        finally:
            if health_now(watch).status.is_worse_than(watch.health.status):
                # What the answer holds may take long to be kept.
                await keep_health(self._database, watch)

    def _asking(self, watch: Watch) -> Ask:
        return lambda method, call: self._ask(watch, None, method, call)

    async def _prepare(self, watch: Watch, *, for_caller: bool) -> datetime:
        """Learn from the database what waits for this look; returns its time."""
        account = watch.account
        if not for_caller:
            await self._calls.keys.make_ready(account.tenant_id, account.upstream_key_id)
        tenant_id, key_id = account.tenant_id, account.upstream_key_id
        async with self._database.transaction(Access.tenant(tenant_id)) as connection:
            now, unknown = await run_together(
                connection,
                Query(_CLOCK, {}, lambda answer: cast("datetime", answer.row.now)),
                lookup.standing_of_account(tenant_id, key_id, State.UNKNOWN),
            )
            watch.unsettled = bool(unknown)
            if not for_caller:
                await self._calls.open_for(connection, account)
        return now

    async def _take_in(
        self, watch: Watch, lease: Lease, orders: Listing[Order], looked_from: datetime
    ) -> None:
        account = watch.account
        tenant_id, key_id = account.tenant_id, account.upstream_key_id
        async with self._database.transaction(Access.tenant(tenant_id)) as connection:
            if not await schedule.holds(connection, tenant_id, key_id, lease.holder):
                raise Lost
            taken = await intake.take_in(connection, background(tenant_id), key_id, orders, looked_from)
            settled = await settle_from_list(
                connection,
                tenant_id,
                key_id,
                orders,
                looked_from,
                reconcile_seconds=self.intervals.reconcile,
                interval=self.intervals.busy,
            )
            if watch.failures:
                await self._calls.keys.accept(connection, background(tenant_id), key_id)
                await schedule.note_failures(
                    connection, tenant_id, key_id, lease.holder, failures=0, error_code=None
                )
            await message_reads.note_messages_read(connection, watch.unwritten_reads())
            await learn(connection, watch)
        watch.read_lately.clear()
        watch.failures = 0
        watch.undecided |= taken.undecided
        await self._history.archive.close_by(account, [order for order in taken.gone if order.ended], {})
        watch.note_gone([order for order in taken.gone if not order.ended])
        watch.compared_at = time.monotonic()
        for operation in settled:
            self._note_settled(operation)

    def _note_settled(self, operation: Operation) -> None:
        if operation.sent_at is None or operation.settled_at is None:
            return
        seconds = (operation.settled_at - operation.sent_at).total_seconds()
        with traces.span(f"operation {operation.kind} settled", operation.told):
            self._metrics.operation_settled(operation.kind, operation.state.value, seconds)
        log.info(
            "operation.settled",
            operation_id=str(operation.id),
            state=operation.state.value,
            seconds=round(seconds, 1),
        )
