"""Reading and writing one tenant's audit trail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit.caller import WORKER_ACTOR, Caller
from app.audit.models import audit_logs, upstream_usage
from app.database import new_id

SUCCEEDED = "succeeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which rows to list; None means any."""

    actor: str | None = None
    action: str | None = None
    target: str | None = None
    outcome: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


async def record(
    connection: AsyncConnection,
    caller: Caller,
    action: str,
    *,
    target: str | UUID | None = None,
    outcome: str = SUCCEEDED,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Write one row, in the transaction of the change that it tells of.

    Args:
        action: what was done, as `noun.verb` (`rental.create`, `upstream_key.add`).
        target: the id of what it was done to.
        outcome: `succeeded`, or the code of the error.
        details: further facts; never a secret.
    """
    await connection.execute(
        audit_logs.insert().values(
            tenant_id=caller.tenant_id,
            id=new_id(),
            actor=caller.actor,
            action=action,
            target=None if target is None else str(target),
            outcome=outcome,
            address=caller.address,
            request_id=caller.request_id,
            details=dict(details or {}),
        )
    )


async def listed(
    connection: AsyncConnection,
    tenant_id: UUID,
    wanted: AuditFilter,
    *,
    limit: int,
    before: UUID | None,
) -> Sequence[sa.Row[Any]]:
    """The tenant's rows, newest first, at most `limit`, older than the row `before`."""
    query = sa.select(audit_logs).where(audit_logs.c.tenant_id == tenant_id)
    for column in ("actor", "action", "target", "outcome"):
        if (value := getattr(wanted, column)) is not None:
            query = query.where(audit_logs.c[column] == value)
    if wanted.created_after is not None:
        query = query.where(audit_logs.c.created_at >= wanted.created_after)
    if wanted.created_before is not None:
        query = query.where(audit_logs.c.created_at < wanted.created_before)
    if before is not None:
        query = query.where(audit_logs.c.id < before)
    return (await connection.execute(query.order_by(audit_logs.c.id.desc()).limit(limit))).all()


async def count_background_call(
    connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID, method: str, outcome: str
) -> None:
    """Add one background call to the running hour's sum."""
    statement = insert(upstream_usage).values(
        tenant_id=tenant_id,
        upstream_key_id=upstream_key_id,
        hour=sa.func.date_trunc("hour", sa.func.now()),
        method=method,
        outcome=outcome,
        calls=1,
    )
    await connection.execute(
        statement.on_conflict_do_update(
            constraint=upstream_usage.primary_key, set_={"calls": upstream_usage.c.calls + 1}
        )
    )


async def seal_past_hours(connection: AsyncConnection, tenant_id: UUID) -> int:
    """Move a tenant's sums of hours that are over into the audit trail; returns how many rows that made."""
    rows = (
        await connection.execute(
            upstream_usage.delete()
            .where(
                upstream_usage.c.tenant_id == tenant_id,
                upstream_usage.c.hour < sa.func.date_trunc("hour", sa.func.now()),
            )
            .returning(upstream_usage)
        )
    ).all()
    for row in rows:
        await record(
            connection,
            Caller(tenant_id, WORKER_ACTOR),
            "upstream.calls",
            target=row.upstream_key_id,
            outcome=row.outcome,
            details={"method": row.method, "hour": row.hour.isoformat(), "calls": row.calls},
        )
    return len(rows)
