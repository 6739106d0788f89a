"""What a purchase changes: the rental that comes of it, or is pending while the outcome is open.

Each function runs in the settling transaction, after the operation itself was settled.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import RentgateError
from app.events.notifications import notify
from app.events.types import EventType
from app.operations.operation import Operation
from app.queries import Answer, Query, Statement, run, run_together
from app.rentals import repository
from app.rentals.models import rentals
from app.rentals.schemas import Rental
from app.upstream.wire import NumberState, PurchasedOrder

ACTIVATION_GRACE = timedelta(seconds=60)
"""How long the request that bought a number has to activate it before the worker does."""


_WANTED = (
    *("tenant_id", "id", "upstream_key_id", "country", "services", "period_unit", "period_count"),
    *("price", "metadata", "created_at"),
)
"""The columns of a purchase's rental that its request tells."""


def _save(*told: str, **values: Any) -> Statement:
    """Inserts a purchase's rental or changes it, to these values and to those columns as they are given;
    tells whether it was inserted.
    """
    statement = insert(rentals).values(source="gateway", **values)
    changed = {name: statement.excluded[name] for name in (*told, *values)}
    # xmax is 0 only in a row that this very statement inserted
    inserted = sa.literal_column("xmax = 0", sa.Boolean).label("inserted")
    return Statement(
        statement.on_conflict_do_update(constraint=rentals.primary_key, set_=changed).returning(inserted),
        columns=(*_WANTED, *told),
    )


_SAVE_BOUGHT = _save(
    "phone_number",
    "expires_at",
    status="active",
    number_state=NumberState.INACTIVE.value,
    pending_operation_id=None,
    activate_after=sa.func.clock_timestamp() + sa.bindparam("activate_in", type_=sa.Interval),
    changed_at=sa.func.clock_timestamp(),
    synced_at=sa.func.clock_timestamp(),
)
_SAVE_PENDING = _save("pending_operation_id", status="pending")


async def bought(connection: AsyncConnection, operation: Operation, orders: Sequence[PurchasedOrder]) -> None:
    """The purchase was made: its rental is active, whether it was pending before or not there yet."""
    request = operation.request
    told = {
        "phone_number": next((order.phone_number for order in orders if order.phone_number), None),
        "expires_at": min((order.expires_at for order in orders if order.expires_at), default=None),
        "activate_in": ACTIVATION_GRACE if request["activate"] else None,
    }
    saving_orders = [
        repository.saving_order(
            operation.tenant_id,
            operation.upstream_key_id,
            order.order_id,
            rental_id=operation.rental_id,
            service=order.service or request["services"][0],
            phone_number=order.phone_number,
            country=request["country"],
            expires_at=order.expires_at,
            number_state=NumberState.INACTIVE.value,
        )
        for order in orders
    ]
    await run_together(connection, Query(_SAVE_BOUGHT, _wanted(operation) | told, _inserted), *saving_orders)
    notify(connection, operation.rental_id)


async def done(connection: AsyncConnection, operation: Operation, event: EventType | None) -> Rental:
    """The rental is there: tell of it."""
    return await repository.announce(
        connection, operation.caller, event or EventType.RENTAL_CREATED, operation.rental_id
    )


async def pending(connection: AsyncConnection, operation: Operation) -> None:
    """The outcome is open: the caller gets a pending rental to look at."""
    values = _wanted(operation) | {"pending_operation_id": operation.id}
    inserted = await run(connection, Query(_SAVE_PENDING, values, _inserted))
    notify(connection, operation.rental_id)
    if inserted:
        await repository.announce(connection, operation.caller, EventType.RENTAL_PENDING, operation.rental_id)


async def failed(connection: AsyncConnection, operation: Operation, _error: RentgateError) -> None:
    """The purchase was not made: a pending rental fails; where there was none, none is left."""
    result = await connection.execute(
        rentals.update()
        .where(rentals.c.tenant_id == operation.tenant_id, rentals.c.id == operation.rental_id)
        .values(status="failed", pending_operation_id=None, changed_at=sa.func.clock_timestamp())
    )
    if result.rowcount:
        await repository.announce(connection, operation.caller, EventType.RENTAL_FAILED, operation.rental_id)


def _inserted(answer: Answer) -> bool:
    return bool(answer.row.inserted)


def _wanted(operation: Operation) -> dict[str, Any]:
    """The values of _WANTED."""
    request = operation.request
    return {
        "tenant_id": operation.tenant_id,
        "id": operation.rental_id,
        "upstream_key_id": operation.upstream_key_id,
        "country": request["country"],
        "services": [
            {"code": code, "name": request["service_names"].get(code)} for code in request["services"]
        ],
        "period_unit": request["period"]["unit"],
        "period_count": request["period"]["count"],
        "price": operation.price,
        "metadata": request["metadata"],
        "created_at": operation.created_at,
    }
