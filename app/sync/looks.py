"""One look at an account: its orders once, messages where something is new, and what follows from both."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar, cast
from uuid import UUID

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts import schedule
from app.accounts.calls import UpstreamCalls
from app.accounts.models import account_looks
from app.accounts.pace import NotYet
from app.audit.caller import Caller, background
from app.database import Access, Database
from app.errors import RentgateError, UpstreamBusy
from app.operations import ledger, lookup
from app.operations.operation import Operation
from app.operations.states import State
from app.queries import Query, Statement, constant, run_together
from app.rentals import intake, repository
from app.rentals.models import rentals, upstream_orders
from app.sync.archive import Archive, Ask
from app.sync.messages import MessageReader
from app.sync.unknowns import settle_from_list
from app.sync.watch import Reading, Watch
from app.telemetry import Metrics, traces
from app.upstream.client import News, UpstreamClient
from app.upstream.wire import NumberState, Order, SmsLists

T = TypeVar("T")

LONGEST_BACKOFF = 30.0
LEAST_READING_SECONDS = 1.0
"""How long a look may read messages and the archive, at least."""

log = structlog.get_logger(__name__)


_NOW = sa.func.clock_timestamp()
_CLOCK = Statement(sa.select(_NOW.label("now")))

_NEED = Statement(
    sa.select(
        sa.exists()
        .where(
            rentals.c.tenant_id == account_looks.c.tenant_id,
            rentals.c.upstream_key_id == account_looks.c.upstream_key_id,
            rentals.c.status.in_([constant(status) for status in repository.LIVING]),
            rentals.c.number_state.in_([constant(NumberState.ACTIVATING), constant(NumberState.ACTIVE)]),
        )
        .label("is_running"),
        sa.func.coalesce(account_looks.c.wanted_until > _NOW, sa.false()).label("is_wanted"),
        (account_looks.c.archive_due_at <= _NOW).label("archive_is_due"),
    ).where(
        account_looks.c.tenant_id == sa.bindparam("tenant"),
        account_looks.c.upstream_key_id == sa.bindparam("account"),
    )
)
"""What an account needs: numbers that may receive, somebody who waits, its archive read."""

_LISTED = Statement(
    sa.select(
        upstream_orders.c.upstream_order_id,
        upstream_orders.c.rental_id,
        upstream_orders.c.number_state,
        upstream_orders.c.has_new_sms,
        sa.func.extract("epoch", _NOW - upstream_orders.c.messages_read_at).cast(sa.Double).label("read_ago"),
        sa.func.extract("epoch", upstream_orders.c.wanted_until - _NOW).cast(sa.Double).label("wanted_for"),
    ).where(
        upstream_orders.c.tenant_id == sa.bindparam("tenant"),
        upstream_orders.c.upstream_key_id == sa.bindparam("account"),
        upstream_orders.c.status == constant("listed"),
    )
)


@dataclass(frozen=True, slots=True)
class Intervals:
    """Seconds between two looks, at a busy and at an idle account, and of proving an absence."""

    busy: float
    idle: float
    reconcile: float

    def after(self, watch: Watch) -> float:
        """Seconds until the next look."""
        return self.busy if watch.busy else self.idle

    def pause(self, error: RentgateError, failures: int) -> float:
        """Seconds until the next look after one that failed: longer each time in a row, and never the same
        for all whom an upstream has failed at one moment.
        """
        if isinstance(error, UpstreamBusy) and error.retry_after:
            return error.retry_after  # it only waits for its turn, and knows when that comes
        longest = min(LONGEST_BACKOFF, self.busy * float(2 ** min(failures, 8)))
        return longest * random.uniform(0.75, 1.0)  # noqa: S311


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

    async def note_failure(self, watch: Watch, hold: Hold, error: RentgateError) -> None:
        """Note that a look failed, for whoever wants to know why nothing is seen."""
        watch.failures += 1
        watch.stale = True
        account = watch.account
        async with self._database.transaction(Access.tenant(account.tenant_id)) as connection:
            await schedule.note_failures(
                connection,
                account.tenant_id,
                account.upstream_key_id,
                hold.holder,
                failures=watch.failures,
                error_code=error.code,
            )
            if not watch.listed:  # after the account's row, as everybody locks them
                await ledger.forget_last_absence(connection, account.tenant_id, account.upstream_key_id)

    async def _look(self, watch: Watch, hold: Hold, caller: Caller | None, wanted: UUID | None) -> None:
        by_database = watch.needs_database
        watch.stale = watch.listed = False  # what changes from now on is for the next look
        try:
            looked_from = None if by_database else hold.now()
            if looked_from is None:
                looked_from, by_database = await self._prepare(watch, for_caller=caller is not None), True
            known = None if by_database else watch.listing
            listing = await self._ask(
                watch,
                caller,
                "orders",
                lambda client, api_key: client.orders_if_new(api_key, known),
                patient=watch.unsettled,
            )
            if listing.content is not None:
                await self._take_in(watch, hold, listing.content, looked_from)
                watch.listing = listing.digest
            watch.seen_at, watch.listed = time.monotonic(), True
        except BaseException:
            watch.stale = True
            raise
        try:
            await self._read_on(watch, hold, caller, wanted)
        except NotYet:
            return  # the pace leaves no room for more now; the next look goes on

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
                lambda client, api_key: client.sms_if_new(api_key, reading.digest, order_id=reading.order_id),
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
        again with the next one.

        Raises:
            NotYet: the pace leaves no room now.
        """
        try:
            if watch.gone and await keep_on():
                await self._archive.close(watch.account, watch.gone, watch.search, self._asking(watch))
                watch.gone = ()
            if watch.archive_due and await keep_on():
                watch.archive_due = not await self._archive.import_news(
                    watch.account, self._asking(watch), keep_on
                )
        except RentgateError as error:
            log.info("archive.put_off", code=error.code)

    async def _ask(
        self,
        watch: Watch,
        caller: Caller | None,
        method: str,
        call: Callable[[UpstreamClient, str], Awaitable[T]],
        *,
        patient: bool = False,
    ) -> T:
        """Make a call in the name of the caller who wants it, or in the background's."""
        if caller is None or caller.is_background:
            return await self._calls.watch(watch.account, method, call, patient=patient)
        return await self._calls.read(caller, watch.account.upstream_key_id, method, call)

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

    async def _take_in(
        self, watch: Watch, hold: Hold, orders: tuple[Order, ...], looked_from: datetime
    ) -> None:
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
            await repository.note_messages_read(connection, tenant_id, key_id, watch.unwritten_reads())
            await self._learn(connection, watch)
        watch.read_lately.clear()
        watch.failures = 0
        watch.undecided |= taken.undecided
        await self._archive.close_by(account, [order for order in taken.gone if order.ended], {})
        watch.gone = [order for order in taken.gone if not order.ended]
        watch.compared_at = time.monotonic()
        for operation in settled:
            self._note_settled(operation)

    async def _learn(self, connection: AsyncConnection, watch: Watch) -> None:
        """Remember how the account stands after its list was taken in."""
        tenant_id, key_id = watch.account.tenant_id, watch.account.upstream_key_id
        given = {"tenant": tenant_id, "account": key_id}
        need, unknown, rows = await run_together(
            connection,
            Query(_NEED, given, lambda answer: answer.row),
            lookup.standing_of_account(tenant_id, key_id, State.UNKNOWN),
            Query(_LISTED, given, lambda answer: answer.rows),
        )
        watch.archive_due = need.archive_is_due
        watch.unsettled = bool(unknown)
        watch.busy = need.is_running or need.is_wanted or watch.unsettled
        watch.undecided = any(row.rental_id is None for row in rows)
        at = time.monotonic()
        watch.read_next(
            Reading(
                row.upstream_order_id,
                row.rental_id,
                row.number_state,
                row.has_new_sms,
                None if row.read_ago is None else at - row.read_ago,
                at + (row.wanted_for or 0.0),
            )
            for row in rows
            if row.rental_id is not None
        )

    def _note_settled(self, operation: Operation) -> None:
        if operation.sent_at is None or operation.settled_at is None:
            return
        seconds = (operation.settled_at - operation.sent_at).total_seconds()
        with traces.span(f"operation {operation.kind.value} settled", operation.told):
            self._metrics.operation_settled(operation.kind.value, operation.state.value, seconds)
        log.info(
            "operation.settled",
            operation_id=str(operation.id),
            state=operation.state.value,
            seconds=round(seconds, 1),
        )
