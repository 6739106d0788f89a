"""Activating a rental's number, so that it can receive."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit.caller import Caller
from app.errors import RentgateError
from app.events.types import EventType
from app.idempotency.repository import Claim
from app.kinds.changes import ChangeRequest, Changes, Outcome, living, step_of
from app.kinds.kind import Evidence, Kind, announce, free, save_order
from app.operations.call import Call
from app.operations.operation import Operation
from app.rentals.repository import Row
from app.rentals.schemas import Rental
from app.upstream.wire import NumberState, Order, PurchasedOrder

log = structlog.get_logger(__name__)

_RUNNING = frozenset({NumberState.ACTIVATING, NumberState.ACTIVE})


async def activate(changes: Changes, caller: Caller, rental_id: UUID, claim: Claim | None) -> Outcome:
    """Have a number activated, so that it can receive.

    Raises:
        RentalNotActive: the rental has no living order.
        OperationPending: another operation on it is open.
        RentgateError: the upstream's refusal.
    """

    def request_for(rental: Row, orders: Sequence[Row]) -> ChangeRequest:
        return ChangeRequest(orders=(step_of(living(rental, orders)[0]),))

    return await changes.run(caller, KIND, rental_id, request_for, claim=claim)


async def activate_bought(changes: Changes, caller: Caller, rental_id: UUID) -> None:
    """Activate what was just bought; a failure never hides the number, and stands in its history."""
    try:
        await activate(changes, caller, rental_id, None)
    except RentgateError as error:
        log.info("rental.activation_failed", rental_id=str(rental_id), code=error.code)


def _call(operation: Operation) -> Call:
    order_id = operation.order.id
    return Call("activate", lambda client, key, by: client.activate(key, order_id=order_id, send_by=by))


def _fitting(evidence: Evidence) -> list[list[Order]]:
    order = evidence.same
    return [[order]] if order is not None and order.state in _RUNNING else []


def _would_show(evidence: Evidence) -> bool:
    return evidence.same is None or evidence.same.state is not None


async def _activated(
    connection: AsyncConnection, operation: Operation, _orders: Sequence[PurchasedOrder]
) -> None:
    """The upstream took the number into its activation queue."""
    await save_order(connection, operation, number_state=NumberState.ACTIVATING.value)


async def _done(connection: AsyncConnection, operation: Operation, _event: EventType | None) -> Rental:
    await free(connection, operation, number_state=NumberState.ACTIVATING.value)
    return await announce(connection, operation, EventType.RENTAL_ACTIVATING)


async def _failed(connection: AsyncConnection, operation: Operation, _error: RentgateError) -> None:
    await free(connection, operation)
    await announce(connection, operation, EventType.RENTAL_ACTIVATION_FAILED)


KIND = Kind(
    name="activate",
    spends=False,
    status=202,
    request=ChangeRequest,
    call=_call,
    fitting=_fitting,
    would_show=_would_show,
    step_done=_activated,
    done=_done,
    failed=_failed,
)
