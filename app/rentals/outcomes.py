"""Carrying an outcome through that was found out by looking: the operation, its rental, its event."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import PurchaseNotMade
from app.events.types import EventType
from app.operations import ledger
from app.operations.ledger import Operation
from app.operations.states import Kind, State
from app.rentals import settlement
from app.rentals.settlement import BoughtOrder


async def made(
    connection: AsyncConnection,
    operation: Operation,
    orders: Sequence[BoughtOrder],
    event: EventType = EventType.RENTAL_CREATED,
) -> Operation | None:
    """The operation was carried out, and these orders show it; None if it was settled already.

    Args:
        event: what a purchase announces.
    """
    settled = await ledger.settle(connection, operation, State.SUCCEEDED)
    if settled is None:
        return None
    if settled.kind is Kind.CREATE:
        await settlement.purchased(connection, settled, orders, event)
    elif settled.kind is Kind.ACTIVATE:
        await settlement.activated(connection, settled)
    else:
        await settlement.restored(connection, settled, orders[0].order_id, orders[0].expires_at)
    return settled


async def not_made(connection: AsyncConnection, operation: Operation) -> Operation | None:
    """The operation was surely not carried out; None if it was settled already."""
    error = PurchaseNotMade(operation_id=str(operation.id))
    settled = await ledger.settle(connection, operation, State.FAILED, error=error)
    if settled is None:
        return None
    failed = {
        Kind.CREATE: settlement.purchase_failed,
        Kind.ACTIVATE: settlement.activation_failed,
        Kind.RESTORE: settlement.restore_failed,
    }[settled.kind]
    await failed(connection, settled, error)
    return settled
