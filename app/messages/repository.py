"""Keeping and reading one tenant's messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit.caller import Caller
from app.database import new_id
from app.events import repository as events
from app.events.notifications import notify
from app.events.types import EventType
from app.messages import schemas
from app.messages.deduplication import OTHER, RENTED, Sighting
from app.messages.models import messages

Row = sa.Row[*tuple[Any, ...]]


async def keep(
    connection: AsyncConnection,
    caller: Caller,
    rental_id: UUID,
    last_position: int,
    shown: Sequence[Sighting],
) -> int:
    """Keep what a look at a rental's messages shows and is not kept yet, each with its event.

    The rental has to be locked by the same transaction: positions are given in the order of commit, so that
    a reader who follows them misses none.

    Args:
        last_position: the rental's newest position so far.

    Returns:
        the rental's newest position now.
    """
    query = sa.select(messages.c.digest, messages.c.occurrence, messages.c.scope, messages.c.position).where(
        messages.c.tenant_id == caller.tenant_id,
        messages.c.rental_id == rental_id,
        messages.c.digest.in_({sighting.digest for sighting in shown}),
    )
    kept = {(row.digest, row.occurrence): row for row in await connection.execute(query)}
    for sighting in shown:
        row = kept.get((sighting.digest, sighting.occurrence))
        if row is None:
            last_position += 1
            await _insert(connection, caller, rental_id, last_position, sighting)
        elif sighting.scope == RENTED and row.scope == OTHER:
            # Who follows the rental's own messages is past its position, and would never see it there.
            last_position += 1
            await connection.execute(
                messages.update()
                .where(
                    messages.c.tenant_id == caller.tenant_id,
                    messages.c.rental_id == rental_id,
                    messages.c.position == row.position,
                )
                .values(scope=RENTED, rented_position=last_position)
            )
            notify(connection, rental_id)
    return last_position


async def _insert(
    connection: AsyncConnection, caller: Caller, rental_id: UUID, position: int, sighting: Sighting
) -> None:
    statement = messages.insert().values(
        tenant_id=caller.tenant_id,
        rental_id=rental_id,
        position=position,
        id=new_id(),
        rented_position=position if sighting.scope == RENTED else None,
        scope=sighting.scope,
        sender=sighting.sms.sender,
        text=sighting.sms.text,
        received_at=sighting.sms.received_at,
        digest=sighting.digest,
        occurrence=sighting.occurrence,
    )
    row = (await connection.execute(statement.returning(messages))).one()
    data = _message(row).model_dump(mode="json")
    events.emit(connection, caller, EventType.SMS_RECEIVED, data, rental_id=rental_id)


async def after(
    connection: AsyncConnection,
    tenant_id: UUID,
    rental_id: UUID,
    *,
    scope: str | None,
    position: int,
    limit: int,
) -> list[tuple[int, schemas.Message]]:
    """A rental's messages after a position, in the order of arrival, each with its position; of the rental's
    own, in the order in which they were known as such.
    """
    place = messages.c.rented_position if scope == RENTED else messages.c.position
    query = _of(tenant_id, rental_id, scope).where(place > position)
    rows = await connection.execute(query.order_by(place).limit(limit))
    return [(getattr(row, place.name), _message(row)) for row in rows]


async def newest(
    connection: AsyncConnection,
    tenant_id: UUID,
    rental_id: UUID,
    *,
    scope: str | None,
    before: int | None,
    limit: int,
) -> list[tuple[int, schemas.Message]]:
    """A rental's messages, the newest first, before a position."""
    query = _of(tenant_id, rental_id, scope)
    if before is not None:
        query = query.where(messages.c.position < before)
    rows = await connection.execute(query.order_by(messages.c.position.desc()).limit(limit))
    return [(row.position, _message(row)) for row in rows]


def _of(tenant_id: UUID, rental_id: UUID, scope: str | None) -> sa.Select[*tuple[Any, ...]]:
    query = sa.select(messages).where(messages.c.tenant_id == tenant_id, messages.c.rental_id == rental_id)
    return query if scope is None else query.where(messages.c.scope == scope)


def _message(row: Row) -> schemas.Message:
    return schemas.Message(
        id=row.id,
        rental_id=row.rental_id,
        scope=row.scope,
        sender=row.sender,
        text=row.text,
        received_at=row.received_at,
        first_seen_at=row.first_seen_at,
    )
