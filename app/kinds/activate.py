"""Activating a rental's number, so that it can receive."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit.caller import Caller
from app.errors import RentgateError
from app.events.types import EventType
from app.idempotency.repository import Claim
from app.kinds.changes import ChangeRequest, Changes, Outcome, living, step_of
from app.kinds.kind import Effects, Evidence, Kind, Listed, Stranger, announce, free, save_order
from app.operations.call import Call
from app.operations.operation import Operation
from app.rentals.repository import Row
from app.rentals.schemas import Rental
from app.upstream.client import UpstreamClient
from app.upstream.wire import NumberState, Order, PurchasedOrder

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


def _call(operation: Operation) -> Call:
    async def make(client: UpstreamClient, api_key: str, send_by: float) -> tuple[PurchasedOrder, ...]:
        await client.activate(api_key, order_id=operation.order.id, send_by=send_by)
        return ()

    return Call("activate", make)


def _fitting(
    operation: Operation, _sent_at: datetime, listed: Listed, _strangers: Sequence[Stranger]
) -> list[list[Order]]:
    order = listed.get(operation.order.id)
    return [[order]] if order is not None and order.state in _RUNNING else []


def _would_show(
    operation: Operation, _sent_at: datetime, listed: Listed, _strangers: Sequence[Stranger]
) -> bool:
    order = listed.get(operation.order.id)
    return order is None or order.state is not None


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
    evidence=Evidence(_fitting, _would_show),
    effects=Effects(step_done=_activated, done=_done, failed=_failed),
)
