"""When each account is looked at next, and who wants it sooner.

An account's row here is locked before its rentals, its orders and its key: all that changes any of them takes
the locks in that order, so that no two transactions ever wait for each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.models import account_balances, account_looks, workers
from app.database import NOW, seconds, this_account
from app.database.lease import ended, until
from app.database.pipeline import Query, run
from app.events.notifications import CHANNEL, TOLD, notify
from app.vault.models import upstream_keys
from app.vault.stored import ACTIVE

_this = partial(this_account, account_looks)

READ_WHOLE_AGAIN = timedelta(days=30)
"""After how long an archive is read whole again, though only its news are looked for in between."""


@dataclass(frozen=True, slots=True)
class LookState:
    """How an account's looks went: how many failed in a row and with which error the last one did, and the
    seconds since it was last seen.
    """

    looked_at: datetime | None
    failures: int
    error_code: str | None
    seconds_since_look: float | None


_LOCK = """
    select case when holder is not null then pg_notify(%(channel)s, upstream_key_id::text) end
    from account_looks where tenant_id = %(tenant_id)s and upstream_key_id = %(upstream_key_id)s for update
"""


async def enrol(connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID) -> None:
    """Have a new account looked at, and its balance read, from now on."""
    account = {"tenant_id": tenant_id, "upstream_key_id": upstream_key_id}
    await connection.execute(account_looks.insert().values(account))
    await connection.execute(account_balances.insert().values(account))


async def lock(connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID) -> None:
    """Keep an account's rentals and orders to this transaction: what a look and what an operation found
    out about them is written one after the other, never into each other. The worker that has the account
    hears of it, since what it remembers may not be true any more.
    """
    given = {"tenant_id": tenant_id, "upstream_key_id": upstream_key_id, "channel": CHANNEL}
    await run(connection, Query(_LOCK, given, lambda _: None))


async def make_due(connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID) -> None:
    """Have an account looked at as soon as a worker is free; locks it as `lock` does."""
    await connection.execute(
        account_looks.update()
        .where(*_this(tenant_id, upstream_key_id))
        .values(due_at=NOW, next_at=NOW, at_once=True)
    )
    notify(connection, upstream_key_id, TOLD)


async def want(
    connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID, *, seconds: float, interval: float
) -> None:
    """Note that somebody waits for news of an account for so long; it is looked at every `interval` then."""
    wanted_until = until(seconds)
    soon = sa.func.coalesce(account_looks.c.looked_at + timedelta(seconds=interval), NOW)
    await connection.execute(
        account_looks.update()
        .where(*_this(tenant_id, upstream_key_id))
        .values(
            wanted_until=sa.func.greatest(account_looks.c.wanted_until, wanted_until),
            due_at=sa.func.least(account_looks.c.due_at, soon),
            next_at=sa.func.least(account_looks.c.next_at, soon),
        )
    )
    notify(connection, upstream_key_id, TOLD)


async def poll_soon(connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID) -> None:
    """Have a worker see to an account now, since a caller asked for a poll; one that is due is left so."""
    row = account_looks.c
    await connection.execute(
        account_looks.update()
        .where(
            *_this(tenant_id, upstream_key_id),
            sa.or_(row.due_at.is_(None), row.due_at > NOW),
        )
        .values(due_at=NOW)
    )
    notify(connection, upstream_key_id, TOLD)


async def holds(connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID, holder: UUID) -> bool:
    """Whether the account is still this holder's; locks it until the transaction ends."""
    held = sa.select(account_looks.c.holder).where(
        *_this(tenant_id, upstream_key_id), account_looks.c.holder == holder
    )
    return (await connection.execute(held.with_for_update())).one_or_none() is not None


async def note_failures(
    connection: AsyncConnection,
    tenant_id: UUID,
    upstream_key_id: UUID,
    holder: UUID,
    *,
    failures: int,
    error_code: str | None,
) -> None:
    """Note that looks failed, so many in a row, the last one with this error; or with 0 that one did not."""
    await connection.execute(
        account_looks.update()
        .where(*_this(tenant_id, upstream_key_id), account_looks.c.holder == holder)
        .values(failures=failures, error_code=error_code)
    )


async def want_archive(connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID) -> None:
    """Have an account's archive read whole, beginning with the next look, which is made soon."""
    await connection.execute(
        account_looks.update()
        .where(*_this(tenant_id, upstream_key_id))
        .values(
            due_at=NOW,
            next_at=NOW,
            at_once=True,
            archive_due_at=NOW,
            archive_skip=0,
            archive_incomplete=False,
            archive_read_at=None,
        )
    )
    notify(connection, upstream_key_id, TOLD)


@dataclass(frozen=True, slots=True)
class ArchivePlace:
    """How far an archive was read.

    Attributes:
        skip: rows that are read already.
        was_read_whole: whether all of it was read lately.
        rows: how many rows it had when it was read last.
        due_at: since when it is due, by which a request that comes meanwhile is told from this one.
        incomplete: some of the rows before `skip` may hide orders.
    """

    skip: int
    was_read_whole: bool
    rows: int
    due_at: datetime
    incomplete: bool


async def archive_place(
    connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID
) -> ArchivePlace | None:
    """Where reading an account's archive goes on; None if it isn't due."""
    read_whole = sa.func.coalesce(account_looks.c.archive_read_at > NOW - READ_WHOLE_AGAIN, sa.false())
    query = sa.select(
        account_looks.c.archive_skip,
        read_whole,
        account_looks.c.archive_rows,
        account_looks.c.archive_due_at,
        account_looks.c.archive_incomplete,
    ).where(*_this(tenant_id, upstream_key_id), account_looks.c.archive_due_at <= NOW)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else ArchivePlace(*row)


async def note_archive(
    connection: AsyncConnection,
    tenant_id: UUID,
    upstream_key_id: UUID,
    place: ArchivePlace,
    *,
    skip: int,
    complete: bool,
) -> bool:
    """Note how far the archive was read, and whether completely; False if it was asked for anew since this
    reading began.
    """
    result = await connection.execute(
        account_looks.update()
        .where(
            *_this(tenant_id, upstream_key_id),
            account_looks.c.archive_due_at == place.due_at,
        )
        .values(archive_skip=skip, archive_incomplete=not complete)
    )
    return bool(result.rowcount)


async def note_archive_read(
    connection: AsyncConnection,
    tenant_id: UUID,
    upstream_key_id: UUID,
    place: ArchivePlace,
    *,
    whole: bool,
    rows: int,
    next_in: float,
) -> bool:
    """Note that the archive, or what is new of it, was read; it has so many rows, and is due again in some
    seconds. False if it was asked for anew since this reading began.
    """
    result = await connection.execute(
        account_looks.update()
        .where(
            *_this(tenant_id, upstream_key_id),
            account_looks.c.archive_due_at == place.due_at,
        )
        .values(
            archive_skip=0,
            archive_incomplete=False,
            archive_rows=rows,
            archive_due_at=until(next_in),
            archive_read_at=NOW if whole else account_looks.c.archive_read_at,
        )
    )
    return bool(result.rowcount)


async def state(connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID) -> LookState | None:
    """How an account's looks went."""
    query = sa.select(*_STATE).where(*_this(tenant_id, upstream_key_id))
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else LookState(*row)


async def note_seen(connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID) -> None:
    """Note that an account's orders were seen, by somebody other than the worker."""
    await connection.execute(
        account_looks.update().where(*_this(tenant_id, upstream_key_id)).values(looked_at=NOW)
    )


def free() -> sa.ColumnElement[bool]:
    """Whether no living worker has an account, in a query of `account_looks`."""
    lives = sa.exists().where(workers.c.id == account_looks.c.holder, ~ended(workers.c.alive_until))
    return sa.or_(account_looks.c.holder.is_(None), ~lives)


def of_key(table: sa.Table) -> sa.ColumnElement[bool]:
    """Joins an account's row in a table and its key."""
    return sa.and_(
        upstream_keys.c.tenant_id == table.c.tenant_id, upstream_keys.c.id == table.c.upstream_key_id
    )


def watched() -> sa.ColumnElement[bool]:
    """Whether an account is looked at, in a query of `upstream_keys`. A key that was rejected is left alone,
    unless it is a reference: that is mended at its source, and nobody tells us.
    """
    return sa.or_(upstream_keys.c.status == ACTIVE, upstream_keys.c.reference.is_not(None))


_STATE = (
    account_looks.c.looked_at,
    account_looks.c.failures,
    account_looks.c.error_code,
    seconds(NOW - account_looks.c.looked_at),
)
