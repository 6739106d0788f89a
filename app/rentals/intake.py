"""Taking in what an account's `orders` list shows: differences become rentals' states and events."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit.caller import Caller
from app.database import columns
from app.database.pipeline import Query, run_together
from app.events.types import EventType
from app.rentals import repository, views
from app.rentals.differences import differences, events_of, later, order_values, rental_values
from app.rentals.models import upstream_orders
from app.upstream.rows import Listing
from app.upstream.wire import Order
from app.values import utc_now

LOOKS_TO_CLOSE = 3
"""An order that so many looks in a row don't show is gone."""


@dataclass(frozen=True, slots=True)
class Gone:
    """An order that is gone from the list, and what is to be known: whether its end has passed."""

    order_id: str
    rental_id: UUID
    ended: bool


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of taking in a list: the orders that are gone since, and whether it left anything that the
    next list has to decide, even if that is the very same one.
    """

    gone: Sequence[Gone]
    undecided: bool


async def take_in(
    connection: AsyncConnection,
    caller: Caller,
    upstream_key_id: UUID,
    orders: Listing[Order],
    looked_from: datetime,
) -> Taken:
    """Write what a list of orders changes.

    The account has to be locked by the same transaction, so that no operation settles in between.

    A rental that was changed after the list was asked for is passed over: the list may be older than that.
    What can't be read of an order keeps its last known value. A list that is not complete may hold the orders
    that it doesn't show, so it counts as no look that lacked them.

    Args:
        looked_from: the database's time before the list was asked for.
    """
    known, untouchable = await _known(connection, caller.tenant_id, upstream_key_id, orders, looked_from)
    affected: dict[UUID, Order | None] = {}
    prolonged: set[UUID] = set()
    for order in orders:
        row = known.pop(order.order_id, None)
        if row is not None and row.rental_id in untouchable:
            continue
        values = order_values(order)
        rental_id = None if row is None else row.rental_id
        if rental_id is None:
            values["rental_id"] = rental_id = await _awaiting(connection, caller, upstream_key_id, order)
        if changed := values if row is None else differences(row, values):
            await repository.save_order(
                connection, caller.tenant_id, upstream_key_id, order.order_id, **changed
            )
        if rental_id is not None:
            affected.setdefault(rental_id, order)
            if row is not None and later(row.expires_at, order.expires_at):
                prolonged.add(rental_id)
    gone = await _missed(connection, caller, upstream_key_id, known, untouchable) if orders.complete else ()
    await _refresh_changed(connection, caller, affected, prolonged)
    return Taken(gone, undecided=bool(known or untouchable or not orders.complete))


async def close(
    connection: AsyncConnection,
    caller: Caller,
    upstream_key_id: UUID,
    gone: Sequence[Gone],
    ends: Mapping[str, datetime],
) -> None:
    """Close orders that are gone: expired if their end has passed, there or in the archive, else deleted. One
    that has come back since is left alone. The account has to be locked.

    Args:
        ends: the archive's ends of orders, by their ids.
    """
    still = await repository.still_missed(
        connection, caller.tenant_id, upstream_key_id, [order.order_id for order in gone], LOOKS_TO_CLOSE
    )
    gone = [order for order in gone if order.order_id in still]
    for order in gone:
        end = ends.get(order.order_id)
        expired = order.ended or (end is not None and end <= utc_now())
        values: dict[str, Any] = {"status": "expired" if expired else "deleted", "has_new_sms": False}
        if end is not None:
            values["expires_at"] = end
        await repository.save_order(connection, caller.tenant_id, upstream_key_id, order.order_id, **values)
    for rental_id in sorted({order.rental_id for order in gone}, key=str):
        await refresh_rental(connection, caller, rental_id, None)


async def _refresh_changed(
    connection: AsyncConnection,
    caller: Caller,
    listed: Mapping[UUID, Order | None],
    prolonged: Collection[UUID],
) -> None:
    """Bring those of the rentals in line that their orders' rows say are not.

    All are compared at once: an account may have hundreds, of which a look finds one or two changed.
    """
    found = await repository.with_orders(connection, caller.tenant_id, list(listed))
    for rental, orders in found:
        if differences(rental, rental_values(rental, orders, listed[rental.id])):
            first, moved = listed[rental.id], rental.id in prolonged
            await refresh_rental(connection, caller, rental.id, first, prolonged=moved)


async def refresh_rental(
    connection: AsyncConnection,
    caller: Caller,
    rental_id: UUID,
    first: Order | None,
    event: EventType | None = None,
    *,
    prolonged: bool = False,
) -> None:
    """Bring a rental in line with its orders' rows, announcing what changed.

    Args:
        first: its first order as just listed, None if no list is at hand.
        event: what to announce instead.
        prolonged: whether an order's end has moved. The rental's own also does when the first of its orders
            to end has ended.
    """
    rental = await repository.locked(connection, caller.tenant_id, rental_id)
    orders = await repository.orders_of(connection, caller.tenant_id, rental_id)
    changed = differences(rental, rental_values(rental, orders, first))
    if changed:
        await repository.store(connection, caller.tenant_id, rental_id, **changed)
    for event_type in [event] if event else events_of(rental, changed, prolonged=prolonged):
        await views.announce(connection, caller, event_type, rental_id)


_KNOWN = f"""
    select {columns(upstream_orders)} from upstream_orders
    where tenant_id = %(tenant_id)s and upstream_key_id = %(upstream_key_id)s
        and (status = 'listed' or upstream_order_id = any(%(order_ids)s))
"""  # noqa: S608 - put together of our own words

_CHANGED = """
    select id from rentals
    where tenant_id = %(tenant_id)s and upstream_key_id = %(upstream_key_id)s
        and status in ('pending', 'active', 'review') and changed_at >= %(moment)s
    union
    select r.id from upstream_orders o join rentals r on r.tenant_id = o.tenant_id and r.id = o.rental_id
    where o.tenant_id = %(tenant_id)s and o.upstream_key_id = %(upstream_key_id)s
        and o.upstream_order_id = any(%(order_ids)s) and o.status <> 'listed' and r.changed_at >= %(moment)s
"""
"""The rentals that were changed since a moment, of those that live and those whose orders are back."""


async def _known(
    connection: AsyncConnection,
    tenant_id: UUID,
    upstream_key_id: UUID,
    orders: Listing[Order],
    moment: datetime,
) -> tuple[dict[str, Any], set[UUID]]:
    """The rows of all orders that are in the list or were in the one before, by their ids, and the rentals
    that were changed since a moment.
    """
    given = {
        "tenant_id": tenant_id,
        "upstream_key_id": upstream_key_id,
        "order_ids": [order.order_id for order in orders],
        "moment": moment,
    }
    rows, changed = await run_together(
        connection,
        Query(_KNOWN, given, lambda answer: {row.upstream_order_id: row for row in answer.rows}),
        Query(_CHANGED, given, lambda answer: {row.id for row in answer.rows}),
    )
    return rows, changed


async def _awaiting(
    connection: AsyncConnection, caller: Caller, upstream_key_id: UUID, order: Order
) -> UUID | None:
    """The living rental that waits for this order, since it was bought with another or added to it. That an
    order has a rental's number alone doesn't tell: it may be what an operation of open outcome made.
    """
    if order.service is None:
        return None
    return await repository.living_rental(
        connection, caller.tenant_id, upstream_key_id, order.phone_number, awaiting=order.service
    )


async def _missed(
    connection: AsyncConnection,
    caller: Caller,
    upstream_key_id: UUID,
    missing: Mapping[str, Any],
    untouchable: set[UUID],
) -> list[Gone]:
    """Count one more look that lacked these orders; returns those that have been lacking long enough."""
    gone: list[Gone] = []
    for order_id, row in missing.items():
        if row.rental_id in untouchable:
            continue
        missed = row.missed_looks + 1
        values: dict[str, Any] = {"missed_looks": missed}
        if missed >= LOOKS_TO_CLOSE:
            ended = row.expires_at is not None and row.expires_at <= utc_now()
            if row.rental_id is None:
                values["status"] = "expired" if ended else "deleted"
            else:
                gone.append(Gone(order_id, row.rental_id, ended))
                values["missed_looks"] = LOOKS_TO_CLOSE
        await repository.save_order(connection, caller.tenant_id, upstream_key_id, order_id, **values)
    return gone
