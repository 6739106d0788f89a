"""Accounts of all tenants as an operator sees them: how their looks go, and which are late.

Each query is for the worker's role, and finds its rows by an index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.health import Health
from app.accounts.models import account_balances, account_health, account_looks
from app.accounts.schedule import free, of_key, watched
from app.database import seconds
from app.tenants.models import tenants
from app.vault.models import upstream_keys

_NOW = sa.func.statement_timestamp()

NOTED_LATE = timedelta(seconds=10)
"""By so much less than this a look may be later noted than made, by the worker that holds the account."""


@dataclass(frozen=True, slots=True)
class Account:
    """An upstream account.

    Attributes:
        watched: whether it is looked at; a rejected key is not.
        held: whether somebody has it to look at it.
        due_in: seconds until the next look; below 0 it is late.
        seen_ago: seconds since it was last seen.
        failures: looks that failed in a row, the last one with `error_code`; the next waits the longer.
        balance: US dollars that were left on it when that was last read, `balance_ago` seconds ago.
        low_balance_below: the mark below which the tenant is told of it.
        problems: what of its answers can't be read, as it is stored.
        read_at: the time at which all this is so.
    """

    tenant_id: UUID
    tenant: str
    id: UUID
    label: str
    status: str
    watched: bool
    held: bool
    due_in: float
    seen_ago: float | None
    failures: int
    error_code: str | None
    balance: Decimal | None
    low_balance_below: Decimal | None
    balance_ago: float | None
    problems: Sequence[dict[str, Any]] | None
    read_at: datetime

    @property
    def health(self) -> Health:
        """How well its answers can be read."""
        return Health.of_record(self.problems or ()).at(self.read_at)


@dataclass(frozen=True, slots=True)
class Lag:
    """Accounts whose look is late: how many, and since how many seconds, together and the longest."""

    accounts: int
    seconds: float
    longest_seconds: float


async def accounts(connection: AsyncConnection, limit: int) -> Sequence[Account]:
    """Accounts, the longest due one first."""
    query = (
        sa.select(
            account_looks.c.tenant_id,
            tenants.c.name,
            upstream_keys.c.id,
            upstream_keys.c.label,
            upstream_keys.c.status,
            watched(),
            ~free(),
            seconds(account_looks.c.next_at - _NOW),
            seconds(_NOW - account_looks.c.looked_at),
            account_looks.c.failures,
            account_looks.c.error_code,
            account_balances.c.amount,
            account_balances.c.low_balance_below,
            seconds(_NOW - account_balances.c.read_at),
            account_health.c.problems,
            _NOW,
        )
        .join_from(account_looks, upstream_keys, of_key(account_looks))
        .outerjoin(account_health, of_key(account_health))
        .outerjoin(account_balances, of_key(account_balances))
        .join(tenants, tenants.c.id == account_looks.c.tenant_id)
        .where(upstream_keys.c.deleted_at.is_(None))
        .order_by(account_looks.c.next_at)
        .limit(limit)
    )
    return [Account(*row) for row in await connection.execute(query)]


async def lag(connection: AsyncConnection) -> Lag:
    """How late the looks are."""
    late = seconds(_NOW - account_looks.c.next_at)
    query = (
        sa.select(
            sa.func.count(),
            sa.func.coalesce(sa.func.sum(late), 0.0),
            sa.func.coalesce(sa.func.max(late), 0.0),
        )
        .join_from(account_looks, upstream_keys, of_key(account_looks))
        .where(
            account_looks.c.next_at <= _NOW,
            sa.or_(free(), account_looks.c.next_at <= _NOW - NOTED_LATE),
            upstream_keys.c.deleted_at.is_(None),
            watched(),
        )
    )
    return Lag(*(await connection.execute(query)).one())


async def oldest_look_age(connection: AsyncConnection) -> float:
    """Seconds since the account that was seen least recently was seen; 0 without accounts."""
    query = (
        sa.select(seconds(_NOW - account_looks.c.looked_at))
        .join_from(account_looks, upstream_keys, of_key(account_looks))
        .where(account_looks.c.looked_at.is_not(None), upstream_keys.c.deleted_at.is_(None))
        .order_by(account_looks.c.looked_at)
        .limit(1)
    )
    return await connection.scalar(query) or 0.0


async def accounts_below_mark(connection: AsyncConnection) -> int:
    """How many accounts are below the mark of their balance."""
    query = (
        sa.select(sa.func.count())
        .join_from(account_balances, upstream_keys, of_key(account_balances))
        .where(account_balances.c.is_low, upstream_keys.c.deleted_at.is_(None), watched())
    )
    return await connection.scalar(query) or 0


async def oldest_balance_reading_age(connection: AsyncConnection) -> float:
    """Seconds since the balance that was read least recently was read; 0 where none was read."""
    query = (
        sa.select(seconds(_NOW - account_balances.c.read_at))
        .join_from(account_balances, upstream_keys, of_key(account_balances))
        .where(account_balances.c.read_at.is_not(None), upstream_keys.c.deleted_at.is_(None), watched())
        .order_by(account_balances.c.read_at)
        .limit(1)
    )
    return await connection.scalar(query) or 0.0
