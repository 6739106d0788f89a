"""Closes what a dead process left behind: operations that nobody attends to any more."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts import schedule
from app.database import WORKER, Access, Database
from app.idempotency import repository as idempotency
from app.operations import ledger
from app.operations.ledger import Operation
from app.operations.states import Kind, State
from app.rentals import outcomes, settlement


async def adopt_orphans(database: Database) -> int:
    """Settle unattended operations as far as they tell: never sent means failed, sent means unknown.

    Returns:
        how many were adopted.
    """
    async with database.transaction(WORKER) as connection:
        found = await ledger.unattended(connection)
    for tenant_id, operation_id in found:
        async with database.transaction(Access.tenant(tenant_id)) as connection:
            left = await ledger.get(connection, tenant_id, operation_id)
            await schedule.lock(connection, tenant_id, left.upstream_key_id)
            operation = await ledger.still_unattended(connection, tenant_id, operation_id)
            if operation is not None:
                await _adopt(connection, operation)
    return len(found)


async def _adopt(connection: AsyncConnection, operation: Operation) -> None:
    if operation.state is State.QUEUED:
        if operation.answered_at is None:
            await idempotency.forget_operation(connection, operation.tenant_id, operation.id)
        await outcomes.not_made(connection, operation)
        return
    settled = await ledger.settle(connection, operation, State.UNKNOWN)
    if settled is None:
        return
    if settled.kind is Kind.CREATE:
        await settlement.purchase_pending(connection, settled)
    await schedule.make_due(connection, settled.tenant_id, settled.upstream_key_id)
