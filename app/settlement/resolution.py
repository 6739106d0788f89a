"""Settling by hand what the gateway would have to guess: operations in review."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts import schedule
from app.audit import repository as audit
from app.audit.caller import Caller
from app.errors import FieldError, InvalidRequest
from app.events.types import EventType
from app.operations import lookup
from app.operations.operation import Operation, error_of
from app.operations.states import State
from app.rentals import repository
from app.settlement import outcomes
from app.upstream.wire import PurchasedOrder


async def resolve(
    connection: AsyncConnection,
    caller: Caller,
    operation_id: UUID,
    *,
    succeeded: bool,
    upstream_order_id: str | None,
) -> Operation:
    """Settle an operation in review, as a person found it to be.

    Args:
        upstream_order_id: which of the candidates it made, where it succeeded; may be left out if there
            is but one.

    Raises:
        NotFound: the tenant has no such operation.
        InvalidRequest: it is not in review, or the order is none of its candidates or taken by now.
    """
    operation = await lookup.get(connection, caller.tenant_id, operation_id)
    await schedule.lock(connection, caller.tenant_id, operation.upstream_key_id)
    operation = await lookup.get(connection, caller.tenant_id, operation_id)
    if operation.state is not State.REVIEW:
        raise InvalidRequest(f"The operation is not in review: it is {operation.state.value}.")
    if succeeded and operation.candidates:
        orders = await _chosen(connection, operation, upstream_order_id)
        settled = await outcomes.made(connection, operation, orders, event=EventType.RENTAL_RECOVERED)
    elif upstream_order_id is not None:
        raise _wrong_order("Only an operation that succeeded, and has candidates, made an order.")
    elif succeeded:
        settled = await outcomes.accepted(connection, operation)
    else:  # of what was refused it stays known that it was
        why = error_of(operation) if operation.error else None
        settled = await outcomes.failed(connection, operation, why)
    audit.record(
        connection,
        caller,
        "operation.resolve",
        target=operation_id,
        outcome=State.SUCCEEDED.value if succeeded else State.FAILED.value,
        details={"upstream_order_id": upstream_order_id},
    )
    return settled or operation


async def give_up_account(connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID) -> None:
    """Leave an account's open operations to a person: the account is deleted, and nobody can look at it any
    more. It has to be locked. What is still waiting to be sent for the first time finds no key, and fails.
    """
    for operation in await lookup.open_of_account(connection, tenant_id, upstream_key_id):
        if operation.state is not State.REVIEW and (operation.state is not State.QUEUED or operation.step):
            await outcomes.to_review(connection, operation)


async def _chosen(
    connection: AsyncConnection, operation: Operation, upstream_order_id: str | None
) -> list[PurchasedOrder]:
    """The order that was chosen, and those of its number that came with it."""
    candidates = {candidate["upstream_order_id"]: candidate for candidate in operation.candidates or ()}
    if upstream_order_id is None:
        numbers = {candidate["phone_number"] for candidate in candidates.values()}
        if len(numbers) != 1:
            raise _wrong_order("Name the order that the operation made: one of its candidates.")
        upstream_order_id = next(iter(candidates))
    chosen = candidates.get(upstream_order_id)
    if chosen is None:
        raise _wrong_order("This order is none of the operation's candidates.")
    ids = [
        order_id
        for order_id, candidate in candidates.items()
        if order_id == upstream_order_id or candidate["phone_number"] == chosen["phone_number"]
    ]
    rows = await repository.unclaimed(connection, operation.tenant_id, operation.upstream_key_id, ids)
    if upstream_order_id not in {row.upstream_order_id for row in rows}:
        raise _wrong_order("This order belongs to another rental by now.")
    return [
        PurchasedOrder(row.upstream_order_id, row.phone_number, row.service, row.expires_at) for row in rows
    ]


def _wrong_order(message: str) -> InvalidRequest:
    return InvalidRequest(fields=(FieldError("body.upstream_order_id", message),))
