"""Reading and writing one tenant's rentals and the orders behind them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.models import account_looks
from app.audit.caller import Caller
from app.database.pipeline import Answer, Query, Statement, run, run_together
from app.errors import OperationPending, RentalNotFound
from app.events import repository as events
from app.events.notifications import notify
from app.events.types import EventType
from app.rentals import schemas
from app.rentals.models import rentals, upstream_orders
from app.schemas import Money

Row = sa.Row[*tuple[Any, ...]]

LIVING = ("pending", "active", "review")
"""Statuses of rentals that the upstream may still change."""

_PRESENT = (
    sa.select(
        sa.func.jsonb_agg(
            aggregate_order_by(
                sa.func.jsonb_build_object(
                    "id",
                    upstream_orders.c.upstream_order_id,
                    *("service", upstream_orders.c.service),
                    *("number_state", upstream_orders.c.number_state),
                    *("expires_at", upstream_orders.c.expires_at),
                ),
                upstream_orders.c.first_seen_at,
                upstream_orders.c.upstream_order_id,
            )
        )
    )
    .where(
        upstream_orders.c.tenant_id == rentals.c.tenant_id,
        upstream_orders.c.rental_id == rentals.c.id,
        upstream_orders.c.status != "replaced",
    )
    .scalar_subquery()
)
"""A rental's present orders as callers read them, the first one first; null for none."""

_RENTAL = sa.select(rentals, account_looks.c.looked_at, _PRESENT.label("orders")).join(
    account_looks,
    sa.and_(
        account_looks.c.tenant_id == rentals.c.tenant_id,
        account_looks.c.upstream_key_id == rentals.c.upstream_key_id,
    ),
    isouter=True,
)

_ONE = Statement(
    _RENTAL.where(rentals.c.tenant_id == sa.bindparam("tenant"), rentals.c.id == sa.bindparam("rental"))
)

_ROWS = Statement(
    sa.select(rentals)
    .where(
        rentals.c.tenant_id == sa.bindparam("tenant"),
        rentals.c.id == sa.any_(sa.bindparam("rentals", type_=ARRAY(sa.Uuid))),
    )
    .order_by(rentals.c.id)
)

_ORDERS = Statement(
    sa.select(upstream_orders)
    .where(
        upstream_orders.c.tenant_id == sa.bindparam("tenant"),
        upstream_orders.c.rental_id == sa.any_(sa.bindparam("rentals", type_=ARRAY(sa.Uuid))),
        upstream_orders.c.status != "replaced",
    )
    .order_by(upstream_orders.c.first_seen_at, upstream_orders.c.upstream_order_id)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RentalFilter:
    """Which rentals to list; None means any."""

    status: str | None = None
    country: str | None = None
    service: str | None = None
    phone_number: str | None = None
    upstream_order_id: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


async def get(connection: AsyncConnection, tenant_id: UUID, rental_id: UUID) -> schemas.Rental:
    """One rental as callers read it.

    Raises:
        RentalNotFound: the tenant has no such rental.
    """
    query = Query(_ONE, {"tenant": tenant_id, "rental": rental_id}, lambda answer: answer.row)
    row = await run(connection, query)
    if row is None:
        raise RentalNotFound
    return _render(row)


async def listed(
    connection: AsyncConnection, tenant_id: UUID, wanted: RentalFilter, *, limit: int, before: UUID | None
) -> list[schemas.Rental]:
    """The tenant's rentals, newest first, older than the rental `before`."""
    query = _RENTAL.where(rentals.c.tenant_id == tenant_id)
    for column in ("status", "country", "phone_number"):
        if (value := getattr(wanted, column)) is not None:
            query = query.where(rentals.c[column] == value)
    if wanted.service is not None:
        query = query.where(rentals.c.services.contains([{"code": wanted.service}]))
    if wanted.upstream_order_id is not None:
        query = query.where(
            rentals.c.id.in_(
                sa.select(upstream_orders.c.rental_id).where(
                    upstream_orders.c.tenant_id == tenant_id,
                    upstream_orders.c.upstream_order_id == wanted.upstream_order_id,
                )
            )
        )
    if wanted.created_after is not None:
        query = query.where(rentals.c.created_at >= wanted.created_after)
    if wanted.created_before is not None:
        query = query.where(rentals.c.created_at < wanted.created_before)
    if before is not None:
        query = query.where(rentals.c.id < before)
    rows = await connection.execute(query.order_by(rentals.c.id.desc()).limit(limit))
    return [_render(row) for row in rows]


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
    await store(connection, tenant_id, rental_id, changed_at=sa.func.clock_timestamp(), **values)


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
        upstream_orders.c.tenant_id == tenant_id,
        upstream_orders.c.upstream_key_id == upstream_key_id,
        upstream_orders.c.phone_number == phone_number,
    )
    return sorted(await connection.scalars(query))


async def changed_since(
    connection: AsyncConnection, tenant_id: UUID, ids: Collection[UUID], moment: datetime
) -> set[UUID]:
    """Which of these rentals were changed since a moment."""
    if not ids:
        return set()
    query = sa.select(rentals.c.id).where(
        rentals.c.tenant_id == tenant_id, rentals.c.id.in_(ids), rentals.c.changed_at >= moment
    )
    return set(await connection.scalars(query))


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
        rentals.c.tenant_id == tenant_id,
        rentals.c.upstream_key_id == upstream_key_id,
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
        upstream_orders.c.tenant_id == tenant_id,
        upstream_orders.c.upstream_key_id == upstream_key_id,
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
    given = {"tenant": tenant_id, "rentals": list(ids)}
    rows, orders = await run_together(
        connection, Query(_ROWS, given, lambda answer: answer.rows), _orders_by_rental(tenant_id, ids)
    )
    return [(row, orders[row.id]) for row in rows]


async def still_missed(
    connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID, order_ids: Sequence[str], looks: int
) -> set[str]:
    """Which of these orders so many looks in a row did not show."""
    query = sa.select(upstream_orders.c.upstream_order_id).where(
        upstream_orders.c.tenant_id == tenant_id,
        upstream_orders.c.upstream_key_id == upstream_key_id,
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
        upstream_orders.c.tenant_id == tenant_id,
        upstream_orders.c.upstream_key_id == upstream_key_id,
        upstream_orders.c.upstream_order_id.in_(order_ids),
        upstream_orders.c.rental_id.is_(None),
    )
    return (await connection.execute(query)).all()


_NOT_SHOWN = {"missed_looks"}
"""Columns of an order that no answer shows, and that change with many a look."""


@cache
def _save_order(names: tuple[str, ...]) -> Statement:
    """The statement that inserts an order's row or changes these columns of it, and gives its rental."""
    statement = insert(upstream_orders)
    changed = {name: statement.excluded[name] for name in names}
    key = [column.name for column in upstream_orders.primary_key]
    return Statement(
        statement.on_conflict_do_update(constraint=upstream_orders.primary_key, set_=changed).returning(
            upstream_orders.c.rental_id
        ),
        columns=(*key, *names),
    )


def saving_order(tenant_id: UUID, upstream_key_id: UUID, order_id: str, **values: Any) -> Query[UUID | None]:
    """Insert or change an order's row; gives the rental that it belongs to, of which there is news then."""
    order = {"tenant_id": tenant_id, "upstream_key_id": upstream_key_id, "upstream_order_id": order_id}
    return Query(_save_order(tuple(values)), order | values, lambda answer: answer.row.rental_id)


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


async def announce(
    connection: AsyncConnection, caller: Caller, event_type: EventType, rental_id: UUID
) -> schemas.Rental:
    """Write an event about a rental, which it shows as it is now; returns that."""
    rental = await get(connection, caller.tenant_id, rental_id)
    events.emit(connection, caller, event_type, rental.model_dump(mode="json"), rental_id=rental_id)
    return rental


def _orders_by_rental(tenant_id: UUID, rental_ids: Sequence[UUID]) -> Query[dict[UUID, list[Any]]]:
    def by_rental(answer: Answer) -> dict[UUID, list[Any]]:
        found: dict[UUID, list[Any]] = defaultdict(list)
        for order in answer.rows:
            found[order.rental_id].append(order)
        return found

    return Query(_ORDERS, {"tenant": tenant_id, "rentals": list(rental_ids)}, by_rental)


def _render(row: Any) -> schemas.Rental:
    # While a rental lives, whatever its account was last seen with is true of it as well.
    seen = [at for at in (row.synced_at, row.looked_at if row.status in LIVING else None) if at]
    orders = [schemas.UpstreamOrder(**order) for order in row.orders or ()]
    return schemas.Rental(
        id=row.id,
        status=row.status,
        number_state=row.number_state,
        phone_number=row.phone_number,
        country=row.country,
        services=[schemas.RentedService(**service) for service in row.services],
        period=None
        if row.period_unit is None
        else schemas.PeriodOut(unit=row.period_unit, count=row.period_count),
        created_at=row.created_at,
        expires_at=row.expires_at,
        prolongation=schemas.Prolongation(
            available=row.can_prolong, max_days=row.prolong_max, until=row.prolong_until
        ),
        last_online_at=row.last_online_at,
        has_new_sms=row.has_new_sms,
        restorable=row.restorable,
        price=Money.of(row.price),
        source=row.source,
        upstream_orders=orders,
        upstream_order_id=orders[0].id if orders else None,
        upstream_key_id=row.upstream_key_id,
        pending_operation=row.pending_operation_id,
        auto_prolong=row.auto_prolong,
        metadata=row.metadata,
        synced_at=max(seen) if seen else None,
    )


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
            rentals.c.tenant_id == tenant_id,
            rentals.c.upstream_key_id == upstream_key_id,
            rentals.c.status.in_(LIVING),
        )
    )
    return await connection.scalar(query) or 0


async def listed_order_ids(connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID) -> set[str]:
    """The orders that an account showed when it was last looked at."""
    query = sa.select(upstream_orders.c.upstream_order_id).where(
        upstream_orders.c.tenant_id == tenant_id,
        upstream_orders.c.upstream_key_id == upstream_key_id,
        upstream_orders.c.status == "listed",
        upstream_orders.c.missed_looks == 0,
    )
    return set(await connection.scalars(query))
