"""What each kind of operation changes in its rental when it is done, and when it fails.

Each function runs in the settling transaction, after the operation itself was settled.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import RentgateError
from app.events.types import EventType
from app.operations.operation import Operation
from app.operations.states import Kind
from app.rentals import auto_prolong, intake, purchasing, repository
from app.rentals.schemas import Rental
from app.upstream.wire import NumberState, PurchasedOrder


@dataclass(frozen=True, slots=True)
class Effects:
    """What a kind of operation changes.

    Attributes:
        step_done: after each step; it is given the orders that the step made, as far as that is known.
        done: after the last step; it is given an event to announce instead of the usual one, or None, and
            gives the rental as it was announced, or None if there is nothing to announce of it.
        failed: when nothing was done.
    """

    step_done: Callable[[AsyncConnection, Operation, Sequence[PurchasedOrder]], Awaitable[None]]
    done: Callable[[AsyncConnection, Operation, EventType | None], Awaitable[Rental | None]]
    failed: Callable[[AsyncConnection, Operation, RentgateError], Awaitable[None]]


async def _activated(
    connection: AsyncConnection, operation: Operation, _orders: Sequence[PurchasedOrder]
) -> None:
    """The upstream took the number into its activation queue."""
    await _save_order(connection, operation, number_state=NumberState.ACTIVATING.value)


async def _activation_done(
    connection: AsyncConnection, operation: Operation, _event: EventType | None
) -> Rental:
    await _free(connection, operation, number_state=NumberState.ACTIVATING.value)
    return await _announce(connection, operation, EventType.RENTAL_ACTIVATING)


async def _activation_failed(
    connection: AsyncConnection, operation: Operation, _error: RentgateError
) -> None:
    await _free(connection, operation)
    await _announce(connection, operation, EventType.RENTAL_ACTIVATION_FAILED)


async def _restored(
    connection: AsyncConnection, operation: Operation, orders: Sequence[PurchasedOrder]
) -> None:
    """An order lives again, perhaps under a new id. Its new end is read back with the next list."""
    old_id = operation.order["id"]
    rental = await repository.locked(connection, operation.tenant_id, operation.rental_id)
    rows = await repository.orders_of(connection, operation.tenant_id, operation.rental_id)
    old = next(row for row in rows if row.upstream_order_id == old_id)
    new = orders[0]
    if new.order_id != old_id:
        await _save_order(connection, operation, status="replaced")
    await repository.save_order(
        connection,
        operation.tenant_id,
        operation.upstream_key_id,
        new.order_id,
        rental_id=operation.rental_id,
        service=old.service,
        service_name=old.service_name,
        phone_number=rental.phone_number,
        country=rental.country,
        number_state=NumberState.INACTIVE.value,
        expires_at=new.expires_at,
        missed_looks=0,
        status="listed",
    )


async def _restore_done(connection: AsyncConnection, operation: Operation, event: EventType | None) -> Rental:
    rows = await repository.orders_of(connection, operation.tenant_id, operation.rental_id)
    await _free(
        connection,
        operation,
        status="active",
        number_state=NumberState.INACTIVE.value,
        expires_at=min((row.expires_at for row in rows if row.expires_at), default=None),
        restorable=None,
        synced_at=sa.func.clock_timestamp(),
    )
    return await _announce(connection, operation, event or EventType.RENTAL_RESTORED)


async def _restore_failed(connection: AsyncConnection, operation: Operation, error: RentgateError) -> None:
    """The rental was not restored; that it never can be is remembered."""
    final = {"restorable": False} if error.code == "restore_not_available" else {}
    await _free(connection, operation, **final)


async def _prolong_done(connection: AsyncConnection, operation: Operation, _event: EventType | None) -> None:
    """The new end is read back with the next list, which also announces it: it is never computed."""
    await repository.outdate_ends(connection, operation.tenant_id, operation.rental_id)
    await _free(connection, operation)


async def _prolong_failed(connection: AsyncConnection, operation: Operation, error: RentgateError) -> None:
    """The upstream may still finish it late: what the end was before has to be seen anew."""
    await repository.outdate_ends(connection, operation.tenant_id, operation.rental_id)
    await _free(connection, operation)
    if operation.request.get("automatic"):
        never_sent = operation.sent_at is None
        await auto_prolong.failed(
            connection, operation.caller, operation.rental_id, error, never_sent=never_sent
        )


async def _service_added(
    connection: AsyncConnection, operation: Operation, orders: Sequence[PurchasedOrder]
) -> None:
    """The number has another service. The order for it may not be known yet: the next list shows it."""
    request = operation.request
    for order in orders:
        if order.order_id in request["known_orders"]:
            continue  # it stands for the new service beside its own, as the list tells
        await repository.save_order(
            connection,
            operation.tenant_id,
            operation.upstream_key_id,
            order.order_id,
            rental_id=operation.rental_id,
            service=order.service or request["service"],
            service_name=request["service_name"],
            phone_number=request["phone_number"],
            country=request["country"],
            expires_at=order.expires_at,
        )


async def _add_service_done(
    connection: AsyncConnection, operation: Operation, event: EventType | None
) -> Rental:
    request = operation.request
    rental = await repository.locked(connection, operation.tenant_id, operation.rental_id)
    added = {"code": request["service"], "name": request["service_name"]}
    services = [*(s for s in rental.services if s["code"] != added["code"]), added]
    rows = await repository.orders_of(connection, operation.tenant_id, operation.rental_id)
    ends = [row.expires_at for row in rows if row.status == "listed" and row.expires_at]
    await _free(connection, operation, services=services, expires_at=min(ends, default=rental.expires_at))
    return await _announce(connection, operation, event or EventType.RENTAL_SERVICE_ADDED)


async def _deleted(
    connection: AsyncConnection, operation: Operation, _orders: Sequence[PurchasedOrder]
) -> None:
    await _save_order(connection, operation, status="deleted", has_new_sms=False)
    await repository.update(
        connection, operation.tenant_id, operation.rental_id
    )  # no older list brings it back


async def _delete_done(connection: AsyncConnection, operation: Operation, _event: EventType | None) -> None:
    await _free(connection, operation)
    await intake.refresh_rental(connection, operation.caller, operation.rental_id, None)


async def _nothing_done(
    _connection: AsyncConnection, _operation: Operation, _orders: Sequence[PurchasedOrder]
) -> None:
    """For steps whose result only a list can tell."""


async def _failed(connection: AsyncConnection, operation: Operation, _error: RentgateError) -> None:
    """The rental stays as it was, and is free for another operation."""
    await _free(connection, operation)


async def _free(connection: AsyncConnection, operation: Operation, **values: Any) -> None:
    await repository.update(
        connection, operation.tenant_id, operation.rental_id, pending_operation_id=None, **values
    )


async def _announce(connection: AsyncConnection, operation: Operation, event: EventType) -> Rental:
    return await repository.announce(connection, operation.caller, event, operation.rental_id)


async def _save_order(connection: AsyncConnection, operation: Operation, **values: Any) -> None:
    """Change the row of the order that the present step was about."""
    await repository.save_order(
        connection, operation.tenant_id, operation.upstream_key_id, operation.order["id"], **values
    )


EFFECTS: dict[Kind, Effects] = {
    Kind.CREATE: Effects(purchasing.bought, purchasing.done, purchasing.failed),
    Kind.ACTIVATE: Effects(_activated, _activation_done, _activation_failed),
    Kind.RESTORE: Effects(_restored, _restore_done, _restore_failed),
    Kind.PROLONG: Effects(_nothing_done, _prolong_done, _prolong_failed),
    Kind.ADD_SERVICE: Effects(_service_added, _add_service_done, _failed),
    Kind.DELETE: Effects(_deleted, _delete_done, _failed),
}
