"""Claiming idempotency keys, and remembering what was answered under them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database import new_id
from app.errors import IdempotencyKeyInUse, IdempotencyKeyReused
from app.idempotency.models import idempotency_keys

KEPT = timedelta(days=30)

SECRETS = frozenset({"token", "secret"})
"""Fields of answers that are shown once."""

NO_TENANT = UUID(int=0)
"""Under which the administrator's requests that concern no tenant yet are kept."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to answer under a key; `holder` fences it against a claim that came after a crash."""

    tenant_id: UUID
    key: str
    holder: UUID


@dataclass(frozen=True, slots=True)
class Remembered:
    """What is known of an earlier request: its answer, or the operation that will tell."""

    status: int | None
    body: Any
    location: str | None
    operation_id: UUID | None


async def claim(
    connection: AsyncConnection, tenant_id: UUID, key: str, request_hash: bytes, seconds: float
) -> Claim | Remembered:
    """Claim a key for a request of at most `seconds`, or tell what became of the earlier one.

    Raises:
        IdempotencyKeyReused: the key belongs to another request.
        IdempotencyKeyInUse: the earlier request is still running.
    """
    holder = new_id()
    now = sa.func.clock_timestamp()
    fresh = {
        "request_hash": request_hash,
        "holder": holder,
        "held_until": now + timedelta(seconds=seconds),
        "operation_id": None,
        "status": None,
        "body": None,
        "location": None,
        "created_at": now,
    }
    statement = insert(idempotency_keys).values(tenant_id=tenant_id, key=key, **fresh)
    abandoned = sa.and_(
        idempotency_keys.c.request_hash == request_hash,
        idempotency_keys.c.status.is_(None),
        idempotency_keys.c.operation_id.is_(None),
        idempotency_keys.c.held_until < now,
    )
    taken = await connection.scalar(
        statement.on_conflict_do_update(
            constraint=idempotency_keys.primary_key,
            set_=fresh,
            where=sa.or_(abandoned, idempotency_keys.c.created_at < now - KEPT),
        ).returning(idempotency_keys.c.holder)
    )
    if taken is not None:
        return Claim(tenant_id, key, holder)
    query = sa.select(idempotency_keys).where(
        idempotency_keys.c.tenant_id == tenant_id, idempotency_keys.c.key == key
    )
    row = (await connection.execute(query)).one_or_none()
    if row is None:  # forgotten between the two statements; the caller may come again at once
        raise IdempotencyKeyInUse(retry_after=1)
    if row.request_hash != request_hash:
        raise IdempotencyKeyReused
    if row.status is None and row.operation_id is None:
        raise IdempotencyKeyInUse(retry_after=1)
    return Remembered(row.status, row.body, row.location, row.operation_id)


async def attach(connection: AsyncConnection, claim: Claim, operation_id: UUID) -> None:
    """Tie the key to the operation that its request began, in the transaction of the intent.

    Raises:
        IdempotencyKeyInUse: the claim lapsed, and another request has it now.
    """
    result = await connection.execute(
        idempotency_keys.update().where(*_held(claim)).values(operation_id=operation_id)
    )
    if not result.rowcount:
        raise IdempotencyKeyInUse(retry_after=1)


async def attached_operation(connection: AsyncConnection, claim: Claim) -> UUID | None:
    """The operation that the claim's request began, if it began one."""
    query = sa.select(idempotency_keys.c.operation_id).where(*_held(claim))
    found: UUID | None = await connection.scalar(query)
    return found


async def remember(
    connection: AsyncConnection, claim: Claim, *, status: int, body: Any, location: str | None
) -> None:
    """Keep an answer without the secrets that it shows; in the transaction of the change that it tells of,
    where there is one.

    Raises:
        IdempotencyKeyInUse: the claim lapsed, and another request has it now.
    """
    if isinstance(body, dict):
        body = {name: value for name, value in body.items() if name not in SECRETS}
    result = await connection.execute(
        idempotency_keys.update().where(*_held(claim)).values(status=status, body=body, location=location)
    )
    if not result.rowcount:
        raise IdempotencyKeyInUse(retry_after=1)


async def forget(connection: AsyncConnection, claim: Claim) -> None:
    """Free the key again: its request came to nothing that is to be remembered."""
    await connection.execute(idempotency_keys.delete().where(*_held(claim)))


async def forget_operation(connection: AsyncConnection, tenant_id: UUID, operation_id: UUID) -> None:
    """Free the key of an operation that was never sent and whose caller never had an answer."""
    await connection.execute(
        idempotency_keys.delete().where(
            idempotency_keys.c.tenant_id == tenant_id,
            idempotency_keys.c.operation_id == operation_id,
            idempotency_keys.c.status.is_(None),
        )
    )


async def delete_old(connection: AsyncConnection) -> int:
    """Delete the keys that are no longer kept, of all tenants; for the worker."""
    result = await connection.execute(
        idempotency_keys.delete().where(idempotency_keys.c.created_at < sa.func.now() - KEPT)
    )
    return int(result.rowcount)


def _held(claim: Claim) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        idempotency_keys.c.tenant_id == claim.tenant_id,
        idempotency_keys.c.key == claim.key,
        idempotency_keys.c.holder == claim.holder,
        idempotency_keys.c.status.is_(None),
    )
