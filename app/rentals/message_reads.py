"""When the messages of orders were read, whether they can be, and for whom they are wanted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database import NOW, this_account
from app.database import seconds as seconds_in
from app.database.lease import until
from app.database.pipeline import Query, records, run
from app.rentals.models import upstream_orders

_MESSAGES_READ = """
    update upstream_orders o
    set messages_read_at = case when s.complete then s.read_at else o.messages_read_at end,
        messages_failed_at = case
            when not s.complete then greatest(s.read_at, o.messages_failed_at)
            when o.messages_failed_at > s.read_at then o.messages_failed_at
        end,
        messages_error = case when o.messages_failed_at > s.read_at then o.messages_error end
    from (
        select tenant_id, upstream_key_id, upstream_order_id, complete,
            clock_timestamp() - make_interval(secs => seconds_ago) as read_at
        from jsonb_to_recordset(%(reads)s) as read (
            tenant_id uuid, upstream_key_id uuid, upstream_order_id text, seconds_ago float8, complete boolean
        )
    ) s
    where o.tenant_id = s.tenant_id and o.upstream_key_id = s.upstream_key_id
        and o.upstream_order_id = s.upstream_order_id
"""


@dataclass(frozen=True, slots=True)
class MessagesRead:
    """An order's messages were read so many seconds ago: all of them, or those that can be read."""

    tenant_id: UUID
    upstream_key_id: UUID
    upstream_order_id: str
    seconds_ago: float
    complete: bool


async def note_messages_read(connection: AsyncConnection, reads: Iterable[MessagesRead]) -> None:
    """Note when the messages of orders were read last."""
    if rows := list(reads):
        await run(connection, Query(_MESSAGES_READ, {"reads": records(rows)}, lambda _: None))


async def note_messages_failure(
    connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID, order_id: str, code: str
) -> None:
    """Note that none of an order's messages could be read just now, by the error's code."""
    await connection.execute(
        upstream_orders.update()
        .where(
            *this_account(upstream_orders, tenant_id, upstream_key_id),
            upstream_orders.c.upstream_order_id == order_id,
        )
        .values(messages_error=code, messages_failed_at=NOW)
    )


@dataclass(frozen=True, slots=True)
class MessagesState:
    """How well a rental's messages can be read.

    Attributes:
        synced_at: when all of them were last read; None if those of one of its orders never were.
        tried_ago: seconds since an answer of each of its orders was taken in, whether all, some or none of
            the messages could be read; None if one of them never answered.
        error_code: why none of them could be read the last time; None if some could.
    """

    synced_at: datetime | None
    tried_ago: float | None
    error_code: str | None


async def messages_state(connection: AsyncConnection, tenant_id: UUID, rental_id: UUID) -> MessagesState:
    """How well a rental's messages can be read: of its listed orders, or if it has none any more, of all."""
    order = upstream_orders.c
    listed = sa.exists().where(
        order.tenant_id == tenant_id, order.rental_id == rental_id, order.status == "listed"
    )
    never_read = sa.func.bool_or(order.messages_read_at.is_(None))
    synced_at = sa.case((never_read, None), else_=sa.func.min(order.messages_read_at))
    tried_at = sa.func.greatest(order.messages_read_at, order.messages_failed_at)
    never_tried = sa.func.bool_or(tried_at.is_(None))
    tried_ago = seconds_in(NOW - sa.func.min(tried_at))
    all_failed = sa.func.bool_and(order.messages_error.is_not(None))
    query = sa.select(
        synced_at,
        sa.case((never_tried, None), else_=tried_ago).cast(sa.Double),
        sa.case((all_failed, sa.func.max(order.messages_error))),
    ).where(
        order.tenant_id == tenant_id,
        order.rental_id == rental_id,
        sa.or_(order.status == "listed", sa.and_(~listed, order.status != "replaced")),
    )
    return MessagesState(*(await connection.execute(query)).one())


async def want_messages(
    connection: AsyncConnection, tenant_id: UUID, rental_id: UUID, seconds: float
) -> None:
    """Have a rental's messages read with each look for so long: somebody waits for one."""
    wanted_until = until(seconds)
    await connection.execute(
        upstream_orders.update()
        .where(
            upstream_orders.c.tenant_id == tenant_id,
            upstream_orders.c.rental_id == rental_id,
            upstream_orders.c.status == "listed",
        )
        .values(wanted_until=sa.func.greatest(upstream_orders.c.wanted_until, wanted_until))
    )
