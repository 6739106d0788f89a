"""When each account is looked at next, and who wants it sooner.

An account's row here is locked before its rentals, its orders and its key: all that changes any of them takes
the locks in that order, so that no two transactions ever wait for each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
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
    await _change(connection, tenant_id, upstream_key_id, due_at=NOW, next_at=NOW, at_once=True)
    notify(connection, upstream_key_id, TOLD)


async def want(
    connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID, *, seconds: float, interval: float
) -> None:
    """Note that somebody waits for news of an account for so long; it is looked at every `interval` then."""
    soon = sa.func.coalesce(account_looks.c.looked_at + timedelta(seconds=interval), NOW)
    await _change(
        connection,
        tenant_id,
        upstream_key_id,
        wanted_until=sa.func.greatest(account_looks.c.wanted_until, until(seconds)),
        due_at=sa.func.least(account_looks.c.due_at, soon),
        next_at=sa.func.least(account_looks.c.next_at, soon),
    )
    notify(connection, upstream_key_id, TOLD)


async def poll_soon(connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID) -> None:
    """Have a worker see to an account now, since a caller asked for a poll; one that is due is left so."""
    is_later = sa.or_(account_looks.c.due_at.is_(None), account_looks.c.due_at > NOW)
    await _change(connection, tenant_id, upstream_key_id, is_later, due_at=NOW)
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
    held = account_looks.c.holder == holder
    await _change(connection, tenant_id, upstream_key_id, held, failures=failures, error_code=error_code)


async def want_archive(connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID) -> None:
    """Have an account's archive read whole, beginning with the next look, which is made soon."""
    await make_due(connection, tenant_id, upstream_key_id)
    await _change(
        connection,
        tenant_id,
        upstream_key_id,
        archive_due_at=NOW,
        archive_skip=0,
        archive_incomplete=False,
        archive_read_at=None,
    )


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
    same = account_looks.c.archive_due_at == place.due_at
    return await _change(
        connection, tenant_id, upstream_key_id, same, archive_skip=skip, archive_incomplete=not complete
    )


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
    return await _change(
        connection,
        tenant_id,
        upstream_key_id,
        account_looks.c.archive_due_at == place.due_at,
        archive_skip=0,
        archive_incomplete=False,
        archive_rows=rows,
        archive_due_at=until(next_in),
        archive_read_at=NOW if whole else account_looks.c.archive_read_at,
    )


async def state(connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID) -> LookState | None:
    """How an account's looks went."""
    row = account_looks.c
    query = sa.select(row.looked_at, row.failures, row.error_code, seconds(NOW - row.looked_at))
    found = (await connection.execute(query.where(*_this(tenant_id, upstream_key_id)))).one_or_none()
    return None if found is None else LookState(*found)


async def note_seen(connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID) -> None:
    """Note that an account's orders were seen, by somebody other than the worker."""
    await _change(connection, tenant_id, upstream_key_id, looked_at=NOW)


async def _change(
    connection: AsyncConnection,
    tenant_id: UUID,
    upstream_key_id: UUID,
    *where: sa.ColumnElement[bool],
    **values: Any,
) -> bool:
    """Change an account's row; False if it isn't as it has to be."""
    changing = account_looks.update().where(*_this(tenant_id, upstream_key_id), *where).values(**values)
    return bool((await connection.execute(changing)).rowcount)


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
