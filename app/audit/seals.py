"""The hash chain over each tenant's audit trail, written by the worker.

Each row has a seal: a keyed hash of the row and of the seal before it, in the order in which rows were found
committed. The hash's key is in the vault, so who can only write to the database can't make seals. Who has
both can: note the newest seal elsewhere now and then, and verify against it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit.models import audit_heads, audit_logs, audit_seals, audit_unsealed
from app.database.pipeline import Query, run, run_together

Hash = Callable[[bytes], bytes]
"""A keyed hash, whose key is not in the database."""

BEFORE_THE_FIRST = bytes(32)
AT_ONCE = 100
"""Rows that are sealed in one transaction: few enough to keep neither requests nor the trail waiting."""

HASHED_AT_ONCE = 10
"""Rows that are hashed before whatever else the process has to do gets its turn."""

ROW = tuple(column for column in audit_logs.c if column.name != "tenant_id")

_BEGIN = """
    insert into audit_heads (tenant_id, position, hash, pruned_hash)
    values (%(tenant_id)s, 0, %(nothing)s, %(nothing)s) on conflict do nothing
"""

_LOCK = "select position, hash from audit_heads where tenant_id = %(tenant_id)s for update"

_TAKE = f"""
    with taken as (
        delete from audit_unsealed where tenant_id = %(tenant_id)s and audit_id in (
            select audit_id from audit_unsealed where tenant_id = %(tenant_id)s
            order by audit_id limit {AT_ONCE}
        )
        returning audit_id
    )
    select {", ".join(column.name for column in ROW)} from audit_logs
    where tenant_id = %(tenant_id)s and id in (select audit_id from taken)
    order by created_at, id
"""  # noqa: S608 - put together of our own words

_SEAL = """
    with sealed as (
        insert into audit_seals (tenant_id, position, audit_id, hash, sealed_at)
        select %(tenant_id)s, %(position)s + nth, audit_id, hash, clock_timestamp()
        from unnest(%(ids)s::uuid[], %(hashes)s::bytea[]) with ordinality as s (audit_id, hash, nth)
    )
    update audit_heads set position = %(position)s + cardinality(%(ids)s::uuid[]), hash = %(latest)s
    where tenant_id = %(tenant_id)s
"""


@dataclass(frozen=True, slots=True)
class Head:
    """The newest seal of a trail; the first is at position 1."""

    position: int
    hash: bytes

    def __str__(self) -> str:
        """As it is shown, noted elsewhere, and given back: `12:ab34…`."""
        return f"{self.position}:{self.hash.hex()}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """What `str` made.

        Raises:
            ValueError: it was not.
        """
        position, _, digest = text.partition(":")
        return cls(int(position), bytes.fromhex(digest))


async def unsealed_tenants(connection: AsyncConnection, limit: int) -> Sequence[UUID]:
    """Some tenants whose trails have rows that wait for their seal; for the worker."""
    query = sa.select(audit_unsealed.c.tenant_id).distinct().limit(limit)
    return list(await connection.scalars(query))


async def seal(connection: AsyncConnection, tenant_id: UUID, keyed: Hash) -> int:
    """Seal the rows of a tenant's trail that are committed and wait; returns how many.

    The oldest `AT_ONCE` that are seen are sealed in one transaction, under a lock of the trail's head.
    """
    tenant = {"tenant_id": tenant_id}
    _, head, rows = await run_together(
        connection,
        Query(_BEGIN, {**tenant, "nothing": BEFORE_THE_FIRST}, lambda _: None),
        Query(_LOCK, tenant, lambda answer: Head(*answer.row)),
        Query(_TAKE, tenant, lambda answer: answer.rows),
    )
    latest, ids, hashes = head.hash, [], []
    for nth, row in enumerate(rows):
        if nth % HASHED_AT_ONCE == 0:
            await asyncio.sleep(0)
        latest = sealed(keyed, latest, tenant_id, row)
        ids.append(row.id)
        hashes.append(latest)
    if ids:
        given = {"position": head.position, "ids": ids, "hashes": hashes, "latest": latest}
        await run(connection, Query(_SEAL, tenant | given, lambda _: None))
    return len(ids)


async def prune(connection: AsyncConnection, tenant_id: UUID, before: datetime) -> int:
    """Remove a tenant's sealed rows older than a moment, up to the first that isn't; returns how many.

    The last removed seal's hash is kept, so that what is left can still be verified from there. Only the
    database's owner has the right to do this.
    """
    pruned = await pruned_of(connection, tenant_id, lock=True)
    first_kept = (
        sa.select(sa.func.min(audit_seals.c.position))
        .join(audit_logs, of_row())
        .where(audit_seals.c.tenant_id == tenant_id, audit_logs.c.created_at >= before)
    )
    kept_from = await connection.scalar(first_kept)
    last = await connection.scalar(
        sa.select(sa.func.max(audit_seals.c.position)).where(
            audit_seals.c.tenant_id == tenant_id,
            sa.true() if kept_from is None else audit_seals.c.position < kept_from,
        )
    )
    if last is None:
        return 0
    gone = (audit_seals.c.tenant_id == tenant_id, audit_seals.c.position <= last)
    latest = await connection.scalar(
        sa.select(audit_seals.c.hash).where(
            audit_seals.c.tenant_id == tenant_id, audit_seals.c.position == last
        )
    )
    await connection.execute(
        audit_logs.delete().where(
            audit_logs.c.tenant_id == tenant_id,
            audit_logs.c.id.in_(sa.select(audit_seals.c.audit_id).where(*gone)),
        )
    )
    await connection.execute(audit_seals.delete().where(*gone))
    await connection.execute(
        audit_heads.update()
        .where(audit_heads.c.tenant_id == tenant_id)
        .values(pruned_position=last, pruned_hash=latest)
    )
    return int(last - pruned.position)


async def head_of(connection: AsyncConnection, tenant_id: UUID) -> Head:
    """A trail's newest seal; position 0 before the first."""
    query = sa.select(audit_heads.c.position, audit_heads.c.hash).where(audit_heads.c.tenant_id == tenant_id)
    row = (await connection.execute(query)).one_or_none()
    return Head(0, BEFORE_THE_FIRST) if row is None else Head(*row)


async def pruned_of(connection: AsyncConnection, tenant_id: UUID, *, lock: bool = False) -> Head:
    """The last seal that was pruned, which the chain goes on from."""
    query = sa.select(audit_heads.c.pruned_position, audit_heads.c.pruned_hash).where(
        audit_heads.c.tenant_id == tenant_id
    )
    row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    return Head(0, BEFORE_THE_FIRST) if row is None else Head(*row)


def of_row() -> sa.ColumnElement[bool]:
    """Joins a seal and its row."""
    return sa.and_(
        audit_seals.c.tenant_id == audit_logs.c.tenant_id, audit_seals.c.audit_id == audit_logs.c.id
    )


def sealed(keyed: Hash, before: bytes, tenant_id: UUID, row: Any) -> bytes:
    """The hash that seals a row after the seal before it."""
    told = {"tenant_id": str(tenant_id), **facts(row)}
    return keyed(before + json.dumps(told, sort_keys=True, separators=(",", ":")).encode())


def facts(row: Any) -> dict[str, Any]:
    """A row as JSON, always the same for the same row."""
    columns = {column.name: getattr(row, column.name) for column in ROW}
    return columns | {"id": str(row.id), "created_at": row.created_at.astimezone(UTC).isoformat()}
