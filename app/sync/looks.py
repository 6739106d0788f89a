"""One look at an account: its orders once, messages where something is new, and what follows from both."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol, TypeVar, cast
from uuid import UUID

import sqlalchemy as sa
import structlog

from app.accounts import health_records, schedule
from app.accounts.calls import UpstreamCalls
from app.accounts.health import LIST
from app.accounts.pace import NotYet
from app.audit.caller import Caller, background
from app.database import Access, Database
from app.errors import (
    DatabaseUnavailable,
    InternalError,
    NotFound,
    RentgateError,
    UpstreamBadResponse,
    UpstreamBusy,
    UpstreamKeyRejected,
    UpstreamRefusedError,
    VaultUnavailable,
)
from app.operations import ledger, lookup
from app.operations.operation import Operation
from app.operations.states import State
from app.queries import Query, Statement, run_together
from app.rentals import intake, message_reads
from app.settlement.unknowns import settle_from_list
from app.sync.archive import AGAIN_SECONDS, Archive
from app.sync.intervals import LONGEST_UNREADABLE, Intervals
from app.sync.learning import health_changes, health_now, learn, note_health
from app.sync.messages import MessageReader
from app.sync.pages import HISTORY, Ask, Walk
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

NOT_THE_LIST = (
    DatabaseUnavailable,
    VaultUnavailable,
    UpstreamBusy,
    UpstreamKeyRejected,
    NotFound,
    InternalError,
)
"""A look that failed so says nothing of how well the list can be read."""

log = structlog.get_logger(__name__)

_CLOCK = Statement(sa.select(sa.func.clock_timestamp().label("now")))


class Hold(Protocol):
    """The right to look at an account."""

    holder: UUID

    async def keep(self) -> bool:
        """See that the right lasts for one more call; False if it is lost."""

    def now(self) -> datetime | None:
        """The database's time, or a moment before; None if that isn't known without asking."""


class Lost(Exception):
    """Somebody else holds the account by now; what was seen is his to write."""


class Looker:
    """Looks at accounts, for whoever holds them."""

    def __init__(
        self, database: Database, calls: UpstreamCalls, intervals: Intervals, metrics: Metrics
    ) -> None:
        self.intervals = intervals
        self._metrics = metrics
        self._database = database
        self._calls = calls
        self._archive = Archive(database)
        self._messages = MessageReader(database)

    async def look(
        self, watch: Watch, hold: Hold, *, caller: Caller | None = None, wanted: UUID | None = None
    ) -> None:
        """Look once at an account that is held.

        Args:
            watch: what is remembered of it, which this brings up to date.
            caller: who wants to see it now; the background if nobody does.
            wanted: the rental whose messages the caller wants.

        Raises:
            NotYet: the background has to wait for its turn.
            Lost: the account is somebody else's by now.
            RentgateError: the look failed.
        """
        key_id = watch.account.upstream_key_id
        with traces.span("look", {"rentgate.upstream_key_id": str(key_id)}) as span:
            try:
                await self._look(watch, hold, caller, wanted)
            except RentgateError as error:
                span.fail(error.code)
                raise
            finally:
                await self._note_health(watch)

    async def note_failure(self, watch: Watch, hold: Hold, error: RentgateError) -> None:
        """Note that a look failed, for whoever wants to know why nothing is seen."""
        watch.failures += 1
        watch.stale = True
        account = watch.account
        tenant_id, key_id = account.tenant_id, account.upstream_key_id
        async with self._database.transaction(Access.tenant(tenant_id)) as connection:
            await schedule.note_failures(
                connection, tenant_id, key_id, hold.holder, failures=watch.failures, error_code=error.code
            )
            if not watch.listed:  # after the account's row, as everybody locks them
                await ledger.forget_last_absence(connection, tenant_id, key_id)
                if not isinstance(error, NOT_THE_LIST):
                    watch.health = await health_records.fail(
                        connection, background(tenant_id), key_id, watch.failures, str(error)
                    )

    async def _look(self, watch: Watch, hold: Hold, caller: Caller | None, wanted: UUID | None) -> None:
        if caller is not None or time.monotonic() >= watch.list_retry_at:
            await self._read_list(watch, hold, caller)
        elif watch.needs_database:
            await self._learn(watch)
        try:
            await self._read_on(watch, hold, caller, wanted)
        except NotYet:
            return  # the pace leaves no room for more now; the next look goes on

    async def _read_list(self, watch: Watch, hold: Hold, caller: Caller | None) -> None:
        """Read the list of orders and take it in. One that can't be read is put off: the messages of known
        orders can be read all the same.
        """
        by_database = watch.needs_database
        watch.stale = watch.listed = False  # what changes from now on is for the next look
        try:
            looked_from = None if by_database else hold.now()
            if looked_from is None:
                looked_from, by_database = await self._prepare(watch, for_caller=caller is not None), True
            known = None if by_database or watch.health.has(LIST) else watch.listing
            listing = await self._ask(
                watch,
                caller,
                LIST,
                lambda client, api_key: client.orders_if_new(api_key, known),
                patient=watch.unsettled,
            )
            if listing.content is not None:
                await self._take_in(watch, hold, listing.content, looked_from)
                watch.listing = listing.digest
            watch.seen_at, watch.listed, watch.list_retry_at = time.monotonic(), True, 0.0
        except UNREADABLE as error:
            await self.note_failure(watch, hold, error)
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

    async def _note_health(self, watch: Watch) -> None:
        """Write down what of the answers of this look can't be read, if that is news."""
        if not health_changes(watch):
            watch.account.observed.clear()
            return
        try:
            async with self._database.transaction(Access.tenant(watch.account.tenant_id)) as connection:
                await note_health(connection, watch)
        except RentgateError as away:
            log.info("look.health_not_noted", code=away.code)

    async def _read_on(self, watch: Watch, hold: Hold, caller: Caller | None, wanted: UUID | None) -> None:
        """Read the messages that somebody waits for or that the list tells of; then the archive, if it is
        wanted, and the slow round of messages, which come first in turn. Where an order that is gone waits
        for the archive, that comes first of all in its turn: who polls all the time must not keep it waiting.

        This takes about an interval, however much there is to read: the next look, which goes on with the
        rest, may have a purchase to settle.

        Raises:
            NotYet: the pace leaves no room for more now.
            RentgateError: the messages of the wanted rental can't be read, or none can.
        """
        enough = time.monotonic() + max(LEAST_READING_SECONDS, self.intervals.busy)
        pressing, slow_round = watch.due(wanted)

        async def ask(reading: Reading) -> News[SmsLists]:
            return await self._ask(
                watch,
                caller if reading.rental_id == wanted else None,
                "sms",
                lambda client, api_key: client.sms_if_new(
                    api_key, None if reading.troubled else reading.digest, order_id=reading.order_id
                ),
                subject=reading.order_id,
            )

        async def keep_on(reading: Reading | None = None) -> bool:
            if time.monotonic() > enough and (reading is None or reading.rental_id != wanted):
                return False
            if not await hold.keep():
                raise Lost
            return True

        watch.archive_next = not watch.archive_next
        if watch.archive_next and watch.gone and wanted is None:
            await self._read_archive(watch, keep_on)
        failures = await self._messages.read(watch, pressing, ask, keep_on)
        if wanted in failures:
            raise failures[wanted]
        if watch.archive_next:
            await self._read_archive(watch, keep_on)
        await self._messages.read(watch, slow_round, ask, keep_on)
        if not watch.archive_next:
            await self._read_archive(watch, keep_on)

    async def _read_archive(self, watch: Watch, keep_on: Callable[[], Awaitable[bool]]) -> None:
        """Close what is gone, and import what is new. The look itself is done: what can't be read is tried
        again later, after growing pauses, and holds up a closing for no longer than proving an absence takes.

        Raises:
            NotYet: the pace leaves no room now.
        """
        if time.monotonic() >= watch.archive_retry_at:
            try:
                await self._close_and_import(watch, keep_on)
                watch.archive_failures = 0
            except RentgateError as error:
                watch.archive_failures += 1
                pause = self.intervals.archive_pause(watch.archive_failures, unsettled=watch.unsettled)
                watch.archive_retry_at = time.monotonic() + pause
                log.info("archive.put_off", code=error.code)
        late = watch.gone_for(self.intervals.reconcile) if watch.archive_failures else ()
        if late:
            await self._archive.close_by(watch.account, late, watch.search.ends)
            watch.note_gone([order for order in watch.gone if order not in late])

    async def _close_and_import(self, watch: Watch, keep_on: Callable[[], Awaitable[bool]]) -> None:
        """Close what is gone by the archive, and import what is new in it.

        Raises:
            NotYet: the pace leaves no room now.
            RentgateError: the archive can't be read, or not where it may tell of an order that is gone.
        """

        def again_seconds() -> float:
            clear = watch.importing.complete and not health_now(watch).has(HISTORY)
            return AGAIN_SECONDS if clear else LONGEST_UNREADABLE

        ask = self._asking(watch)
        if watch.gone and await keep_on():
            watch.note_gone(await self._archive.close(watch.account, watch.gone, watch.search, ask))
            if watch.gone:
                raise UpstreamBadResponse("Rows of the archive can't be read.")
        if watch.archive_due and await keep_on():
            watch.archive_due = not await self._archive.import_news(
                watch.account, ask, keep_on, watch.importing, again_seconds=again_seconds
            )
            if not watch.archive_due:
                watch.importing = Walk()

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
        if caller is None or caller.is_background:
            return await self._calls.watch(watch.account, method, call, patient=patient, subject=subject)
        return await self._calls.read(caller, watch.account.upstream_key_id, method, call, subject=subject)

    def _asking(self, watch: Watch) -> Ask:
        return lambda method, call: self._ask(watch, None, method, call)

    async def _prepare(self, watch: Watch, *, for_caller: bool) -> datetime:
        """Learn from the database what waits for this look; returns its time."""
        account = watch.account
        if not for_caller:
            await self._calls.make_ready(account.tenant_id, account.upstream_key_id)
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

    async def _take_in(self, watch: Watch, hold: Hold, orders: Listing[Order], looked_from: datetime) -> None:
        account = watch.account
        tenant_id, key_id = account.tenant_id, account.upstream_key_id
        async with self._database.transaction(Access.tenant(tenant_id)) as connection:
            if not await schedule.holds(connection, tenant_id, key_id, hold.holder):
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
                await self._calls.accept(connection, account)
                await schedule.note_failures(
                    connection, tenant_id, key_id, hold.holder, failures=0, error_code=None
                )
            await message_reads.note_messages_read(connection, watch.unwritten_reads())
            await learn(connection, watch)
        watch.read_lately.clear()
        watch.failures = 0
        watch.undecided |= taken.undecided
        await self._archive.close_by(account, [order for order in taken.gone if order.ended], {})
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
