"""An audit trail as a stream of rows, for who keeps it elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit.models import audit_logs, audit_seals
from app.audit.seals import Head, facts, of_row

PIECE = 1_000


async def export(
    connection: AsyncConnection, tenant_id: UUID, since: datetime | None, until: datetime | None
) -> AsyncIterator[dict[str, Any]]:
    """A tenant's rows by the time of their making, the oldest first, each with its seal if it has one.

    Args:
        since: the first moment that counts.
        until: the first moment that does not.
    """
    query = (
        sa.select(audit_logs, audit_seals.c.position, audit_seals.c.hash)
        .outerjoin(audit_seals, of_row())
        .where(audit_logs.c.tenant_id == tenant_id)
        .order_by(audit_logs.c.created_at, audit_logs.c.id)
        .limit(PIECE)
    )
    if since is not None:
        query = query.where(audit_logs.c.created_at >= since)
    if until is not None:
        query = query.where(audit_logs.c.created_at < until)
    place = sa.tuple_(audit_logs.c.created_at, audit_logs.c.id)
    rows = (await connection.execute(query)).all()
    while rows:
        for row in rows:
            seal_ = None if row.hash is None else str(Head(row.position, row.hash))
            yield {"tenant_id": str(tenant_id), **facts(row), "seal": seal_}
        last = sa.tuple_(sa.literal(rows[-1].created_at), sa.literal(rows[-1].id))
        rows = (await connection.execute(query.where(place > last))).all()
