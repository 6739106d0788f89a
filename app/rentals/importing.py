"""Taking in what was bought or closed outside the gateway: orders that nobody has become rentals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit.caller import Caller
from app.database import new_id, this_account
from app.events.notifications import notify
from app.events.types import EventType
from app.rentals import intake, repository
from app.rentals.models import rentals, upstream_orders
from app.upstream.wire import HistoryEntry, NumberState, Order
from app.values import utc_now


@dataclass(frozen=True, slots=True)
class Archived:
    """What came of taking in archived orders.

    Attributes:
        imported: how many of them became known.
        undecided: how many are unknown still, since nothing tells whether they have ended.
    """

    imported: int
    undecided: int


async def take_up(
    connection: AsyncConnection, caller: Caller, upstream_key_id: UUID, orders: Sequence[Order]
) -> None:
    """Make rentals of living orders that nobody has; several of one number are one rental, and those of a
    number that is rented are its rental's.

    The account has to be locked, and the orders have to be in their table already.
    """
    by_number: dict[str, list[Order]] = {}
    for order in orders:
        by_number.setdefault(order.phone_number or order.order_id, []).append(order)
    for siblings in by_number.values():
        first = siblings[0]
        rental_id = await repository.living_rental(
            connection, caller.tenant_id, upstream_key_id, first.phone_number
        )
        joined = rental_id is not None
        if rental_id is None:
            rental_id = await _new_rental(
                connection, caller, upstream_key_id, phone_number=first.phone_number, country=first.country
            )
        for order in siblings:
            await repository.save_order(
                connection, caller.tenant_id, upstream_key_id, order.order_id, rental_id=rental_id
            )
        await intake.refresh_rental(
            connection,
            caller,
            rental_id,
            None if joined else first,
            None if joined else EventType.RENTAL_IMPORTED,
        )


async def import_archived(
    connection: AsyncConnection, caller: Caller, upstream_key_id: UUID, entries: Sequence[HistoryEntry]
) -> Archived:
    """Make rentals of archived orders that were never seen here.

    An order whose number was rented by the same account at an overlapping time belongs to that rental. The
    account has to be locked.
    """
    known = await _known(connection, caller.tenant_id, upstream_key_id, entries)
    unknown = [entry for entry in entries if entry.order_id not in known]
    fresh = [entry for entry in unknown if _has_ended(entry)]
    for entry in fresh:
        rental_id = await _rental_at_that_time(connection, caller.tenant_id, upstream_key_id, entry)
        joined = rental_id is not None
        if rental_id is None:
            rental_id = await _new_rental(
                connection,
                caller,
                upstream_key_id,
                phone_number=entry.phone_number,
                country=entry.country,
                restorable=entry.restorable,
            )
        await repository.save_order(
            connection,
            caller.tenant_id,
            upstream_key_id,
            entry.order_id,
            rental_id=rental_id,
            service=entry.service,
            phone_number=entry.phone_number,
            country=entry.country,
            number_state=NumberState.INACTIVE.value,
            began_at=entry.began_at,
            expires_at=entry.ended_at,
            status="expired" if _end_passed(entry.ended_at) else "deleted",
        )
        event = None if joined else EventType.RENTAL_IMPORTED
        await intake.refresh_rental(connection, caller, rental_id, None, event)
    undecided = sum(entry.ended_at is None and not entry.closed for entry in unknown)
    return Archived(len(fresh), undecided)


def _has_ended(entry: HistoryEntry) -> bool:
    """Whether an archived order lives no more: the archive may show living ones too."""
    closed = bool(entry.closed) and (entry.closed_at is None or _end_passed(entry.closed_at))
    return closed or _end_passed(entry.ended_at)


def _end_passed(end: datetime | None) -> bool:
    return end is not None and end <= utc_now()


async def _known(
    connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID, entries: Sequence[HistoryEntry]
) -> set[str]:
    """Which of these orders have a rental, were replaced by another id, or live in the account's list."""
    query = sa.select(upstream_orders.c.upstream_order_id).where(
        *this_account(upstream_orders, tenant_id, upstream_key_id),
        upstream_orders.c.upstream_order_id.in_([entry.order_id for entry in entries]),
        sa.or_(upstream_orders.c.rental_id.is_not(None), upstream_orders.c.status == "listed"),
    )
    return set(await connection.scalars(query))


async def _rental_at_that_time(
    connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID, entry: HistoryEntry
) -> UUID | None:
    """The rental that had the entry's number at a time that overlaps with the entry's."""
    if entry.phone_number is None or entry.began_at is None or entry.ended_at is None:
        return None
    began = sa.func.coalesce(upstream_orders.c.began_at, upstream_orders.c.first_seen_at)
    query = (
        sa.select(upstream_orders.c.rental_id)
        .where(
            *this_account(upstream_orders, tenant_id, upstream_key_id),
            upstream_orders.c.phone_number == entry.phone_number,
            upstream_orders.c.rental_id.is_not(None),
            began < entry.ended_at,
            upstream_orders.c.expires_at > entry.began_at,
        )
        .limit(1)
    )
    found: UUID | None = await connection.scalar(query)
    return found


async def _new_rental(
    connection: AsyncConnection,
    caller: Caller,
    upstream_key_id: UUID,
    *,
    phone_number: str | None,
    country: str | None,
    restorable: bool | None = None,
) -> UUID:
    rental_id = new_id()
    await connection.execute(
        rentals.insert().values(
            tenant_id=caller.tenant_id,
            id=rental_id,
            upstream_key_id=upstream_key_id,
            status="active",
            phone_number=phone_number,
            country=country,
            services=[],
            restorable=restorable,
            source="imported",
            metadata={},
        )
    )
    notify(connection, rental_id)
    return rental_id
