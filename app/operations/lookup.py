"""Finding operations: of a tenant, of an account, and those that nobody attends to any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database.pipeline import Answer, Query, Statement, constant, run
from app.errors import NotFound, PurchaseNotMade
from app.operations.models import operations
from app.operations.operation import COLUMNS, Operation, from_row
from app.operations.states import OPEN, State

LATE_ORDERS = timedelta(days=2)
"""For how long after its call an order that turns up is still looked for an operation to belong to."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Operations in one state: how many, and seconds since the oldest was sent, or made if it never was."""

    count: int
    oldest_seconds: float


_ACCOUNTS = (
    operations.c.tenant_id == sa.bindparam("tenant"),
    operations.c.upstream_key_id == sa.bindparam("account"),
)

_OF_ACCOUNT = Statement(
    sa.select(*COLUMNS)
    .where(
        *_ACCOUNTS,
        operations.c.state.in_([constant(state) for state in sorted(OPEN)]),
        operations.c.state == sa.any_(sa.bindparam("states", type_=ARRAY(sa.Text))),
    )
    .order_by(operations.c.id)
)


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
    return Query(
        _OF_ACCOUNT, {"tenant": tenant_id, "account": upstream_key_id, "states": list(states)}, _operations
    )


async def open_of_account(
    connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID
) -> list[Operation]:
    """All of an account's operations whose outcome is still to come, oldest first."""
    return await of_account(connection, tenant_id, upstream_key_id, *OPEN)


def _given_up() -> Statement:
    later = operations.alias("later")
    tried_again = (
        sa.select(later.c.id)
        .where(
            later.c.tenant_id == operations.c.tenant_id,
            later.c.rental_id == operations.c.rental_id,
            later.c.kind == operations.c.kind,
            later.c.request["service"].is_not_distinct_from(operations.c.request["service"]),
            later.c.id > operations.c.id,
            later.c.state != State.FAILED,
        )
        .exists()
    )
    not_made = operations.c.error["code"].astext == PurchaseNotMade.code
    return Statement(
        sa.select(*COLUMNS)
        .where(
            *_ACCOUNTS,
            operations.c.sent_at > sa.func.clock_timestamp() - LATE_ORDERS,
            operations.c.kind == sa.any_(sa.bindparam("kinds", type_=ARRAY(sa.Text))),
            sa.or_(
                sa.and_(
                    operations.c.state == constant(State.REVIEW),
                    sa.or_(operations.c.error.is_(None), not_made),
                ),
                sa.and_(operations.c.state == constant(State.FAILED), not_made),
            ),
            ~tried_again,
        )
        .order_by(operations.c.sent_at.desc())
    )


_GIVEN_UP = _given_up()


async def given_up(
    connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID, kinds: Sequence[str]
) -> list[Operation]:
    """An account's operations of these kinds whose order may still turn up, the one sent last first.

    What was refused is none of them, nor what was tried again with the same rental since: what turned up
    belongs to the later try.
    """
    given = {"tenant": tenant_id, "account": upstream_key_id, "kinds": list(kinds)}
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
            operations.c.attended_until < sa.func.clock_timestamp(),
        )
        .order_by(operations.c.attended_until)
        .limit(limit)
    )
    return [(row.tenant_id, row.id) for row in await connection.execute(query)]


async def open_by_state(connection: AsyncConnection) -> dict[State, Standing]:
    """How many operations of all tenants stand in each open state, and since when; for the worker."""
    since = sa.func.coalesce(operations.c.sent_at, operations.c.created_at)
    rows = await connection.execute(
        sa.select(
            operations.c.state,
            sa.func.count(),
            sa.func.max(sa.func.extract("epoch", sa.func.clock_timestamp() - since)).cast(sa.Double),
        )
        .where(operations.c.state.in_(OPEN))
        .group_by(operations.c.state)
    )
    found = {State(row[0]): Standing(row[1], row[2]) for row in rows}
    return {state: found.get(state, Standing(0, 0.0)) for state in State if state in OPEN}


async def still_unattended(
    connection: AsyncConnection, tenant_id: UUID, operation_id: UUID
) -> Operation | None:
    """The operation, locked, if it is unattended still."""
    query = sa.select(*COLUMNS).where(
        operations.c.tenant_id == tenant_id,
        operations.c.id == operation_id,
        operations.c.state.in_([State.QUEUED, State.SENT]),
        operations.c.attended_until < sa.func.clock_timestamp(),
    )
    row = (await connection.execute(query.with_for_update())).one_or_none()
    return None if row is None else from_row(row)
