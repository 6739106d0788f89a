"""Giving a rental up before its end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit.caller import Caller
from app.events.types import EventType
from app.idempotency.repository import Claim
from app.kinds.changes import ChangeRequest, Changes, Outcome, living, step_of
from app.kinds.kind import Effects, Evidence, Kind, Listed, Stranger, free, save_order
from app.operations.call import Call
from app.operations.operation import Operation
from app.rentals import intake, repository
from app.rentals.repository import Row
from app.upstream.client import UpstreamClient
from app.upstream.wire import Order, PurchasedOrder


async def delete(changes: Changes, caller: Caller, rental_id: UUID, claim: Claim | None) -> Outcome:
    """Give a rental up before its end; the upstream promises no refund.

    Raises:
        RentalNotActive: it has no living order.
        RentgateError: it was not deleted, and why.
    """
    await changes.read_whole(caller, rental_id)

    def request_for(rental: Row, orders: Sequence[Row]) -> ChangeRequest:
        return ChangeRequest(orders=tuple(step_of(order) for order in living(rental, orders)))

    return await changes.run(caller, KIND, rental_id, request_for, claim=claim)


def _call(operation: Operation) -> Call:
    async def make(client: UpstreamClient, api_key: str, send_by: float) -> tuple[PurchasedOrder, ...]:
        await client.delete(api_key, order_id=operation.order.id, send_by=send_by)
        return ()

    return Call("delete", make)


def _fitting(
    _operation: Operation, _sent_at: datetime, _listed: Listed, _strangers: Sequence[Stranger]
) -> list[list[Order]]:
    return []  # what shows it is an absence


def _would_show(
    _operation: Operation, _sent_at: datetime, _listed: Listed, _strangers: Sequence[Stranger]
) -> bool:
    return True


async def _deleted(
    connection: AsyncConnection, operation: Operation, _orders: Sequence[PurchasedOrder]
) -> None:
    await save_order(connection, operation, status="deleted", has_new_sms=False)
    await repository.update(
        connection, operation.tenant_id, operation.rental_id
    )  # no older list brings it back


async def _done(connection: AsyncConnection, operation: Operation, _event: EventType | None) -> None:
    await free(connection, operation)
    await intake.refresh_rental(connection, operation.caller, operation.rental_id, None)


KIND = Kind(
    name="delete",
    spends=False,
    status=204,
    request=ChangeRequest,
    call=_call,
    evidence=Evidence(_fitting, _would_show, by_absence=True),
    effects=Effects(step_done=_deleted, done=_done),
)
