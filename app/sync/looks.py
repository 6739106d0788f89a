"""One look at an account: its orders once, messages where something is new, and what follows from both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
import structlog

from app.accounts import schedule
from app.accounts.calls import UpstreamCalls
from app.audit.caller import Caller, background
from app.database import Access, Database, new_id
from app.errors import InternalError, RentgateError, UpstreamBusy, UpstreamUnavailable, catalogue
from app.messages import repository as messages
from app.messages.deduplication import sightings
from app.operations import ledger
from app.operations.ledger import Operation
from app.operations.states import State
from app.rentals import intake, repository
from app.rentals.intake import Gone
from app.rentals.models import rentals, upstream_orders
from app.sync.unknowns import settle_from_list
from app.telemetry import Metrics
from app.upstream.wire import Order

ARCHIVE_PAGE, ARCHIVE_PAGES = 100, 50
LONGEST_BACKOFF = 30.0
POLL_SECONDS = 0.1

ACTIVE_ROUND, IDLE_ROUND = 20, 600
"""Seconds after which an order's messages are read though its flag is silent: it can't be trusted."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Intervals:
    """Seconds between two looks, at a busy and at an idle account, and of proving an absence."""

    busy: float
    idle: float
    reconcile: float


class Looker:
    """Looks at accounts, for the worker when they are due and for callers who want to see it now."""

    def __init__(
        self,
        database: Database,
        calls: UpstreamCalls,
        intervals: Intervals,
        metrics: Metrics,
        *,
        call_timeout: float,
    ) -> None:
        self._metrics = metrics
        self._database = database
        self._calls = calls
        self._intervals = intervals
        self._call_timeout = call_timeout

    async def look_if_due(self, tenant_id: UUID, upstream_key_id: UUID) -> None:
        """Look for the worker; what goes wrong is kept in the account's look state."""
        try:
            await self._look(background(tenant_id), upstream_key_id, None)
        except RentgateError:
            return

    async def refresh(self, caller: Caller, rental_id: UUID) -> None:
        """Look at a rental's account for a caller, unless it was looked at within the interval.

        However many ask at once, one look is made, and all wait for it.

        Raises:
            RentalNotFound: the tenant has no such rental.
            RentgateError: the look failed, and why.
        """
        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
            rental = await repository.get(connection, caller.tenant_id, rental_id)
        key_id = rental.upstream_key_id
        before = await self._state(caller, key_id)
        since = before.seconds_since_look if before else None
        if since is not None and since < self._intervals.busy:
            return
        give_up = time.monotonic() + self._call_timeout
        while not await self._look(caller, key_id, rental_id):
            await asyncio.sleep(POLL_SECONDS)
            now = await self._state(caller, key_id)
            if now is not None and before is not None and now.tried_at != before.tried_at:
                if now.error_code is not None:
                    raise catalogue().get(now.error_code, UpstreamUnavailable)()
                return
            if time.monotonic() > give_up:
                raise UpstreamBusy("A look at the account is still under way.", retry_after=1)

    async def _state(self, caller: Caller, upstream_key_id: UUID) -> schedule.LookState | None:
        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
            return await schedule.state(connection, caller.tenant_id, upstream_key_id)

    async def _look(self, caller: Caller, upstream_key_id: UUID, wanted: UUID | None) -> bool:
        """Look once; False if somebody else is looking. Raises what went wrong, after noting it."""
        holder = new_id()
        state = await self._claim(caller, upstream_key_id, holder)
        if state is None:
            return False
        try:
            busy = await self._look_claimed(caller, upstream_key_id, holder, wanted)
        except Exception as crash:
            error = crash if isinstance(crash, RentgateError) else InternalError()
            pause = self._pause(error, state.failures)
            await self._finish(caller, upstream_key_id, holder, next_in=pause, error_code=error.code)
            raise
        next_in = self._intervals.busy if busy else self._intervals.idle
        await self._finish(caller, upstream_key_id, holder, next_in=next_in)
        return True

    def _pause(self, error: RentgateError, failures: int) -> float:
        """Seconds until the next look after one that failed: longer each time in a row."""
        if isinstance(error, UpstreamBusy) and error.retry_after:
            return error.retry_after  # it only waits for its turn, and knows when that comes
        return min(LONGEST_BACKOFF, self._intervals.busy * float(2 ** min(failures, 8)))

    async def _look_claimed(
        self, caller: Caller, upstream_key_id: UUID, holder: UUID, wanted: UUID | None
    ) -> bool:
        """Look at an account that is claimed; returns whether it is busy."""
        looked_from = await self._database.clock()
        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
            unknown = await ledger.of_account(connection, caller.tenant_id, upstream_key_id, State.UNKNOWN)
        orders = await self._calls.read(
            caller,
            upstream_key_id,
            "orders",
            lambda client, api_key: client.orders(api_key),
            patient=bool(unknown),
        )
        gone = await self._take_in(caller, upstream_key_id, holder, orders, looked_from)
        if gone:
            await self._close(caller, upstream_key_id, gone)
        await self._read_messages(caller, upstream_key_id, holder, wanted)
        return bool(unknown) or await self._is_busy(caller, upstream_key_id)

    async def _take_in(
        self,
        caller: Caller,
        upstream_key_id: UUID,
        holder: UUID,
        orders: Sequence[Order],
        looked_from: datetime,
    ) -> list[Gone]:
        worker = background(caller.tenant_id)
        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
            if not await schedule.holds(connection, caller.tenant_id, upstream_key_id, holder):
                raise UpstreamBusy("The look took too long; another one has begun.", retry_after=1)
            gone = await intake.take_in(connection, worker, upstream_key_id, orders, looked_from)
            settled = await settle_from_list(
                connection,
                caller.tenant_id,
                upstream_key_id,
                orders,
                looked_from,
                reconcile_seconds=self._intervals.reconcile,
            )
        for operation in settled:
            self._note_settled(operation)
        return gone

    def _note_settled(self, operation: Operation) -> None:
        if operation.sent_at is None or operation.settled_at is None:
            return
        seconds = (operation.settled_at - operation.sent_at).total_seconds()
        self._metrics.operation_settled(operation.kind.value, operation.state.value, seconds)
        log.info(
            "operation.settled",
            operation_id=str(operation.id),
            state=operation.state.value,
            seconds=round(seconds, 1),
        )

    async def _close(self, caller: Caller, upstream_key_id: UUID, gone: Sequence[Gone]) -> None:
        """Close orders that are gone, asking the archive for those whose end isn't known to have passed."""
        asked = {order.order_id for order in gone if not order.ended}
        ends: dict[str, datetime | None] = {}
        for page in range(ARCHIVE_PAGES if asked else 0):
            skip = page * ARCHIVE_PAGE
            entries = await self._calls.read(
                caller,
                upstream_key_id,
                "get_rent_history",
                lambda client, api_key, skip=skip: client.history(api_key, skip=skip, take=ARCHIVE_PAGE),  # type: ignore[misc]
            )
            ends |= {entry.order_id: entry.ended_at for entry in entries}
            if len(entries) < ARCHIVE_PAGE or asked <= ends.keys():
                break
        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
            await schedule.lock(connection, caller.tenant_id, upstream_key_id)
            await intake.close(connection, background(caller.tenant_id), upstream_key_id, gone, ends)

    async def _read_messages(
        self, caller: Caller, upstream_key_id: UUID, holder: UUID, wanted: UUID | None
    ) -> None:
        """Read the messages of orders that have news, or had no look for long; the wanted rental's first."""
        worker = background(caller.tenant_id)
        for order_id, rental_id in await self._with_news(caller, upstream_key_id, wanted):
            if await self._claim(caller, upstream_key_id, holder) is None:
                return
            reader = caller if rental_id == wanted else worker
            try:
                lists = await self._calls.read(
                    reader,
                    upstream_key_id,
                    "sms",
                    lambda client, api_key, order_id=order_id: client.sms(api_key, order_id=order_id),  # type: ignore[misc]
                )
            except UpstreamBusy:
                if rental_id == wanted:
                    raise
                return  # the pace leaves no room for more now; the next look goes on
            shown = sightings([lists])
            async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
                rental = await repository.locked(connection, caller.tenant_id, rental_id)
                last = await messages.keep(connection, worker, rental_id, rental.message_count, shown)
                if last != rental.message_count:
                    await connection.execute(
                        rentals.update()
                        .where(rentals.c.tenant_id == caller.tenant_id, rentals.c.id == rental_id)
                        .values(message_count=last)
                    )
                await repository.save_order(
                    connection,
                    caller.tenant_id,
                    upstream_key_id,
                    order_id,
                    messages_read_at=sa.func.clock_timestamp(),
                )

    async def _with_news(
        self, caller: Caller, upstream_key_id: UUID, wanted: UUID | None
    ) -> list[tuple[str, UUID]]:
        read_at = sa.func.extract("epoch", sa.func.clock_timestamp() - upstream_orders.c.messages_read_at)
        is_active = upstream_orders.c.number_state == "active"
        is_wanted = upstream_orders.c.rental_id.is_not_distinct_from(wanted)
        query = (
            sa.select(upstream_orders.c.upstream_order_id, upstream_orders.c.rental_id)
            .where(
                upstream_orders.c.tenant_id == caller.tenant_id,
                upstream_orders.c.upstream_key_id == upstream_key_id,
                upstream_orders.c.rental_id.is_not(None),
                upstream_orders.c.status == "listed",
                sa.or_(
                    is_wanted,
                    upstream_orders.c.has_new_sms,
                    upstream_orders.c.messages_read_at.is_(None),
                    sa.and_(is_active, read_at > ACTIVE_ROUND),
                    read_at > IDLE_ROUND,
                ),
            )
            .order_by(
                is_wanted.desc(),
                upstream_orders.c.has_new_sms.desc(),
                is_active.desc(),
                upstream_orders.c.messages_read_at.nulls_first(),
            )
        )
        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
            return [(row[0], row[1]) for row in await connection.execute(query)]

    async def _is_busy(self, caller: Caller, upstream_key_id: UUID) -> bool:
        """Whether numbers of the account are activating or active, so that news can come any moment."""
        query = sa.select(
            sa.exists().where(
                rentals.c.tenant_id == caller.tenant_id,
                rentals.c.upstream_key_id == upstream_key_id,
                rentals.c.status.in_(repository.LIVING),
                rentals.c.number_state.in_(["activating", "active"]),
            )
        )
        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
            return bool(await connection.scalar(query))

    async def _claim(self, caller: Caller, upstream_key_id: UUID, holder: UUID) -> schedule.LookState | None:
        """Claim the account, or keep the claim, for as long as one more call may take."""
        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
            return await schedule.claim(
                connection, caller.tenant_id, upstream_key_id, holder, 2 * self._call_timeout + 5
            )

    async def _finish(
        self,
        caller: Caller,
        upstream_key_id: UUID,
        holder: UUID,
        *,
        next_in: float,
        error_code: str | None = None,
    ) -> None:
        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
            if error_code is not None:
                await ledger.forget_last_absence(connection, caller.tenant_id, upstream_key_id)
            await schedule.finish(
                connection,
                caller.tenant_id,
                upstream_key_id,
                holder,
                next_in=next_in,
                error_code=error_code,
            )
