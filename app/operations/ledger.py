"""The ledger of operations: every step is a conditional update, so that no two processes both take it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit import repository as audit
from app.audit.caller import Caller
from app.database import new_id
from app.errors import InternalError, NotFound, PurchaseNotMade, RentgateError, UpstreamRefusal, catalogue
from app.operations import spending
from app.operations.models import operations
from app.operations.states import OPEN, Kind, State, origins

LATE_ORDERS = timedelta(days=2)
"""For how long after its call an order that turns up is still looked for an operation to belong to."""

ATTENDED_SECONDS = 15.0
"""How long a queued operation counts as attended after its process was last heard of."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One paid or changing call, as the ledger holds it."""

    tenant_id: UUID
    id: UUID
    kind: Kind
    state: State
    upstream_key_id: UUID
    rental_id: UUID
    request: Mapping[str, Any]
    price: Decimal | None
    error: Mapping[str, Any] | None
    candidates: Sequence[Mapping[str, Any]] | None
    actor: str
    request_id: str | None
    answered_at: datetime | None
    created_at: datetime
    sent_at: datetime | None
    settled_at: datetime | None
    absent_seconds: float
    absent_seen_at: datetime | None

    @property
    def is_open(self) -> bool:
        """Whether its outcome is still to come."""
        return self.state in OPEN

    @property
    def caller(self) -> Caller:
        """In whose name it was made."""
        return Caller(self.tenant_id, self.actor, request_id=self.request_id)


_COLUMNS = [operations.c[name] for name in Operation.__slots__]


def _operation(row: sa.Row[Any]) -> Operation:
    values = dict(row._mapping)
    return Operation(**{**values, "kind": Kind(row.kind), "state": State(row.state)})


async def commit_intent(
    connection: AsyncConnection,
    caller: Caller,
    kind: Kind,
    *,
    upstream_key_id: UUID,
    rental_id: UUID,
    request: Mapping[str, Any],
    price: Decimal | None,
) -> Operation:
    """Write down what is about to be done, holding its price against the tenant's limit.

    Raises:
        SpendLimitExceeded: the tenant's limit for the month leaves no room for the price.
        PriceUnknown: the tenant has a limit, and there is no price to check against it.
    """
    operation_id = new_id()
    row = (
        await connection.execute(
            operations.insert()
            .values(
                tenant_id=caller.tenant_id,
                id=operation_id,
                kind=kind,
                state=State.QUEUED,
                upstream_key_id=upstream_key_id,
                rental_id=rental_id,
                request=dict(request),
                price=price,
                actor=caller.actor,
                request_id=caller.request_id,
                attended_until=sa.func.clock_timestamp() + timedelta(seconds=ATTENDED_SECONDS),
            )
            .returning(*_COLUMNS)
        )
    ).one()
    if kind is not Kind.ACTIVATE:
        await spending.hold(connection, caller.tenant_id, operation_id, price)
    await audit.record(
        connection,
        caller,
        f"operation.{kind}",
        target=operation_id,
        outcome="accepted",
        details={"rental_id": str(rental_id)},
    )
    return _operation(row)


async def attend(connection: AsyncConnection, operation: Operation) -> bool:
    """Say that a queued operation's process is alive; False if it isn't queued any more."""
    result = await connection.execute(
        operations.update()
        .where(*_this(operation), operations.c.state == State.QUEUED)
        .values(attended_until=sa.func.clock_timestamp() + timedelta(seconds=ATTENDED_SECONDS))
    )
    return bool(result.rowcount)


async def mark_sent(connection: AsyncConnection, operation: Operation, seconds: float) -> bool:
    """Note that the call is about to be made and ends within `seconds`; False if it may not be made."""
    now = sa.func.clock_timestamp()
    result = await connection.execute(
        operations.update()
        .where(*_this(operation), operations.c.state == State.QUEUED, operations.c.attended_until > now)
        .values(state=State.SENT, sent_at=now, attended_until=now + timedelta(seconds=seconds))
    )
    return bool(result.rowcount)


async def settle(
    connection: AsyncConnection,
    operation: Operation,
    state: State,
    *,
    error: RentgateError | None = None,
    candidates: Sequence[Mapping[str, Any]] | None = None,
) -> Operation | None:
    """Take the operation to a state, if a way leads there from where it is; None if none does.

    The hold is spent on success and released on failure. A `state` of unknown or review leaves it held.
    """
    settled = state in (State.SUCCEEDED, State.FAILED)
    row = (
        await connection.execute(
            operations.update()
            .where(*_this(operation), operations.c.state.in_(origins(state)))
            .values(
                state=state,
                error=None if error is None else error_record(error),
                candidates=None if candidates is None else list(candidates),
                settled_at=sa.func.clock_timestamp() if settled else None,
                attended_until=sa.func.clock_timestamp(),
            )
            .returning(*_COLUMNS)
        )
    ).one_or_none()
    if row is None:
        return None
    if settled:
        await spending.settle(connection, operation.tenant_id, operation.id, spent=state is State.SUCCEEDED)
    await audit.record(
        connection,
        operation.caller,
        f"operation.{operation.kind}",
        target=operation.id,
        outcome=error.code if error is not None else state.value,
        details={"rental_id": str(operation.rental_id)},
    )
    return _operation(row)


async def mark_answered(connection: AsyncConnection, operation: Operation) -> Operation:
    """Note that the caller was told 202, locking the operation against being settled meanwhile."""
    row = (
        await connection.execute(
            operations.update()
            .where(*_this(operation))
            .values(answered_at=sa.func.coalesce(operations.c.answered_at, sa.func.clock_timestamp()))
            .returning(*_COLUMNS)
        )
    ).one()
    return _operation(row)


async def count_absence(connection: AsyncConnection, operation: Operation, seconds: float) -> None:
    """Add to the time for which the upstream's lists, when they could be read, lacked the operation."""
    await connection.execute(
        operations.update()
        .where(*_this(operation))
        .values(
            absent_seconds=operations.c.absent_seconds + seconds,
            absent_seen_at=sa.func.clock_timestamp(),
        )
    )


async def forget_last_absence(connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID) -> None:
    """The list could not be read: the time until it can be again is no absence."""
    await connection.execute(
        operations.update()
        .where(
            operations.c.tenant_id == tenant_id,
            operations.c.upstream_key_id == upstream_key_id,
            operations.c.state == State.UNKNOWN,
        )
        .values(absent_seen_at=None)
    )


async def get(connection: AsyncConnection, tenant_id: UUID, operation_id: UUID) -> Operation:
    """One operation.

    Raises:
        NotFound: the tenant has no such operation.
    """
    query = sa.select(*_COLUMNS).where(operations.c.tenant_id == tenant_id, operations.c.id == operation_id)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise NotFound("There is no such operation.")
    return _operation(row)


async def of_account(
    connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID, *states: State
) -> list[Operation]:
    """An account's operations in these open states, oldest first."""
    query = (
        sa.select(*_COLUMNS)
        .where(
            operations.c.tenant_id == tenant_id,
            operations.c.upstream_key_id == upstream_key_id,
            operations.c.state.in_(OPEN),
            operations.c.state.in_(states),
        )
        .order_by(operations.c.id)
    )
    return [_operation(row) for row in await connection.execute(query)]


async def given_up(connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID) -> list[Operation]:
    """An account's operations whose order may still turn up, the one sent last first.

    A restore that was tried again since is none of them: what turned up belongs to the later try.
    """
    later = operations.alias("later")
    tried_again = (
        sa.select(later.c.id)
        .where(
            later.c.tenant_id == operations.c.tenant_id,
            later.c.rental_id == operations.c.rental_id,
            later.c.kind == Kind.RESTORE,
            later.c.id > operations.c.id,
            later.c.state != State.FAILED,
        )
        .exists()
    )
    query = (
        sa.select(*_COLUMNS)
        .where(
            operations.c.tenant_id == tenant_id,
            operations.c.upstream_key_id == upstream_key_id,
            operations.c.sent_at > sa.func.clock_timestamp() - LATE_ORDERS,
            operations.c.kind.in_([Kind.CREATE, Kind.RESTORE]),
            sa.or_(
                operations.c.state == State.REVIEW,
                sa.and_(
                    operations.c.state == State.FAILED,
                    operations.c.error["code"].astext == PurchaseNotMade.code,
                ),
            ),
            ~tried_again,
        )
        .order_by(operations.c.sent_at.desc())
    )
    return [_operation(row) for row in await connection.execute(query)]


async def listed(
    connection: AsyncConnection,
    tenant_id: UUID,
    *,
    state: State | None,
    kind: Kind | None,
    rental_id: UUID | None,
    limit: int,
    before: UUID | None,
) -> list[Operation]:
    """The tenant's operations, newest first, older than the operation `before`."""
    query = sa.select(*_COLUMNS).where(operations.c.tenant_id == tenant_id)
    if state is not None:
        query = query.where(operations.c.state == state)
    if kind is not None:
        query = query.where(operations.c.kind == kind)
    if rental_id is not None:
        query = query.where(operations.c.rental_id == rental_id)
    if before is not None:
        query = query.where(operations.c.id < before)
    rows = await connection.execute(query.order_by(operations.c.id.desc()).limit(limit))
    return [_operation(row) for row in rows]


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


async def open_by_state(connection: AsyncConnection) -> tuple[dict[str, int], float]:
    """How many operations of all tenants are open, by state, and for how many seconds the oldest unknown
    one has been; for the worker.
    """
    rows = await connection.execute(
        sa.select(operations.c.state, sa.func.count(), sa.func.min(operations.c.sent_at))
        .where(operations.c.state.in_(OPEN))
        .group_by(operations.c.state)
    )
    found = {row[0]: (row[1], row[2]) for row in rows}
    counts = {state.value: found.get(state.value, (0, None))[0] for state in OPEN}
    oldest = found.get(State.UNKNOWN.value, (0, None))[1]
    now = await connection.scalar(sa.select(sa.func.clock_timestamp()))
    return counts, 0.0 if oldest is None or now is None else (now - oldest).total_seconds()


async def still_unattended(
    connection: AsyncConnection, tenant_id: UUID, operation_id: UUID
) -> Operation | None:
    """The operation, locked, if it is unattended still."""
    query = sa.select(*_COLUMNS).where(
        operations.c.tenant_id == tenant_id,
        operations.c.id == operation_id,
        operations.c.state.in_([State.QUEUED, State.SENT]),
        operations.c.attended_until < sa.func.clock_timestamp(),
    )
    row = (await connection.execute(query.with_for_update())).one_or_none()
    return None if row is None else _operation(row)


def error_record(error: RentgateError) -> dict[str, Any]:
    """An error as the ledger keeps it."""
    # An error without a code is ours alone to mend, and so is its text.
    known = error if error.code else InternalError()
    record: dict[str, Any] = {"code": known.code, "detail": known.detail}
    if error.upstream is not None:
        record["upstream"] = {"method": error.upstream.method, "message": error.upstream.message}
    if error.required is not None:
        record["required"] = str(error.required)
    if error.retry_after is not None:
        record["retry_after"] = error.retry_after
    return record


def error_of(operation: Operation) -> RentgateError:
    """The error of a failed operation, as it was first raised."""
    record = operation.error or {"code": "purchase_not_made"}
    upstream = record.get("upstream")
    required = record.get("required")
    return catalogue()[record["code"]](
        record.get("detail"),
        upstream=UpstreamRefusal(**upstream) if upstream else None,
        required=Decimal(required) if required is not None else None,
        retry_after=record.get("retry_after"),
        operation_id=str(operation.id),
    )


def _this(operation: Operation) -> tuple[sa.ColumnElement[bool], ...]:
    return operations.c.tenant_id == operation.tenant_id, operations.c.id == operation.id
