"""Reading and writing one tenant's events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit.caller import Caller
from app.database import new_id
from app.events.models import events
from app.events.types import EventType


async def emit(
    connection: AsyncConnection,
    caller: Caller,
    event_type: EventType,
    data: Mapping[str, Any],
    *,
    rental_id: UUID | None = None,
) -> None:
    """Write an event in the transaction of the change; `data` is JSON as a caller would read it."""
    await connection.execute(
        events.insert().values(
            tenant_id=caller.tenant_id,
            id=new_id(),
            type=event_type.value,
            rental_id=rental_id,
            actor=caller.actor,
            data=dict(data),
        )
    )


async def of_rental(
    connection: AsyncConnection, tenant_id: UUID, rental_id: UUID, *, limit: int, before: UUID | None
) -> Sequence[sa.Row[Any]]:
    """A rental's events, newest first, at most `limit`, older than the event `before`."""
    query = sa.select(events).where(events.c.tenant_id == tenant_id, events.c.rental_id == rental_id)
    if before is not None:
        query = query.where(events.c.id < before)
    return (await connection.execute(query.order_by(events.c.id.desc()).limit(limit))).all()
