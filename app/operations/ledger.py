"""The ledger of operations: every step is a conditional update, so that no two processes both take it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from psycopg.types.json import Jsonb
from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit import repository as audit
from app.audit.caller import Caller
from app.audit.repository import Entry
from app.database import NOW, new_id, this_account
from app.database.lease import until
from app.database.pipeline import Query, run, run_together
from app.errors import RentgateError, UpstreamRefusal
from app.operations import spending
from app.operations.models import operations
from app.operations.operation import COLUMN_NAMES, COLUMNS, Kind, Operation, error_record, from_row
from app.operations.states import State, origins

ATTENDED_SECONDS = 15.0
"""How long a queued operation counts as attended after its process was last heard of."""

NEXT_STEP_SECONDS = 3.0
"""How long the process that did a step has to begin with the next, before another one does."""


_INTEND = f"""
    insert into operations (
        tenant_id, id, kind, upstream_key_id, rental_id, request, price, actor, request_id,
        state, attended_until
    ) values (
        %(tenant_id)s, %(id)s, %(kind)s, %(upstream_key_id)s, %(rental_id)s, %(request)s, %(price)s,
        %(actor)s, %(request_id)s, 'queued', clock_timestamp() + make_interval(secs => {ATTENDED_SECONDS})
    )
    returning {COLUMN_NAMES}
"""  # noqa: S608 - put together of our own words

_THIS_STEP = "tenant_id = %(tenant_id)s and id = %(operation_id)s and step = %(step)s"

_MARK_SENT = f"""
    update operations
    set state = 'sent', sent_at = clock_timestamp(), attended_until = clock_timestamp() + %(lasts)s
    where {_THIS_STEP} and state = 'queued' and attended_until > clock_timestamp()
"""  # noqa: S608 - put together of our own words

_SETTLE = f"""
    update operations
    set state = %(state)s, error = %(error)s, candidates = %(candidates)s,
        settled_at = case when %(is_settled)s then clock_timestamp() end, attended_until = clock_timestamp()
    where {_THIS_STEP} and state = any(%(origins)s)
    returning {COLUMN_NAMES}
"""  # noqa: S608 - put together of our own words


async def commit_intent(
    connection: AsyncConnection,
    caller: Caller,
    kind: Kind,
    *,
    upstream_key_id: UUID,
    rental_id: UUID,
    request: Mapping[str, Any],
    price: Decimal | None,
    checks: Sequence[Query[Any]] = (),
) -> Operation:
    """Write down what is about to be done, holding its price against the tenant's limit.

    Args:
        request: as its row keeps it.
        price: in US dollars; None if it can't be told.
        checks: what is asked in the same round trip; reading an answer raises if it may not be done.

    Raises:
        SpendLimitExceeded: the tenant's limit for the month leaves no room for the price.
        PriceUnknown: the tenant has a limit, and there is no price to check against it.
    """
    operation_id = new_id()
    intent = {
        "tenant_id": caller.tenant_id,
        "id": operation_id,
        "kind": kind.name,
        "upstream_key_id": upstream_key_id,
        "rental_id": rental_id,
        "request": Jsonb(dict(request)),
        "price": price,
        "actor": caller.actor,
        "request_id": caller.request_id,
    }
    intending = Query(_INTEND, intent, lambda answer: from_row(answer.row))
    if not kind.spends:
        operation, *_ = await run_together(connection, intending, *checks)
        return operation
    holding = spending.holding(caller.tenant_id, operation_id, price)
    operation, fits, *_ = await run_together(connection, intending, holding, *checks)
    if not fits:
        raise await spending.refusal(connection, caller.tenant_id, price)
    return operation


def accepted(operation: Operation) -> Entry:
    """The row of the audit trail that tells of an intent."""
    return Entry(
        f"operation.{operation.kind}", operation.id, "accepted", {"rental_id": str(operation.rental_id)}
    )


async def attend(connection: AsyncConnection, operation: Operation, seconds: float = 0.0) -> bool:
    """Say that a queued operation's process is alive, and need not be heard of again for so many seconds;
    False if it isn't queued any more.
    """
    queued = operations.c.state == State.QUEUED
    attended_until = until(seconds + ATTENDED_SECONDS)
    return await _change(connection, operation, queued, attended_until=attended_until) is not None


def marking_sent(operation: Operation, seconds: float) -> Query[bool]:
    """Note that the call is about to be made and ends within `seconds`; False if it may not be made."""
    values = _this_step(operation) | {"lasts": timedelta(seconds=seconds)}
    return Query(_MARK_SENT, values, lambda answer: bool(answer.count))


async def settle(
    connection: AsyncConnection,
    operation: Operation,
    state: State,
    *,
    error: RentgateError | None = None,
    candidates: Sequence[Mapping[str, Any]] | None = None,
) -> Operation | None:
    """Take the operation to a state, if a way leads there from where it is; None if none does, or if another
    process has taken it to its next step.

    The hold is spent on success and released on failure. A `state` of unknown or review leaves it held.
    """
    settled = state in (State.SUCCEEDED, State.FAILED)
    outcome = {
        "state": state,
        "error": None if error is None else Jsonb(error_record(error)),
        "candidates": None if candidates is None else Jsonb(list(candidates)),
        "is_settled": settled,
        "origins": sorted(origins(state)),
    }
    settling = Query(_SETTLE, _this_step(operation) | outcome, lambda answer: answer.row)
    reached = _reached(await run(connection, settling))
    if reached is None:
        return None
    if settled:
        spent = operation.charged_before
        if state is State.SUCCEEDED:
            spent = operation.price or spending.NOTHING
        spending.settle(connection, operation.tenant_id, operation.id, spent=spent)
    audit.record(
        connection,
        operation.caller,
        f"operation.{operation.kind}",
        target=operation.id,
        outcome=error.code if error is not None else state.value,
        details={"rental_id": str(operation.rental_id)},
    )
    return reached


async def advance(connection: AsyncConnection, operation: Operation) -> Operation | None:
    """The present step is done: queue the next one, for whoever goes on with it first; None if the
    operation was settled otherwise meanwhile.
    """
    return await _requeue(
        connection,
        operation,
        origins(State.QUEUED),
        NEXT_STEP_SECONDS,
        step=operation.step + 1,
        error=None,
        unexplained=None,
        absent_seconds=0,
        absent_seen_at=None,
    )


async def advance_in_review(connection: AsyncConnection, operation: Operation) -> Operation | None:
    """The step for want of which the operation is in review was done after all. What is left of it stays a
    person's to do; None if the operation is somewhere else by now.
    """
    in_review = operations.c.state == State.REVIEW
    return await _change(connection, operation, _at_step(operation), in_review, step=operation.step + 1)


async def postpone(
    connection: AsyncConnection, operation: Operation, state: State, seconds: float
) -> Operation | None:
    """Put off a step that was surely not sent for some seconds; None if it isn't in `state` any more."""
    return await _requeue(connection, operation, {state}, seconds)


async def _requeue(
    connection: AsyncConnection,
    operation: Operation,
    states: Collection[State],
    seconds: float,
    **values: Any,
) -> Operation | None:
    """Queue an operation again, unattended after so many seconds."""
    where = _at_step(operation), operations.c.state.in_(states)
    return await _change(
        connection, operation, *where, state=State.QUEUED, attended_until=until(seconds), **values
    )


async def keep_unexplained(connection: AsyncConnection, operation: Operation, said: UpstreamRefusal) -> None:
    """Keep what the upstream said to the present step, in words that don't tell whether it was done."""
    unexplained = {"method": said.method, "message": said.message}
    await _change(connection, operation, _at_step(operation), unexplained=unexplained)


async def mark_answered(connection: AsyncConnection, operation: Operation) -> Operation:
    """Note that the caller was told 202, locking the operation against being settled meanwhile."""
    answered_at = sa.func.coalesce(operations.c.answered_at, NOW)
    return await _change(connection, operation, answered_at=answered_at) or operation


async def count_absence(connection: AsyncConnection, operation: Operation, seconds: float) -> None:
    """Add to the time for which the upstream's lists, when they could be read, lacked the operation."""
    absent_seconds = operations.c.absent_seconds + seconds
    await _change(connection, operation, absent_seconds=absent_seconds, absent_seen_at=NOW)


async def forget_last_absence(connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID) -> None:
    """The list could not be read: the time until it can be again is no absence."""
    await connection.execute(
        operations.update()
        .where(*this_account(operations, tenant_id, upstream_key_id), operations.c.state == State.UNKNOWN)
        .values(absent_seen_at=None)
    )


def _reached(row: Any) -> Operation | None:
    return None if row is None else from_row(row)


def _this_step(operation: Operation) -> dict[str, Any]:
    return {"tenant_id": operation.tenant_id, "operation_id": operation.id, "step": operation.step}


def _at_step(operation: Operation) -> sa.ColumnElement[bool]:
    return operations.c.step == operation.step


async def _change(
    connection: AsyncConnection, operation: Operation, *where: sa.ColumnElement[bool], **values: Any
) -> Operation | None:
    """Change an operation's row; the operation then, or None if it isn't as it has to be."""
    this = operations.c.tenant_id == operation.tenant_id, operations.c.id == operation.id
    changing = operations.update().where(*this, *where).values(**values).returning(*COLUMNS)
    return _reached((await connection.execute(changing)).one_or_none())
