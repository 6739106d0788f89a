"""Goes on with what a dead process left behind: operations that nobody attends to any more."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts import schedule
from app.database import WORKER, Access, Database
from app.idempotency import repository as idempotency
from app.operations import ledger, lookup
from app.operations.operation import Operation
from app.operations.states import State
from app.settlement import outcomes


async def adopt_orphans(database: Database, resume: Callable[[Operation], None]) -> int:
    """Go on with unattended operations as far as they tell: never sent means failed, sent means unknown;
    where one step was done, the next one follows.

    Args:
        resume: begins to drive an operation that this process attends to from now on.

    Returns:
        how many were adopted.
    """
    async with database.transaction(WORKER) as connection:
        found = await lookup.unattended(connection)
    for tenant_id, operation_id in found:
        async with database.transaction(Access.tenant(tenant_id)) as connection:
            left = await lookup.get(connection, tenant_id, operation_id)
            await schedule.lock(connection, tenant_id, left.upstream_key_id)
            operation = await lookup.still_unattended(connection, tenant_id, operation_id)
            goes_on = operation is not None and await _adopt(connection, operation)
        if operation is not None and goes_on:
            resume(operation)
    return len(found)


async def _adopt(connection: AsyncConnection, operation: Operation) -> bool:
    """Settle what can be settled; returns whether the operation has a step to be sent."""
    if operation.state is State.SENT:
        settled = await outcomes.unknown(connection, operation)
        if settled is not None:
            await schedule.make_due(connection, settled.tenant_id, settled.upstream_key_id)
        return False
    if operation.step:
        return await ledger.attend(connection, operation)
    if operation.answered_at is None:
        await idempotency.forget_operation(connection, operation.tenant_id, operation.id)
    await outcomes.not_made(connection, operation)
    return False
