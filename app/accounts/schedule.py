"""When each account is looked at next, and the claim that keeps two workers from looking at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.models import account_looks
from app.vault.models import upstream_keys
from app.vault.service import ACTIVE


@dataclass(frozen=True, slots=True)
class LookState:
    """How an account's looks went: when it was last seen, last tried, and what went wrong since."""

    looked_at: datetime | None
    tried_at: datetime | None
    failures: int
    error_code: str | None
    seconds_since_look: float | None


async def enrol(connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID) -> None:
    """Have a new account looked at from now on."""
    await connection.execute(
        account_looks.insert().values(tenant_id=tenant_id, upstream_key_id=upstream_key_id)
    )


async def lock(connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID) -> None:
    """Keep an account's rentals and orders to this transaction: what a look and what an operation found
    out about them is written one after the other, never into each other.
    """
    query = sa.select(account_looks.c.due_at).where(*_this(tenant_id, upstream_key_id))
    await connection.execute(query.with_for_update())


async def make_due(connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID) -> None:
    """Have an account looked at as soon as a worker is free."""
    await connection.execute(
        account_looks.update().where(*_this(tenant_id, upstream_key_id)).values(due_at=_now())
    )


async def due(connection: AsyncConnection, limit: int) -> list[tuple[UUID, UUID]]:
    """Accounts (tenant, upstream key) that are due and not being looked at, the longest due first."""
    query = (
        sa.select(account_looks.c.tenant_id, account_looks.c.upstream_key_id)
        .join(
            upstream_keys,
            sa.and_(
                upstream_keys.c.tenant_id == account_looks.c.tenant_id,
                upstream_keys.c.id == account_looks.c.upstream_key_id,
            ),
        )
        .where(
            account_looks.c.due_at <= _now(),
            _free(),
            upstream_keys.c.deleted_at.is_(None),
            upstream_keys.c.status == ACTIVE,
        )
        .order_by(account_looks.c.due_at)
        .limit(limit)
    )
    return [(row.tenant_id, row.upstream_key_id) for row in await connection.execute(query)]


async def claim(
    connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID, holder: UUID, seconds: float
) -> LookState | None:
    """Claim an account for one look, or renew the claim, for `seconds`; None while another has it."""
    now = _now()
    row = (
        await connection.execute(
            account_looks.update()
            .where(*_this(tenant_id, upstream_key_id), sa.or_(account_looks.c.holder == holder, _free()))
            .values(holder=holder, held_until=now + timedelta(seconds=seconds))
            .returning(*_STATE)
        )
    ).one_or_none()
    return None if row is None else LookState(*row)


async def holds(connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID, holder: UUID) -> bool:
    """Whether the claim is still this holder's; locks it until the transaction ends."""
    query = sa.select(account_looks.c.holder).where(
        *_this(tenant_id, upstream_key_id), account_looks.c.holder == holder
    )
    return await connection.scalar(query.with_for_update()) is not None


async def finish(
    connection: AsyncConnection,
    tenant_id: UUID,
    upstream_key_id: UUID,
    holder: UUID,
    *,
    next_in: float,
    error_code: str | None = None,
) -> None:
    """End a look: note how it went, and have the next one in `next_in` seconds."""
    failed = error_code is not None
    now = _now()
    await connection.execute(
        account_looks.update()
        .where(*_this(tenant_id, upstream_key_id), account_looks.c.holder == holder)
        .values(
            holder=None,
            held_until=None,
            due_at=now + timedelta(seconds=next_in),
            tried_at=now,
            looked_at=account_looks.c.looked_at if failed else now,
            failures=account_looks.c.failures + 1 if failed else 0,
            error_code=error_code,
        )
    )


async def state(connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID) -> LookState | None:
    """How an account's looks went."""
    query = sa.select(*_STATE).where(*_this(tenant_id, upstream_key_id))
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else LookState(*row)


async def note_seen(connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID) -> None:
    """Note that an account's orders were seen, by somebody other than the worker."""
    await connection.execute(
        account_looks.update().where(*_this(tenant_id, upstream_key_id)).values(looked_at=_now())
    )


async def oldest_look_age(connection: AsyncConnection) -> float:
    """Seconds since the account that was seen least recently was seen; 0 without accounts."""
    age = sa.func.max(sa.func.extract("epoch", _now() - account_looks.c.looked_at))
    return float(await connection.scalar(sa.select(age)) or 0.0)


def _now() -> sa.Function[datetime]:
    return sa.func.clock_timestamp()


def _free() -> sa.ColumnElement[bool]:
    return sa.or_(account_looks.c.holder.is_(None), account_looks.c.held_until < _now())


def _this(tenant_id: UUID, upstream_key_id: UUID) -> tuple[sa.ColumnElement[bool], ...]:
    return account_looks.c.tenant_id == tenant_id, account_looks.c.upstream_key_id == upstream_key_id


_STATE = (
    account_looks.c.looked_at,
    account_looks.c.tried_at,
    account_looks.c.failures,
    account_looks.c.error_code,
    sa.func.extract("epoch", _now() - account_looks.c.looked_at).cast(sa.Double),
)
