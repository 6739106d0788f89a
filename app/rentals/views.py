"""Rentals as callers are shown them: in answers, in lists, and in events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit.caller import Caller
from app.database import columns
from app.database.pipeline import Query, run
from app.errors import RentalNotFound
from app.events import repository as events
from app.events.types import EventType
from app.rentals import schemas
from app.rentals.models import rentals
from app.rentals.repository import LIVING
from app.schemas import Money

_RENTAL = f"""
    select {columns(rentals, "r")}, l.looked_at, (
        select jsonb_agg(
            jsonb_build_object(
                'id', o.upstream_order_id, 'service', o.service, 'number_state', o.number_state,
                'expires_at', o.expires_at
            ) order by o.first_seen_at, o.upstream_order_id
        )
        from upstream_orders o
        where o.tenant_id = r.tenant_id and o.rental_id = r.id and o.status <> 'replaced'
    ) as orders
    from rentals r left join account_looks l
        on l.tenant_id = r.tenant_id and l.upstream_key_id = r.upstream_key_id
    where r.tenant_id = %(tenant_id)s
"""  # noqa: S608 - put together of our own words
"""A rental with its present orders, the first one first; null for none."""

_FILTERS: Mapping[str, LiteralString] = {
    "status": "r.status = %(status)s",
    "country": "r.country = %(country)s",
    "phone_number": "r.phone_number = %(phone_number)s",
    "service": "r.services @> jsonb_build_array(jsonb_build_object('code', %(service)s::text))",
    "upstream_order_id": """r.id in (
        select rental_id from upstream_orders
        where tenant_id = %(tenant_id)s and upstream_order_id = %(upstream_order_id)s
    )""",
    "created_after": "r.created_at >= %(created_after)s",
    "created_before": "r.created_at < %(created_before)s",
    "before": "r.id < %(before)s",
}


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
    """One rental.

    Raises:
        RentalNotFound: the tenant has no such rental.
    """
    given = {"tenant_id": tenant_id, "rental_id": rental_id}
    row = await run(
        connection, Query(f"{_RENTAL} and r.id = %(rental_id)s", given, lambda answer: answer.row)
    )
    if row is None:
        raise RentalNotFound
    return _shown(row)


async def listed(
    connection: AsyncConnection, tenant_id: UUID, wanted: RentalFilter, *, limit: int, before: UUID | None
) -> list[schemas.Rental]:
    """The tenant's rentals, newest first, older than the rental `before`."""
    given = {
        name: value for name, value in (asdict(wanted) | {"before": before}).items() if value is not None
    }
    filters = "".join(f" and {_FILTERS[name]}" for name in given)
    query = f"{_RENTAL}{filters} order by r.id desc limit %(limit)s"
    given |= {"tenant_id": tenant_id, "limit": limit}
    return await run(connection, Query(query, given, lambda answer: [_shown(row) for row in answer.rows]))


async def announce(
    connection: AsyncConnection, caller: Caller, event_type: EventType, rental_id: UUID
) -> schemas.Rental:
    """Write an event about a rental, which it shows as it is now; returns that."""
    rental = await get(connection, caller.tenant_id, rental_id)
    events.emit(connection, caller, event_type, rental.model_dump(mode="json"), rental_id=rental_id)
    return rental


def _shown(row: Any) -> schemas.Rental:
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
