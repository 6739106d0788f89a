"""Telling of rentals that end soon: 7 days before their end and 1 day before, each once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit.caller import background
from app.events.types import EventType
from app.rentals import views
from app.rentals.models import rentals

EARLY, LATE = timedelta(days=7), timedelta(days=1)

TOLERANCE = timedelta(hours=1)
"""How far an end may move without being another one."""


def _notice() -> sa.ColumnElement[datetime]:
    """The moment of the newest notice that a rental's end calls for by now."""
    end = rentals.c.expires_at
    return sa.case((end - LATE <= sa.func.clock_timestamp(), end - LATE), else_=end - EARLY)


def _is_due() -> sa.ColumnElement[bool]:
    """Whether a rental lives, ends soon, and that was not told of this end.

    What was rented for a week ends in 7 days from the first: that is no news, until it is prolonged.
    """
    week = sa.and_(rentals.c.period_unit == "week", rentals.c.period_count == 1)
    just_rented = sa.and_(sa.func.coalesce(week, sa.false()), _notice() <= rentals.c.created_at + TOLERANCE)
    only_early = rentals.c.expires_at - LATE > sa.func.clock_timestamp()
    told = rentals.c.expiring_told_at >= _notice() - TOLERANCE
    return sa.and_(
        rentals.c.status == "active",
        rentals.c.expires_at > sa.func.clock_timestamp(),
        rentals.c.expires_at <= sa.func.clock_timestamp() + EARLY,
        ~sa.func.coalesce(told, sa.false()),
        ~sa.and_(just_rented, only_early),
    )


async def due(connection: AsyncConnection, limit: int) -> Sequence[tuple[UUID, UUID]]:
    """Some rentals (tenant, rental) of whose coming end is to be told; for the worker."""
    query = sa.select(rentals.c.tenant_id, rentals.c.id).where(_is_due()).limit(limit)
    return [(row.tenant_id, row.id) for row in await connection.execute(query)]


async def tell(connection: AsyncConnection, tenant_id: UUID, rental_id: UUID) -> None:
    """Tell of a rental's coming end, unless somebody did so meanwhile."""
    told = await connection.execute(
        rentals.update()
        .where(rentals.c.tenant_id == tenant_id, rentals.c.id == rental_id, _is_due())
        .values(expiring_told_at=_notice())
    )
    if told.rowcount:
        await views.announce(connection, background(tenant_id), EventType.RENTAL_EXPIRING, rental_id)
