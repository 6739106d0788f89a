"""Checking the seals of an audit trail, for whoever doubts it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit.models import audit_logs, audit_seals, audit_unsealed
from app.audit.seals import ROW, Hash, Head, head_of, of_row, pruned_of, sealed

PIECE = 1_000
LONGEST_TRANSACTION = timedelta(minutes=5)
"""No transaction of the gateway lasts so long. A row that was made longer ago than that when others were
sealed without it was not there yet.
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong with a trail: what, and with which of its rows or seals."""

    what: str
    audit_id: UUID | None
    position: int | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verifying a trail found; `waiting` rows are not sealed yet."""

    head: Head
    checked: int
    waiting: int
    findings: Sequence[Finding]


async def verify(
    connection: AsyncConnection, tenant_id: UUID, keyed: Hash, *, noted: Head | None = None
) -> Verdict:
    """Check every seal of a tenant's trail, and that every row has one or waits for it.

    Args:
        noted: a head that was noted elsewhere before, which the trail has to contain.
    """
    head, pruned = await head_of(connection, tenant_id), await pruned_of(connection, tenant_id)
    findings: list[Finding] = []
    position, latest, sealed_before = pruned.position, pruned.hash, None
    noted_hash = pruned.hash if noted is not None and noted.position == pruned.position else None
    async for seal_, row in _chain(connection, tenant_id, pruned.position, head.position):
        if seal_.position != position + 1:
            findings.append(Finding("seals are missing before this one", None, seal_.position))
        elif row is None:
            findings.append(Finding("the row was removed", seal_.audit_id, seal_.position))
        elif sealed(keyed, latest, tenant_id, row) != seal_.hash:
            findings.append(Finding("the row or its seal was changed", row.id, seal_.position))
        if row is not None and sealed_before and row.created_at < sealed_before - LONGEST_TRANSACTION:
            findings.append(
                Finding("the row is dated back: others were sealed without it", row.id, seal_.position)
            )
        position, latest, sealed_before = seal_.position, seal_.hash, seal_.sealed_at
        if noted is not None and seal_.position == noted.position:
            noted_hash = seal_.hash
    if (position, latest) != (head.position, head.hash):
        findings.append(Finding("the newest seals are missing", None, head.position))
    if noted is not None and noted.position >= pruned.position and noted_hash != noted.hash:
        findings.append(Finding("the trail does not contain the seal that was noted", None, noted.position))
    strangers = await connection.scalars(_strangers(tenant_id))
    findings += [Finding("the row was inserted past the gateway", audit_id, None) for audit_id in strangers]
    waiting = await connection.scalar(
        sa.select(sa.func.count()).select_from(audit_unsealed).where(audit_unsealed.c.tenant_id == tenant_id)
    )
    return Verdict(head, position - pruned.position, waiting or 0, findings)


async def _chain(
    connection: AsyncConnection, tenant_id: UUID, after: int, until: int
) -> AsyncIterator[tuple[sa.Row[Any], sa.Row[Any] | None]]:
    """A trail's seals in their order, each with its row if that is there."""
    while True:
        seals = (
            await connection.execute(
                sa.select(audit_seals)
                .where(
                    audit_seals.c.tenant_id == tenant_id,
                    audit_seals.c.position > after,
                    audit_seals.c.position <= until,
                )
                .order_by(audit_seals.c.position)
                .limit(PIECE)
            )
        ).all()
        if not seals:
            return
        found = await connection.execute(
            sa.select(*ROW).where(
                audit_logs.c.tenant_id == tenant_id,
                audit_logs.c.id.in_([seal_.audit_id for seal_ in seals]),
            )
        )
        rows = {row.id: row for row in found}
        for seal_ in seals:
            yield seal_, rows.get(seal_.audit_id)
        after = seals[-1].position


def _strangers(tenant_id: UUID) -> sa.Select[UUID]:
    """Rows that neither have a seal nor wait for one, in one statement and so of one moment."""
    waits = sa.exists().where(
        audit_unsealed.c.tenant_id == audit_logs.c.tenant_id, audit_unsealed.c.audit_id == audit_logs.c.id
    )
    sealed = sa.exists().where(of_row())
    return sa.select(audit_logs.c.id).where(audit_logs.c.tenant_id == tenant_id, ~waits, ~sealed)
