"""Finding operations: of a tenant, of an account, and those that nobody attends to any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database import NOW, seconds
from app.database.pipeline import Answer, Query, run
from app.errors import NotFound, PurchaseNotMade
from app.operations.models import operations
from app.operations.operation import COLUMN_NAMES, COLUMNS, Operation, from_row
from app.operations.states import OPEN, State

LATE_ORDERS = timedelta(days=2)
"""For how long after its call an order that turns up is still looked for an operation to belong to."""


OPEN_STATES = ", ".join(f"'{state.value}'" for state in sorted(OPEN))
"""As they stand in SQL: the planner takes a partial index only for what it can read."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """Operations in one state: how many, and seconds since the oldest was sent, or made if it never was."""

    count: int
    oldest_seconds: float


_THIS_ACCOUNT = "o.tenant_id = %(tenant_id)s and o.upstream_key_id = %(upstream_key_id)s"

_OF_ACCOUNT = f"""
    select {COLUMN_NAMES} from operations o
    where {_THIS_ACCOUNT} and o.state in ({OPEN_STATES}) and o.state = any(%(states)s)
    order by o.id
"""  # noqa: S608 - put together of our own words

_GIVEN_UP = f"""
    select {COLUMN_NAMES} from operations o
    where {_THIS_ACCOUNT} and o.sent_at > clock_timestamp() - %(late_orders)s and o.kind = any(%(kinds)s)
        and (o.state = 'failed' and o.error ->> 'code' = %(not_made)s
            or o.state = 'review' and (o.error is null or o.error ->> 'code' = %(not_made)s))
        and not exists (
            select from operations later
            where later.tenant_id = o.tenant_id and later.rental_id = o.rental_id and later.kind = o.kind
                and later.request -> 'service' is not distinct from o.request -> 'service'
                and later.id > o.id and later.state <> 'failed'
        )
    order by o.sent_at desc
"""  # noqa: S608 - put together of our own words


async def get(connection: AsyncConnection, tenant_id: UUID, operation_id: UUID) -> Operation:
    """One operation.

    Raises:
        NotFound: the tenant has no such operation.
    """
    query = sa.select(*COLUMNS).where(operations.c.tenant_id == tenant_id, operations.c.id == operation_id)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise NotFound("There is no such operation.")
    return from_row(row)


async def of_account(
    connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID, *states: State
) -> list[Operation]:
    """An account's operations in these open states, oldest first."""
    return await run(connection, standing_of_account(tenant_id, upstream_key_id, *states))


def standing_of_account(tenant_id: UUID, upstream_key_id: UUID, *states: State) -> Query[list[Operation]]:
    """As `of_account`."""
    given = {"tenant_id": tenant_id, "upstream_key_id": upstream_key_id, "states": list(states)}
    return Query(_OF_ACCOUNT, given, _operations)


async def open_of_account(
    connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID
) -> list[Operation]:
    """All of an account's operations whose outcome is still to come, oldest first."""
    return await of_account(connection, tenant_id, upstream_key_id, *OPEN)


async def given_up(
    connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID, kinds: Sequence[str]
) -> list[Operation]:
    """An account's operations of these kinds whose order may still turn up, the one sent last first.

    What was refused is none of them, nor what was tried again with the same rental since: what turned up
    belongs to the later try.
    """
    given = {
        "tenant_id": tenant_id,
        "upstream_key_id": upstream_key_id,
        "kinds": list(kinds),
        "late_orders": LATE_ORDERS,
        "not_made": PurchaseNotMade.code,
    }
    return await run(connection, Query(_GIVEN_UP, given, _operations))


def _operations(answer: Answer) -> list[Operation]:
    return [from_row(row) for row in answer.rows]


async def listed(
    connection: AsyncConnection,
    tenant_id: UUID,
    *,
    state: State | None,
    kind: str | None,
    rental_id: UUID | None,
    limit: int,
    before: UUID | None,
) -> list[Operation]:
    """The tenant's operations, newest first, older than the operation `before`."""
    query = sa.select(*COLUMNS).where(operations.c.tenant_id == tenant_id)
    if state is not None:
        query = query.where(operations.c.state == state)
    if kind is not None:
        query = query.where(operations.c.kind == kind)
    if rental_id is not None:
        query = query.where(operations.c.rental_id == rental_id)
    if before is not None:
        query = query.where(operations.c.id < before)
    rows = await connection.execute(query.order_by(operations.c.id.desc()).limit(limit))
    return [from_row(row) for row in rows]


async def unattended(connection: AsyncConnection, limit: int = 100) -> list[tuple[UUID, UUID]]:
    """Operations of all tenants (tenant, id) whose process was not heard of in time; for the worker."""
    query = (
        sa.select(operations.c.tenant_id, operations.c.id)
        .where(
            operations.c.state.in_([State.QUEUED, State.SENT]),
            operations.c.attended_until < NOW,
        )
        .order_by(operations.c.attended_until)
        .limit(limit)
    )
    return [(row.tenant_id, row.id) for row in await connection.execute(query)]


async def open_by_state(connection: AsyncConnection) -> dict[State, Backlog]:
    """How many operations of all tenants stand in each open state, and since when; for the worker."""
    since = sa.func.coalesce(operations.c.sent_at, operations.c.created_at)
    rows = await connection.execute(
        sa.select(
            operations.c.state,
            sa.func.count(),
            sa.func.max(seconds(NOW - since)),
        )
        .where(operations.c.state.in_(OPEN))
        .group_by(operations.c.state)
    )
    found = {State(row[0]): Backlog(row[1], row[2]) for row in rows}
    return {state: found.get(state, Backlog(0, 0.0)) for state in State if state in OPEN}


async def still_unattended(
    connection: AsyncConnection, tenant_id: UUID, operation_id: UUID
) -> Operation | None:
    """The operation, locked, if it is unattended still."""
    query = sa.select(*COLUMNS).where(
        operations.c.tenant_id == tenant_id,
        operations.c.id == operation_id,
        operations.c.state.in_([State.QUEUED, State.SENT]),
        operations.c.attended_until < NOW,
    )
    row = (await connection.execute(query.with_for_update())).one_or_none()
    return None if row is None else from_row(row)
