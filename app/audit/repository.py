"""Reading and writing one tenant's audit trail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from psycopg.types.json import Jsonb
from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit.caller import WORKER_ACTOR, Caller
from app.audit.models import audit_logs, upstream_usage
from app.database import new_id
from app.database.at_commit import DeferredWrite, LockOrder, at_commit
from app.database.pipeline import Query, records, run

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


@dataclass(frozen=True, slots=True)
class Entry:
    """What a row of the trail tells beside who acted.

    Attributes:
        action: what was done, as `noun.verb` (`rental.create`, `upstream_key.add`).
        target: the id of what it was done to.
        outcome: `succeeded`, or the code of the error.
        details: further facts; never a secret.
    """

    action: str
    target: str | UUID | None = None
    outcome: str = SUCCEEDED
    details: Mapping[str, Any] | None = None


_INSERT = DeferredWrite(
    LockOrder.AUDIT,
    """
    with entries as (
        select * from jsonb_to_recordset(%(entries)s)
            as e (id uuid, action text, target text, outcome text, details jsonb)
    ), waits as (
        insert into audit_unsealed (tenant_id, audit_id) select %(tenant_id)s, id from entries
    )
    insert into audit_logs (tenant_id, id, actor, action, target, outcome, address, request_id, details)
    select %(tenant_id)s, id, %(actor)s, action, target, outcome, %(address)s, %(request_id)s, details
    from entries
    """,
)
"""Writes rows, and notes that they wait for their seal: a row that came past this is found by verifying."""


def record(
    connection: AsyncConnection,
    caller: Caller,
    action: str,
    *,
    target: str | UUID | None = None,
    outcome: str = SUCCEEDED,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Write one row, as `Entry` has it, with the commit of the change that it tells of."""
    record_all(connection, caller, [Entry(action, target, outcome, details)])


def record_all(connection: AsyncConnection, caller: Caller, entries: Sequence[Entry]) -> None:
    """Write rows with the commit of the changes that they tell of."""
    if not entries:
        return
    rows = [
        {
            "id": str(new_id()),
            "action": entry.action,
            "target": None if entry.target is None else str(entry.target),
            "outcome": entry.outcome,
            "details": dict(entry.details or {}),
        }
        for entry in entries
    ]
    given = {
        "tenant_id": caller.tenant_id,
        "actor": caller.actor,
        "address": caller.address,
        "request_id": caller.request_id,
        "entries": Jsonb(rows),
    }
    at_commit(connection, _INSERT, given)


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


@dataclass(frozen=True, slots=True)
class Uses:
    """Background calls of one account, by one method and with one outcome."""

    tenant_id: UUID
    upstream_key_id: UUID
    method: str
    outcome: str
    calls: int


_COUNT = """
    insert into upstream_usage as u (tenant_id, upstream_key_id, hour, method, outcome, calls)
    select tenant_id, upstream_key_id, date_trunc('hour', now()), method, outcome, calls
    from jsonb_to_recordset(%(uses)s)
        as t (tenant_id uuid, upstream_key_id uuid, method text, outcome text, calls bigint)
    order by 1, 2, 4, 5
    on conflict on constraint upstream_usage_pkey do update set calls = u.calls + excluded.calls
"""
"""In one order, so that two who count at once never wait for each other in a circle."""


async def count_background_calls(connection: AsyncConnection, uses: Sequence[Uses]) -> None:
    """Add background calls to the running hour's sums; the worker's role may do so for all tenants."""
    if uses:
        await run(connection, Query(_COUNT, {"uses": records(uses)}, lambda _: None))


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
        record(
            connection,
            Caller(tenant_id, WORKER_ACTOR),
            "upstream.calls",
            target=row.upstream_key_id,
            outcome=row.outcome,
            details={"method": row.method, "hour": row.hour.isoformat(), "calls": row.calls},
        )
    return len(rows)
