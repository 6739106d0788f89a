"""Giving a rental up before its end."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit.caller import Caller
from app.events.types import EventType
from app.idempotency.repository import Claim
from app.kinds.changes import ChangeRequest, Changes, Outcome, living, step_of
from app.kinds.kind import Kind, free, save_order
from app.operations.call import Call
from app.operations.operation import Operation
from app.rentals import intake, repository
from app.rentals.repository import Row
from app.upstream.wire import PurchasedOrder


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
    order_id = operation.order.id
    return Call("delete", lambda client, key, by: client.delete(key, order_id=order_id, send_by=by))


async def _deleted(
    connection: AsyncConnection, operation: Operation, _orders: Sequence[PurchasedOrder]
) -> None:
    await save_order(connection, operation, status="deleted", has_new_sms=False)
    # No older list brings it back.
    await repository.update(connection, operation.tenant_id, operation.rental_id)


async def _done(connection: AsyncConnection, operation: Operation, _event: EventType | None) -> None:
    await free(connection, operation)
    await intake.refresh_rental(connection, operation.caller, operation.rental_id, None)


KIND = Kind(
    name="delete",
    spends=False,
    status=204,
    request=ChangeRequest,
    call=_call,
    by_absence=True,
    step_done=_deleted,
    done=_done,
)
