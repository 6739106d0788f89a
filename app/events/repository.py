"""Reading and writing one tenant's events."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from psycopg.types.json import Jsonb
from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit.caller import Caller
from app.database import new_id
from app.database.at_commit import DeferredWrite, LockOrder, at_commit
from app.errors import CursorExpired
from app.events.models import event_heads, events
from app.events.notifications import notify
from app.events.queueing import DELIVERIES, DUE
from app.events.types import EventType
from app.telemetry import traces

Row = sa.Row[*tuple[Any, ...]]

_INSERT = DeferredWrite(
    LockOrder.EVENTS,
    f"""
    with head as (
        insert into event_heads as h (tenant_id, position) values (%(tenant_id)s, 1)
        on conflict (tenant_id) do update set position = h.position + 1
        returning position
    ),
    event as (
        insert into events (tenant_id, id, position, type, rental_id, actor, data, traceparent)
        select %(tenant_id)s, %(id)s, position,
            %(type)s, %(rental_id)s::uuid, %(actor)s, %(data)s, %(traceparent)s
        from head
        returning tenant_id, id, position, type, rental_id
    ),
    {DELIVERIES}, {DUE}
    """,  # noqa: S608 - put together of our own words
)
"""Gives the event the tenant's next position, and queues its deliveries. The head's row stays locked until
the commit, so positions are given in the order of commit, and a reader who follows them never misses one that
commits late.
"""


def emit(
    connection: AsyncConnection,
    caller: Caller,
    event_type: EventType,
    data: Mapping[str, Any],
    *,
    rental_id: UUID | None = None,
) -> None:
    """Write an event with the commit of the change, queue its deliveries, and announce it.

    Args:
        data: JSON as a caller would read it.
    """
    row = {
        "tenant_id": caller.tenant_id,
        "id": new_id(),
        "type": event_type.value,
        "rental_id": rental_id,
        "actor": caller.actor,
        "data": Jsonb(dict(data)),
        "traceparent": traces.headers().get(traces.TRACEPARENT),
    }
    at_commit(connection, _INSERT, row)
    notify(connection, caller.tenant_id, *([] if rental_id is None else [rental_id]))


async def of_rental(
    connection: AsyncConnection, tenant_id: UUID, rental_id: UUID, *, limit: int, before: UUID | None
) -> Sequence[Row]:
    """A rental's events, newest first, at most `limit`, older than the event `before`."""
    query = sa.select(events).where(events.c.tenant_id == tenant_id, events.c.rental_id == rental_id)
    if before is not None:
        query = query.where(events.c.id < before)
    return (await connection.execute(query.order_by(events.c.id.desc()).limit(limit))).all()


async def after(
    connection: AsyncConnection,
    tenant_id: UUID,
    position: int,
    *,
    types: Collection[EventType] | None,
    limit: int,
) -> Sequence[Row]:
    """The tenant's events after a position, in their order, of these types or of all."""
    query = sa.select(events).where(events.c.tenant_id == tenant_id, events.c.position > position)
    if types is not None:
        query = query.where(events.c.type.in_([event_type.value for event_type in types]))
    return (await connection.execute(query.order_by(events.c.position).limit(limit))).all()


async def newest_position(connection: AsyncConnection, tenant_id: UUID) -> int:
    """The position of the tenant's newest event; 0 before the first."""
    query = sa.select(event_heads.c.position).where(event_heads.c.tenant_id == tenant_id)
    return await connection.scalar(query) or 0


async def position_before_kept(connection: AsyncConnection, tenant_id: UUID, kept: timedelta) -> int:
    """The position before the oldest event that the feed still gives."""
    query = (
        sa.select(events.c.position)
        .where(events.c.tenant_id == tenant_id, events.c.timestamp >= sa.func.now() - kept)
        .order_by(events.c.timestamp, events.c.position)
        .limit(1)
    )
    oldest = await connection.scalar(query)
    return await newest_position(connection, tenant_id) if oldest is None else oldest - 1


async def check_position(
    connection: AsyncConnection, tenant_id: UUID, position: int, kept: timedelta
) -> None:
    """See that a reader who was at a position has missed nothing.

    Raises:
        CursorExpired: the event after it is older than what the feed gives.
    """
    query = sa.select(events.c.timestamp < sa.func.now() - kept).where(
        events.c.tenant_id == tenant_id, events.c.position == position + 1
    )
    if await connection.scalar(query):
        raise CursorExpired
