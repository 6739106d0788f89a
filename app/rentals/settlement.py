"""What the outcome of an operation changes in a rental; each function runs in the settling transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import RentgateError
from app.events.types import EventType
from app.operations.ledger import Operation
from app.rentals import repository
from app.rentals.models import rentals, upstream_orders

ACTIVATION_GRACE = timedelta(seconds=60)
"""How long the request that bought a number has to activate it before the worker does."""


@dataclass(frozen=True, slots=True)
class BoughtOrder:
    """An order that a purchase made, as far as the upstream told."""

    order_id: str
    phone_number: str | None
    service: str | None
    expires_at: datetime | None


async def purchased(
    connection: AsyncConnection,
    operation: Operation,
    orders: Sequence[BoughtOrder],
    event: EventType = EventType.RENTAL_CREATED,
) -> None:
    """A purchase was made: its rental is active, whether it was pending before or not there yet."""
    request = operation.request
    values = {
        "status": "active",
        "number_state": "inactive",
        "phone_number": next((order.phone_number for order in orders if order.phone_number), None),
        "expires_at": min((order.expires_at for order in orders if order.expires_at), default=None),
        "pending_operation_id": None,
        "activate_after": sa.func.clock_timestamp() + ACTIVATION_GRACE if request["activate"] else None,
        "changed_at": sa.func.clock_timestamp(),
        "synced_at": sa.func.clock_timestamp(),
    }
    await _save(connection, operation, values)
    for order in orders:
        await repository.save_order(
            connection,
            operation.tenant_id,
            operation.upstream_key_id,
            order.order_id,
            rental_id=operation.rental_id,
            service=order.service or request["services"][0],
            phone_number=order.phone_number,
            country=request["country"],
            expires_at=order.expires_at,
            number_state="inactive",
        )
    await repository.announce(connection, operation.caller, event, operation.rental_id)


async def purchase_pending(connection: AsyncConnection, operation: Operation) -> None:
    """A purchase's outcome is open: its caller gets a pending rental to look at."""
    if await _save(connection, operation, {"status": "pending", "pending_operation_id": operation.id}):
        await repository.announce(connection, operation.caller, EventType.RENTAL_PENDING, operation.rental_id)


async def purchase_failed(connection: AsyncConnection, operation: Operation, _error: RentgateError) -> None:
    """A purchase was not made: a pending rental fails; where there was none, none is left."""
    result = await connection.execute(
        rentals.update()
        .where(rentals.c.tenant_id == operation.tenant_id, rentals.c.id == operation.rental_id)
        .values(status="failed", pending_operation_id=None, changed_at=sa.func.clock_timestamp())
    )
    if result.rowcount:
        await repository.announce(connection, operation.caller, EventType.RENTAL_FAILED, operation.rental_id)


async def activated(connection: AsyncConnection, operation: Operation) -> None:
    """The upstream took the number into its activation queue."""
    await _free(connection, operation, number_state="activating")
    await connection.execute(
        upstream_orders.update()
        .where(
            upstream_orders.c.tenant_id == operation.tenant_id,
            upstream_orders.c.upstream_key_id == operation.upstream_key_id,
            upstream_orders.c.upstream_order_id == operation.request["upstream_order_id"],
        )
        .values(number_state="activating")
    )
    await repository.announce(connection, operation.caller, EventType.RENTAL_ACTIVATING, operation.rental_id)


async def activation_failed(connection: AsyncConnection, operation: Operation, _error: RentgateError) -> None:
    """The number was not activated; the rental stays as it was."""
    await _free(connection, operation)
    await repository.announce(
        connection, operation.caller, EventType.RENTAL_ACTIVATION_FAILED, operation.rental_id
    )


async def restored(
    connection: AsyncConnection,
    operation: Operation,
    new_order_id: str | None,
    expires_at: datetime | None = None,
) -> None:
    """The rental lives again, perhaps under a new upstream id.

    Args:
        expires_at: its new end as a list shows it; without one, the next look reads it back.
    """
    old_id = operation.request["upstream_order_id"]
    rental = await repository.locked(connection, operation.tenant_id, operation.rental_id)
    old = next(
        order
        for order in await repository.orders_of(connection, operation.tenant_id, operation.rental_id)
        if order.upstream_order_id == old_id
    )
    order_id = new_order_id or old_id
    if order_id != old_id:
        await repository.save_order(
            connection, operation.tenant_id, operation.upstream_key_id, old_id, status="replaced"
        )
    await repository.save_order(
        connection,
        operation.tenant_id,
        operation.upstream_key_id,
        order_id,
        rental_id=operation.rental_id,
        service=old.service,
        service_name=old.service_name,
        phone_number=rental.phone_number,
        country=rental.country,
        number_state="inactive",
        expires_at=expires_at,
        missed_looks=0,
        status="listed",
    )
    await _free(
        connection,
        operation,
        status="active",
        number_state="inactive",
        expires_at=expires_at,
        restorable=None,
        synced_at=sa.func.clock_timestamp(),
    )
    await repository.announce(connection, operation.caller, EventType.RENTAL_RESTORED, operation.rental_id)


async def restore_failed(connection: AsyncConnection, operation: Operation, error: RentgateError) -> None:
    """The rental was not restored; that it never can be is remembered."""
    final = {"restorable": False} if error.code == "restore_not_available" else {}
    await _free(connection, operation, **final)


async def still_pending(_connection: AsyncConnection, _operation: Operation) -> None:
    """Nothing to add: a rental that exists shows its open operation since the intent."""


async def _free(connection: AsyncConnection, operation: Operation, **values: Any) -> None:
    await repository.update(
        connection, operation.tenant_id, operation.rental_id, pending_operation_id=None, **values
    )


async def _save(connection: AsyncConnection, operation: Operation, values: dict[str, Any]) -> bool:
    """Insert the purchase's rental or change it; returns whether it was inserted."""
    request = operation.request
    statement = insert(rentals).values(
        tenant_id=operation.tenant_id,
        id=operation.rental_id,
        upstream_key_id=operation.upstream_key_id,
        country=request["country"],
        services=[{"code": code, "name": request["service_names"].get(code)} for code in request["services"]],
        period_unit=request["period"]["unit"],
        period_count=request["period"]["count"],
        price=operation.price,
        source="gateway",
        metadata=request["metadata"],
        created_at=operation.created_at,
        **values,
    )
    # xmax is 0 only in a row that this very statement inserted
    inserted = await connection.scalar(
        statement.on_conflict_do_update(constraint=rentals.primary_key, set_=values).returning(
            sa.literal_column("xmax = 0")
        )
    )
    return bool(inserted)
