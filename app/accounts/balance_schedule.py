"""When each account's balance is read next, and the claim on it of the one who reads it.

An account's row in `account_balances` is locked after the account and its key, and before anything that is
written with the commit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.models import account_balances
from app.accounts.schedule import of_key, watched
from app.database import NOW, this_account
from app.database.at_commit import DeferredWrite, LockOrder, at_commit
from app.database.lease import ended, until
from app.vault.models import upstream_keys


@dataclass(frozen=True, slots=True)
class Due:
    """An account whose balance is to be read, by whom claimed it until then.

    Attributes:
        failures: how many readings failed in a row.
    """

    tenant_id: UUID
    upstream_key_id: UUID
    claimed_until: datetime
    failures: int


_MOVED = DeferredWrite(
    LockOrder.BALANCE,
    """
    update account_balances
    set moved_at = clock_timestamp(),
        due_at = case when failures = 0 then least(due_at, clock_timestamp()) else due_at end
    where tenant_id = %(tenant_id)s and upstream_key_id = %(upstream_key_id)s
    """,
)


def note_moved(connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID) -> None:
    """Have an account's balance read soon, from the commit on: a call may have moved it. One that can't be
    read waits for its next try all the same.
    """
    at_commit(connection, _MOVED, {"tenant_id": tenant_id, "upstream_key_id": upstream_key_id})


async def make_due(connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID) -> None:
    """Have an account's balance read soon, also if it could not be read: its key is another one."""
    await connection.execute(
        account_balances.update()
        .where(*this_account(account_balances, tenant_id, upstream_key_id))
        .values(moved_at=NOW, due_at=NOW, failures=0, error_code=None)
    )


async def claim(connection: AsyncConnection, limit: int, seconds: float) -> list[Due]:
    """Claim accounts whose balance is due, the longest due first, for so many seconds; for the worker."""
    due = (
        sa.select(account_balances.c.tenant_id, account_balances.c.upstream_key_id)
        .join(upstream_keys, of_key(account_balances))
        .where(
            account_balances.c.due_at <= NOW,
            ended(account_balances.c.claimed_until),
            upstream_keys.c.deleted_at.is_(None),
            watched(),
        )
        .order_by(account_balances.c.due_at)
        .limit(limit)
        .with_for_update(of=account_balances, skip_locked=True)
        .cte("due")
    )
    taken = (
        account_balances.update()
        .where(
            account_balances.c.tenant_id == due.c.tenant_id,
            account_balances.c.upstream_key_id == due.c.upstream_key_id,
        )
        .values(claimed_until=until(seconds))
        .returning(
            account_balances.c.tenant_id,
            account_balances.c.upstream_key_id,
            account_balances.c.claimed_until,
            account_balances.c.failures,
        )
    )
    return [Due(*row) for row in await connection.execute(taken)]


async def renew(connection: AsyncConnection, due: Due, seconds: float) -> tuple[Due, datetime] | None:
    """Renew a claim right before the balance is asked for: the claim and this moment, by the database; None
    if the account is another's by now, or deleted.
    """
    renewed = (
        account_balances.update()
        .where(*claimed(due))
        .values(claimed_until=until(seconds))
        .returning(account_balances.c.claimed_until, NOW)
    )
    row = (await connection.execute(renewed)).one_or_none()
    return None if row is None else (Due(due.tenant_id, due.upstream_key_id, row[0], due.failures), row[1])


async def put_off(connection: AsyncConnection, due: Due, seconds: float) -> None:
    """Give a claim up; the balance is due again in so many seconds."""
    await connection.execute(
        account_balances.update().where(*claimed(due)).values(claimed_until=None, due_at=until(seconds))
    )


async def note_failure(connection: AsyncConnection, due: Due, error_code: str, next_in: float) -> None:
    """Note that the balance could not be read, and try it again in so many seconds, not before."""
    await connection.execute(
        account_balances.update()
        .where(*claimed(due))
        .values(
            claimed_until=None,
            due_at=until(next_in),
            failures=due.failures + 1,
            error_code=error_code,
        )
    )


def claimed(due: Due) -> tuple[sa.ColumnElement[bool], ...]:
    """What finds it as long as the claim on it stands."""
    row = this_account(account_balances, due.tenant_id, due.upstream_key_id)
    return *row, account_balances.c.claimed_until == due.claimed_until
