"""Workers and the accounts assigned to them: an account has one worker, for as many polls as that lives.

A worker's heartbeat renews its lease; that is all it writes while nothing happens. Once the lease has ended,
any other worker reaps it: its accounts are free and due. So a worker may poll an account only while its lease
holds, by a clock that runs while the process does not.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.models import account_looks, workers
from app.accounts.refresh_requests import is_requested
from app.accounts.schedule import free, of_key, watched
from app.database import NOW
from app.database.lease import until
from app.database.pipeline import Query, records, run
from app.vault.models import upstream_keys


@dataclass(frozen=True, slots=True)
class Assignment:
    """An account that a worker has from now on: how many polls failed in a row, how late the next is, and
    whether callers wait for one.
    """

    tenant_id: UUID
    upstream_key_id: UUID
    failures: int
    late_seconds: float
    requested: bool


@dataclass(frozen=True, slots=True)
class Notice:
    """News of an account for its worker.

    Attributes:
        at_once: a poll is wanted now; else only within an interval.
        requested: callers wait for a poll.
    """

    upstream_key_id: UUID
    at_once: bool
    requested: bool


@dataclass(frozen=True, slots=True)
class PollStatus:
    """An account, the seconds since its worker saw it (None: never), and those to the next poll."""

    tenant_id: UUID
    upstream_key_id: UUID
    seen_ago: float | None
    next_in: float


_IS_REQUESTED = is_requested(account_looks, account_looks.c.upstream_key_id)


async def register(connection: AsyncConnection, worker_id: UUID, seconds: float) -> datetime:
    """Register a new worker with a lease of so many seconds; returns the database's time."""
    statement = insert(workers).values(id=worker_id, alive_until=until(seconds))
    now: datetime = (await connection.execute(statement.returning(NOW))).scalar_one()
    return now


async def heartbeat(connection: AsyncConnection, worker_id: UUID, seconds: float) -> datetime | None:
    """Renew a worker's lease; returns the database's time, or None if the worker was reaped meanwhile."""
    statement = workers.update().where(workers.c.id == worker_id)
    renewed = statement.values(alive_until=until(seconds)).returning(NOW)
    now: datetime | None = await connection.scalar(renewed)
    return now


async def reap(connection: AsyncConnection, *worker_ids: UUID) -> None:
    """Free the accounts of workers whose lease has ended, and of these, which stop.

    An account that somebody works on just now is freed when it is tried again.
    """
    dead = sa.or_(workers.c.alive_until < NOW, workers.c.id.in_(worker_ids))
    ids = (await connection.scalars(sa.select(workers.c.id).where(dead))).all()
    if not ids:
        return
    await _free(connection, account_looks.c.holder.in_(ids))
    held = sa.exists().where(account_looks.c.holder == workers.c.id)
    # A worker that is stopped may hold the lock of its own heartbeat; nothing waits for that.
    reaped = sa.select(workers.c.id).where(workers.c.id.in_(ids), dead, ~held)
    unlocked = reaped.with_for_update(skip_locked=True)
    await connection.execute(workers.delete().where(workers.c.id.in_(unlocked)))


async def release_orphans(connection: AsyncConnection, worker_id: UUID, known: Collection[UUID]) -> None:
    """Free accounts that a worker has by the database and does not know of: an answer was lost."""
    await _free(
        connection,
        sa.and_(account_looks.c.holder == worker_id, account_looks.c.upstream_key_id != sa.all_(_ids(known))),
    )


def _ids(ids: Collection[UUID]) -> sa.ColumnElement[Any]:
    return sa.literal(list(ids), ARRAY(sa.Uuid))


async def _free(connection: AsyncConnection, which: sa.ColumnElement[bool]) -> None:
    free_ones = (
        sa.select(account_looks.c.tenant_id, account_looks.c.upstream_key_id)
        .where(which)
        .with_for_update(skip_locked=True)
        .cte("free_ones")
    )
    await connection.execute(
        account_looks.update()
        .where(
            account_looks.c.tenant_id == free_ones.c.tenant_id,
            account_looks.c.upstream_key_id == free_ones.c.upstream_key_id,
        )
        .values(holder=None, due_at=sa.func.greatest(account_looks.c.next_at, NOW), at_once=False)
    )


async def fair_share(connection: AsyncConnection) -> int:
    """How many accounts each worker should have."""
    looked_at = (
        sa.select(sa.func.count())
        .select_from(upstream_keys)
        .where(
            upstream_keys.c.deleted_at.is_(None),
            sa.or_(watched(), is_requested(upstream_keys, upstream_keys.c.id)),
        )
        .scalar_subquery()
    )
    living = (
        sa.select(sa.func.greatest(sa.func.count(), 1))
        .select_from(workers)
        .where(workers.c.alive_until >= NOW)
        .scalar_subquery()
    )
    return int(await connection.scalar(sa.select(sa.func.ceil(looked_at / living.cast(sa.Double)))) or 0)


async def take(connection: AsyncConnection, worker_id: UUID, limit: int) -> list[Assignment]:
    """Take accounts that are due and that nobody has, the longest due first."""
    due = (
        sa.select(account_looks.c.tenant_id, account_looks.c.upstream_key_id, account_looks.c.due_at)
        .join(upstream_keys, of_key(account_looks))
        .where(
            account_looks.c.due_at <= NOW,
            free(),
            upstream_keys.c.deleted_at.is_(None),
            sa.or_(watched(), _IS_REQUESTED),
        )
        .order_by(account_looks.c.due_at)
        .limit(limit)
        .with_for_update(of=account_looks, skip_locked=True)
        .cte("due")
    )
    statement = (
        account_looks.update()
        .where(
            account_looks.c.tenant_id == due.c.tenant_id,
            account_looks.c.upstream_key_id == due.c.upstream_key_id,
        )
        .values(holder=worker_id, due_at=None, at_once=False, next_at=NOW)
        .returning(
            account_looks.c.tenant_id,
            account_looks.c.upstream_key_id,
            account_looks.c.failures,
            sa.func.extract("epoch", NOW - due.c.due_at).cast(sa.Double),
            _IS_REQUESTED,
        )
    )
    return [Assignment(*row) for row in await connection.execute(statement)]


async def notices(connection: AsyncConnection, worker_id: UUID) -> list[Notice]:
    """The news of a worker's accounts since it last asked."""
    news = (
        sa.select(
            account_looks.c.tenant_id,
            account_looks.c.upstream_key_id,
            account_looks.c.at_once,
            _IS_REQUESTED.label("requested"),
        )
        .where(account_looks.c.holder == worker_id, account_looks.c.due_at <= NOW)
        .with_for_update(skip_locked=True)
    )
    found = (await connection.execute(news)).all()
    if found:
        heard = account_looks.update().where(
            sa.tuple_(account_looks.c.tenant_id, account_looks.c.upstream_key_id).in_(
                [(row.tenant_id, row.upstream_key_id) for row in found]
            )
        )
        await connection.execute(heard.values(due_at=None, at_once=False))
    return [Notice(row.upstream_key_id, row.at_once, row.requested) for row in found]


_NOTE = """
    with statuses as (
        select s.* from account_looks l join jsonb_to_recordset(%(statuses)s)
            as s (tenant_id uuid, upstream_key_id uuid, seen_ago float8, next_in float8)
            on l.tenant_id = s.tenant_id and l.upstream_key_id = s.upstream_key_id
        where l.holder = %(holder)s
        for update of l skip locked
    ), moments as (
        select tenant_id, upstream_key_id, clock_timestamp() - make_interval(secs => seen_ago) as seen_at,
            clock_timestamp() + make_interval(secs => next_in) as next_at
        from statuses
    )
    update account_looks l
    set looked_at = coalesce(m.seen_at, l.looked_at), next_at = m.next_at,
        holder = case when %(given_back)s then null else l.holder end,
        due_at = case when %(given_back)s then least(l.due_at, m.next_at) else l.due_at end
    from moments m
    where l.tenant_id = m.tenant_id and l.upstream_key_id = m.upstream_key_id
"""


async def be_brief(connection: AsyncConnection) -> None:
    """Have the transaction fail rather than wait for locks that a process holds which is stopped."""
    await connection.execute(sa.select(sa.func.set_config("lock_timeout", "500ms", True)))


async def note(
    connection: AsyncConnection, worker_id: UUID, statuses: Sequence[PollStatus], *, given_back: bool = False
) -> None:
    """Note how a worker's accounts stand, for others to see.

    Args:
        given_back: the worker gives them up; whoever is free takes them when they are due. One that is locked
            just now is left, and found as an orphan later.
    """
    if statuses:
        given = {"statuses": records(statuses), "holder": worker_id, "given_back": given_back}
        await run(connection, Query(_NOTE, given, lambda _: None))
