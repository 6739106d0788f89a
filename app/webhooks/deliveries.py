"""Deliveries: an event on its way to an endpoint, its attempts, and its end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database import new_id
from app.database.at_commit import DeferredWrite, LockOrder, at_commit
from app.errors import NotFound
from app.events import queueing
from app.events.models import events
from app.webhooks.claims import BY_INDEX, Claimed
from app.webhooks.models import webhook_deliveries, webhooks
from app.webhooks.sender import Answer

PENDING, DELIVERED, FAILED = "pending", "delivered", "failed"

Row = sa.Row[*tuple[Any, ...]]

_ATTEMPTED = DeferredWrite(
    LockOrder.DELIVERIES,
    """
    update webhook_schedules set due_at = least(due_at, clock_timestamp())
    where tenant_id = %(tenant_id)s and webhook_id = %(webhook_id)s
    """,
)
"""An endpoint has room again when an attempt has ended. Not announced: the process that made it claims."""

_BY_INDEX = DeferredWrite(LockOrder.DELIVERIES, BY_INDEX)

_RELEASE = DeferredWrite(
    LockOrder.DELIVERIES,
    """
    update webhook_deliveries d set behind = false, next_at = d.created_at
    from (
        select tenant_id, id from webhook_deliveries
        where tenant_id = %(tenant_id)s and webhook_id = %(webhook_id)s and rental_id = %(rental_id)s
            and status = 'pending'
        order by position limit 1 for update skip locked
    ) following
    where d.tenant_id = following.tenant_id and d.id = following.id and d.behind
    """,
)
"""The next delivery of a rental is due if it was put behind the one that has ended. The endpoint's schedule
is locked before, as by the claim that puts deliveries behind others, so that neither misses the other.
"""


async def to_send(connection: AsyncConnection, claimed: Claimed) -> Row | None:
    """What a claimed delivery needs: `url`, `attempts`, and the event's id, type, timestamp, data, age, and
    `traceparent` if what made it was traced.
    """
    query = (
        sa.select(
            webhooks.c.url,
            webhook_deliveries.c.attempts,
            webhook_deliveries.c.event_id,
            webhook_deliveries.c.event_type,
            webhook_deliveries.c.test_body,
            webhook_deliveries.c.created_at,
            events.c.timestamp,
            events.c.data,
            events.c.traceparent,
            sa.func.extract("epoch", sa.func.clock_timestamp() - events.c.timestamp)
            .cast(sa.Double)
            .label("age"),
        )
        .join_from(webhook_deliveries, webhooks, _of_webhook())
        .outerjoin(
            events,
            sa.and_(
                events.c.tenant_id == webhook_deliveries.c.tenant_id,
                events.c.id == webhook_deliveries.c.event_id,
            ),
        )
        .where(*_this(claimed.tenant_id, claimed.id), webhook_deliveries.c.status == PENDING)
    )
    return (await connection.execute(query)).one_or_none()


async def note(
    connection: AsyncConnection, claimed: Claimed, holder: UUID, answer: Answer, *, next_in: float | None
) -> bool:
    """Note how an attempt ended; False if the delivery isn't this process's any more.

    Args:
        next_in: seconds until the next attempt; None if there is none.
    """
    status = DELIVERED if answer.taken else FAILED if next_in is None else PENDING
    done = await connection.execute(
        webhook_deliveries.update()
        .where(*_this(claimed.tenant_id, claimed.id), webhook_deliveries.c.holder == holder)
        .values(
            status=status,
            attempts=webhook_deliveries.c.attempts + 1,
            next_at=sa.func.clock_timestamp() + timedelta(seconds=next_in or 0.0),
            holder=None,
            attempted_at=sa.func.clock_timestamp(),
            seconds=answer.seconds,
            response_status=answer.status,
            response_start=answer.start,
            error=answer.error,
        )
    )
    if done.rowcount:
        endpoint = {"tenant_id": claimed.tenant_id, "webhook_id": claimed.webhook_id}
        at_commit(connection, _ATTEMPTED, endpoint)
        if status != PENDING and claimed.rental_id is not None:
            at_commit(connection, _BY_INDEX, {})
            at_commit(connection, _RELEASE, {**endpoint, "rental_id": claimed.rental_id})
    return bool(done.rowcount)


async def listed(
    connection: AsyncConnection,
    tenant_id: UUID,
    webhook_id: UUID,
    *,
    status: str | None,
    limit: int,
    before: UUID | None,
) -> Sequence[Row]:
    """A webhook's deliveries, newest first, older than the delivery `before`."""
    query = sa.select(webhook_deliveries).where(
        webhook_deliveries.c.tenant_id == tenant_id, webhook_deliveries.c.webhook_id == webhook_id
    )
    if status is not None:
        query = query.where(webhook_deliveries.c.status == status)
    if before is not None:
        query = query.where(webhook_deliveries.c.id < before)
    return (await connection.execute(query.order_by(webhook_deliveries.c.id.desc()).limit(limit))).all()


async def add_test(
    connection: AsyncConnection, tenant_id: UUID, webhook_id: UUID, event_type: str, data: Any
) -> Row:
    """Queue an event that is none, for one endpoint to try itself with."""
    values = {
        "tenant_id": tenant_id,
        "id": new_id(),
        "webhook_id": webhook_id,
        "event_id": new_id(),
        "event_type": event_type,
        "position": 0,
        "test_body": data,
    }
    statement = webhook_deliveries.insert().values(values).returning(webhook_deliveries)
    row: Row = (await connection.execute(statement)).one()
    queueing.make_due(connection, tenant_id, webhook_id)
    return row


async def retry(connection: AsyncConnection, tenant_id: UUID, webhook_id: UUID, delivery_id: UUID) -> Row:
    """Have a delivery attempted at once, and its schedule begin anew, however it ended before.

    Raises:
        NotFound: the webhook has no such delivery.
    """
    statement = (
        webhook_deliveries.update()
        .where(*_this(tenant_id, delivery_id), webhook_deliveries.c.webhook_id == webhook_id)
        .values(_ANEW)
        .returning(webhook_deliveries)
    )
    row: Row | None = (await connection.execute(statement)).one_or_none()
    if row is None:
        raise NotFound("There is no such delivery.")
    queueing.make_due(connection, tenant_id, webhook_id)
    return row


_MISSED = sa.text("""
    insert into webhook_deliveries (tenant_id, id, webhook_id, event_id, event_type, rental_id, position)
    select e.tenant_id, new_uuid7(), w.id, e.id, e.type, e.rental_id, e.position
    from events e join webhooks w on w.tenant_id = e.tenant_id and w.id = :webhook_id
    where e.tenant_id = :tenant_id and e.timestamp >= :since
        and (e.type = any(w.events) or '*' = any(w.events))
    order by e.position
    on conflict do nothing
""").bindparams(sa.bindparam("tenant_id", type_=sa.Uuid), sa.bindparam("webhook_id", type_=sa.Uuid))
"""Deliveries of events that came while the webhook was disabled."""


async def retry_since(connection: AsyncConnection, tenant_id: UUID, webhook_id: UUID, since: datetime) -> int:
    """Have everything since a moment delivered that was not: what failed, what waits, and what came while the
    webhook was disabled; returns how many deliveries that are.
    """
    again = await connection.execute(
        webhook_deliveries.update()
        .where(
            webhook_deliveries.c.tenant_id == tenant_id,
            webhook_deliveries.c.webhook_id == webhook_id,
            webhook_deliveries.c.status != DELIVERED,
            webhook_deliveries.c.created_at >= since,
        )
        .values(_ANEW)
    )
    given = {"tenant_id": tenant_id, "webhook_id": webhook_id, "since": since}
    missed = await connection.execute(_MISSED, given)
    if count := again.rowcount + missed.rowcount:
        queueing.make_due(connection, tenant_id, webhook_id)
    return count


async def delete_old(connection: AsyncConnection, kept: timedelta) -> None:
    """Forget deliveries that are older than the events that are kept; for the worker."""
    await connection.execute(
        webhook_deliveries.delete().where(webhook_deliveries.c.created_at < sa.func.now() - kept)
    )


_ANEW: dict[str, Any] = {
    "status": PENDING,
    "attempts": 0,
    "next_at": sa.func.clock_timestamp(),
    "behind": False,
    "holder": None,
}
"""A delivery's schedule from its beginning; how the last attempt ended stays to be seen."""


def _of_webhook() -> sa.ColumnElement[bool]:
    return sa.and_(
        webhooks.c.tenant_id == webhook_deliveries.c.tenant_id,
        webhooks.c.id == webhook_deliveries.c.webhook_id,
    )


def _this(tenant_id: UUID, delivery_id: UUID) -> tuple[sa.ColumnElement[bool], ...]:
    return webhook_deliveries.c.tenant_id == tenant_id, webhook_deliveries.c.id == delivery_id
