"""The rows of one tenant's rentals and of the orders behind them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from psycopg.types.json import Jsonb
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database import NOW, columns, this_account
from app.database.pipeline import Answer, Query, run, run_together
from app.errors import OperationPending, RentalNotFound
from app.events.notifications import notify
from app.rentals.models import rentals, upstream_orders

Row = sa.Row[*tuple[Any, ...]]

LIVING = ("pending", "active", "review")
"""Statuses of rentals that the upstream may still change."""

_PRESENT_ORDERS = f"""
    select {columns(upstream_orders)} from upstream_orders
    where tenant_id = %(tenant_id)s and rental_id = any(%(rental_ids)s) and status <> 'replaced'
    order by first_seen_at, upstream_order_id
"""  # noqa: S608 - put together of our own words

_RENTALS = f"""
    select {columns(rentals)} from rentals where tenant_id = %(tenant_id)s and id = any(%(rental_ids)s)
    order by id
"""  # noqa: S608 - put together of our own words


async def upstream_key_of(connection: AsyncConnection, tenant_id: UUID, rental_id: UUID) -> UUID:
    """The account that a rental hangs on.

    Raises:
        RentalNotFound: the tenant has no such rental.
    """
    query = sa.select(rentals.c.upstream_key_id)
    found: UUID | None = await connection.scalar(
        query.where(rentals.c.tenant_id == tenant_id, rentals.c.id == rental_id)
    )
    if found is None:
        raise RentalNotFound
    return found


async def locked(connection: AsyncConnection, tenant_id: UUID, rental_id: UUID) -> Row:
    """A rental's row, locked until the transaction ends.

    Raises:
        RentalNotFound: the tenant has no such rental.
    """
    query = sa.select(rentals).where(rentals.c.tenant_id == tenant_id, rentals.c.id == rental_id)
    row = (await connection.execute(query.with_for_update())).one_or_none()
    if row is None:
        raise RentalNotFound
    return row


async def update(connection: AsyncConnection, tenant_id: UUID, rental_id: UUID, **values: Any) -> None:
    """Change a rental's row after a call that changed the rental: lists asked for before are outdated."""
    await store(connection, tenant_id, rental_id, changed_at=NOW, **values)


async def store(connection: AsyncConnection, tenant_id: UUID, rental_id: UUID, **values: Any) -> None:
    """Change a rental's row, to what the upstream showed or to what its caller notes on it."""
    await connection.execute(
        rentals.update().where(rentals.c.tenant_id == tenant_id, rentals.c.id == rental_id).values(**values)
    )
    notify(connection, rental_id)


async def reserve(
    connection: AsyncConnection, tenant_id: UUID, rental_id: UUID, operation_id: UUID, **noted: Any
) -> None:
    """Note the operation that is about to change a rental; two at a time could contradict each other.

    Args:
        noted: further columns to set.

    Raises:
        OperationPending: another one is open.
    """
    result = await connection.execute(
        rentals.update()
        .where(
            rentals.c.tenant_id == tenant_id,
            rentals.c.id == rental_id,
            rentals.c.pending_operation_id.is_(None),
        )
        .values(pending_operation_id=operation_id, activate_after=None, **noted)
    )
    if not result.rowcount:
        raise OperationPending(retry_after=5)
    notify(connection, rental_id)


async def orders_of(connection: AsyncConnection, tenant_id: UUID, rental_id: UUID) -> Sequence[Any]:
    """The rows of a rental's present orders, the first one first."""
    return (await run(connection, _orders_by_rental(tenant_id, [rental_id])))[rental_id]


async def order_ids_of_number(
    connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID, phone_number: str | None
) -> list[str]:
    """All orders of an account that were ever seen with a number."""
    query = sa.select(upstream_orders.c.upstream_order_id).where(
        *this_account(upstream_orders, tenant_id, upstream_key_id),
        upstream_orders.c.phone_number == phone_number,
    )
    return sorted(await connection.scalars(query))


async def living_rental(
    connection: AsyncConnection,
    tenant_id: UUID,
    upstream_key_id: UUID,
    phone_number: str | None,
    *,
    awaiting: str | None = None,
) -> UUID | None:
    """The living rental of an account that has this number; the newest of several.

    Args:
        awaiting: a service that it has to be rented for, and that none of its orders is of yet.
    """
    if phone_number is None:
        return None
    query = sa.select(rentals.c.id).where(
        *this_account(rentals, tenant_id, upstream_key_id),
        rentals.c.phone_number == phone_number,
        rentals.c.status == "active",
    )
    if awaiting is not None:
        has_it = sa.exists().where(
            upstream_orders.c.tenant_id == rentals.c.tenant_id,
            upstream_orders.c.rental_id == rentals.c.id,
            upstream_orders.c.service == awaiting,
        )
        query = query.where(rentals.c.services.contains([{"code": awaiting}]), ~has_it)
    found: UUID | None = await connection.scalar(query.order_by(rentals.c.id.desc()).limit(1))
    return found


async def is_closed(
    connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID, order_id: str, looks: int
) -> bool:
    """Whether an order is closed, or so many looks in a row did not show it."""
    query = sa.select(upstream_orders.c.status, upstream_orders.c.missed_looks).where(
        *this_account(upstream_orders, tenant_id, upstream_key_id),
        upstream_orders.c.upstream_order_id == order_id,
    )
    row = (await connection.execute(query)).one_or_none()
    return row is not None and (row.status != "listed" or row.missed_looks >= looks)


async def with_orders(
    connection: AsyncConnection, tenant_id: UUID, ids: Sequence[UUID]
) -> list[tuple[Any, list[Any]]]:
    """These rentals' rows in the order of their making, each with the rows of its orders."""
    if not ids:
        return []
    given = {"tenant_id": tenant_id, "rental_ids": list(ids)}
    rows, orders = await run_together(
        connection, Query(_RENTALS, given, lambda answer: answer.rows), _orders_by_rental(tenant_id, ids)
    )
    return [(row, orders[row.id]) for row in rows]


async def still_missed(
    connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID, order_ids: Sequence[str], looks: int
) -> set[str]:
    """Which of these orders so many looks in a row did not show."""
    query = sa.select(upstream_orders.c.upstream_order_id).where(
        *this_account(upstream_orders, tenant_id, upstream_key_id),
        upstream_orders.c.upstream_order_id.in_(order_ids),
        upstream_orders.c.status == "listed",
        upstream_orders.c.missed_looks >= looks,
    )
    return set(await connection.scalars(query))


async def unclaimed(
    connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID, order_ids: Sequence[str]
) -> Sequence[Row]:
    """The rows of those of these orders that no rental has."""
    query = sa.select(upstream_orders).where(
        *this_account(upstream_orders, tenant_id, upstream_key_id),
        upstream_orders.c.upstream_order_id.in_(order_ids),
        upstream_orders.c.rental_id.is_(None),
    )
    return (await connection.execute(query)).all()


_NOT_SHOWN = {"missed_looks"}
"""Columns of an order that no answer shows, and that change with many a look."""


def saving_order(tenant_id: UUID, upstream_key_id: UUID, order_id: str, **values: Any) -> Query[UUID | None]:
    """Insert or change an order's row; gives the rental that it belongs to, of which there is news then."""
    order = {"tenant_id": tenant_id, "upstream_key_id": upstream_key_id, "upstream_order_id": order_id}
    if "further_services" in values:
        order["further_services"] = Jsonb(values["further_services"])
    given = values | order
    sql = f"""
        insert into upstream_orders ({", ".join(given)}) values ({", ".join(f"%({name})s" for name in given)})
        on conflict (tenant_id, upstream_key_id, upstream_order_id)
        do update set {", ".join(f"{name} = excluded.{name}" for name in values)}
        returning rental_id
    """  # noqa: S608 - put together of the names of columns
    return Query(sql, given, lambda answer: answer.row.rental_id)


async def save_order(
    connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID, order_id: str, **values: Any
) -> None:
    """As `saving_order`, alone, and announces the news."""
    rental_id = await run(connection, saving_order(tenant_id, upstream_key_id, order_id, **values))
    if rental_id is not None and values.keys() - _NOT_SHOWN:
        notify(connection, rental_id)


async def outdate_ends(connection: AsyncConnection, tenant_id: UUID, rental_id: UUID) -> None:
    """Note that the ends of a rental's orders may have moved since they were last seen."""
    await connection.execute(
        upstream_orders.update()
        .where(upstream_orders.c.tenant_id == tenant_id, upstream_orders.c.rental_id == rental_id)
        .values(end_outdated=True)
    )
    notify(connection, rental_id)


def _orders_by_rental(tenant_id: UUID, rental_ids: Sequence[UUID]) -> Query[dict[UUID, list[Any]]]:
    def by_rental(answer: Answer) -> dict[UUID, list[Any]]:
        found: dict[UUID, list[Any]] = defaultdict(list)
        for order in answer.rows:
            found[order.rental_id].append(order)
        return found

    return Query(_PRESENT_ORDERS, {"tenant_id": tenant_id, "rental_ids": list(rental_ids)}, by_rental)


async def existing(connection: AsyncConnection, tenant_id: UUID, ids: Sequence[UUID]) -> set[UUID]:
    """Which of these ids are rentals of the tenant."""
    query = sa.select(rentals.c.id).where(rentals.c.tenant_id == tenant_id, rentals.c.id.in_(ids))
    return set(await connection.scalars(query))


async def count_living(connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID) -> int:
    """How many rentals of an account the upstream may still change."""
    query = (
        sa.select(sa.func.count())
        .select_from(rentals)
        .where(
            *this_account(rentals, tenant_id, upstream_key_id),
            rentals.c.status.in_(LIVING),
        )
    )
    return await connection.scalar(query) or 0


async def listed_order_ids(connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID) -> set[str]:
    """The orders that an account showed when it was last looked at."""
    query = sa.select(upstream_orders.c.upstream_order_id).where(
        *this_account(upstream_orders, tenant_id, upstream_key_id),
        upstream_orders.c.status == "listed",
        upstream_orders.c.missed_looks == 0,
    )
    return set(await connection.scalars(query))
