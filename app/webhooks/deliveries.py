"""Deliveries: an event on its way to an endpoint, its attempts, and its end."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database import new_id
from app.errors import NotFound
from app.events import queueing
from app.events.models import events
from app.webhooks.models import webhook_deliveries, webhooks
from app.webhooks.sender import Answer

PENDING, DELIVERED, FAILED = "pending", "delivered", "failed"
LEASE_SECONDS = 10.0
"""How long an attempt is its process's without a sign of life."""

Row = sa.Row[*tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A tenant's webhook, as the place that deliveries go to."""

    tenant_id: UUID
    webhook_id: UUID


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that this process attempts."""

    tenant_id: UUID
    id: UUID
    webhook_id: UUID


@dataclass(frozen=True, slots=True)
class Queue:
    """Deliveries that are not there yet.

    Attributes:
        pending: all of them, those that wait for their next attempt too.
        due: those whose turn and whose next attempt have come.
        oldest_due_seconds: since when the first of these has been due.
        disabled: endpoints that nothing is delivered to.
    """

    pending: int
    due: int
    oldest_due_seconds: float
    disabled: int


_DUE = """
    d.status = 'pending' and d.next_at <= clock_timestamp()
    and not exists (
        select 1 from webhook_deliveries earlier
        where earlier.tenant_id = d.tenant_id and earlier.webhook_id = d.webhook_id
            and earlier.rental_id = d.rental_id and earlier.status = 'pending'
            and earlier.position < d.position
    )
"""
"""To be delivered now: of a rental's deliveries only the earliest that is not there yet."""

_CLAIMABLE = f"{_DUE} and (d.held_until is null or d.held_until < clock_timestamp())"
"""Likewise, and nobody's."""

_CLAIM = sa.text(f"""
    with due as (
        select d.tenant_id, d.id from webhook_deliveries d
        join webhooks w on w.tenant_id = d.tenant_id and w.id = d.webhook_id and w.status = 'enabled'
        where d.tenant_id = :tenant and d.webhook_id = :webhook and {_CLAIMABLE}
        order by d.next_at limit :limit for update of d skip locked
    )
    update webhook_deliveries d
    set holder = :holder, held_until = clock_timestamp() + make_interval(secs => :lease)
    from due where d.tenant_id = due.tenant_id and d.id = due.id
    returning d.tenant_id, d.id, d.webhook_id
""").bindparams(  # noqa: S608 - put together of our own words
    sa.bindparam("holder", type_=sa.Uuid),
    sa.bindparam("tenant", type_=sa.Uuid),
    sa.bindparam("webhook", type_=sa.Uuid),
)

_UNATTENDED = sa.text(f"""
    select distinct d.tenant_id, d.webhook_id from webhook_deliveries d
    join webhooks w on w.tenant_id = d.tenant_id and w.id = d.webhook_id and w.status = 'enabled'
    where d.next_at < clock_timestamp() - make_interval(secs => :seconds) and {_CLAIMABLE}
    limit :limit
""")  # noqa: S608 - put together of our own words


_QUEUE = sa.text(f"""
    select
        (select count(*) from webhook_deliveries where status = 'pending'),
        count(*),
        coalesce(max(extract(epoch from clock_timestamp() - d.next_at)), 0)::float8,
        (select count(*) from webhooks where status = 'disabled')
    from webhook_deliveries d
    join webhooks w on w.tenant_id = d.tenant_id and w.id = d.webhook_id and w.status = 'enabled'
    where {_DUE}
""")  # noqa: S608 - put together of our own words


async def claim(
    connection: AsyncConnection, holder: UUID, endpoint: Endpoint, limit: int
) -> Sequence[Claimed]:
    """Claim due deliveries of an endpoint for this process, so many at most."""
    given = {
        "holder": holder,
        "tenant": endpoint.tenant_id,
        "webhook": endpoint.webhook_id,
        "limit": limit,
        "lease": LEASE_SECONDS,
    }
    return [Claimed(*row) for row in await connection.execute(_CLAIM, given)]


async def unattended(connection: AsyncConnection, seconds: float, limit: int) -> Sequence[Endpoint]:
    """Endpoints of which something has been due for so long, and nobody delivers it; for the worker."""
    found = await connection.execute(_UNATTENDED, {"seconds": seconds, "limit": limit})
    return [Endpoint(*row) for row in found]


async def renew(connection: AsyncConnection, holder: UUID, ids: Collection[UUID]) -> None:
    """Say that these attempts of this process are alive; for the worker."""
    now = sa.func.clock_timestamp()
    await connection.execute(
        webhook_deliveries.update()
        .where(
            webhook_deliveries.c.status == PENDING,
            webhook_deliveries.c.holder == holder,
            webhook_deliveries.c.id.in_(ids),
            webhook_deliveries.c.held_until > now,
        )
        .values(held_until=now + timedelta(seconds=LEASE_SECONDS))
    )


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
            held_until=None,
            attempted_at=sa.func.clock_timestamp(),
            seconds=answer.seconds,
            response_status=answer.status,
            response_start=answer.start,
            error=answer.error,
        )
    )
    if done.rowcount and status == PENDING:
        queueing.defer_for(connection, claimed.tenant_id, claimed.webhook_id, next_in or 0.0)
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
    queueing.defer(connection, tenant_id, webhook_id)
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
    queueing.defer(connection, tenant_id, webhook_id)
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
        queueing.defer(connection, tenant_id, webhook_id)
    return count


async def delete_old(connection: AsyncConnection, kept: timedelta) -> None:
    """Forget deliveries that are older than the events that are kept; for the worker."""
    await connection.execute(
        webhook_deliveries.delete().where(webhook_deliveries.c.created_at < sa.func.now() - kept)
    )


async def queue(connection: AsyncConnection) -> Queue:
    """How deliveries of all tenants stand; for the worker."""
    return Queue(*(await connection.execute(_QUEUE)).one())


_ANEW: dict[str, Any] = {
    "status": PENDING,
    "attempts": 0,
    "next_at": sa.func.clock_timestamp(),
    "holder": None,
    "held_until": None,
}
"""A delivery's schedule from its beginning; how the last attempt ended stays to be seen."""


def _of_webhook() -> sa.ColumnElement[bool]:
    return sa.and_(
        webhooks.c.tenant_id == webhook_deliveries.c.tenant_id,
        webhooks.c.id == webhook_deliveries.c.webhook_id,
    )


def _this(tenant_id: UUID, delivery_id: UUID) -> tuple[sa.ColumnElement[bool], ...]:
    return webhook_deliveries.c.tenant_id == tenant_id, webhook_deliveries.c.id == delivery_id
