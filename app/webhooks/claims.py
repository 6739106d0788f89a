"""Claims of due deliveries over all endpoints, fair to each, and leases of those that are attempted.

A claim locks the schedules of some due endpoints, in the order in which they became due, and takes the first
few due deliveries of each. Deliveries that it steps over, since an earlier one of the same rental is pending,
it puts behind that one, so that further claims don't read them: however many wait at an endpoint, they cost
nothing. A claim waits for no lock: it skips endpoints and deliveries that another transaction has locked.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, LiteralString
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.webhooks.models import webhook_deliveries, webhook_schedules

LEASE_SECONDS = 10.0
"""How long an attempt is its process's without a renewal; then any process may make it again."""

BEHIND_SECONDS = 60.0
"""How long a delivery stays behind another at least, if the other's end doesn't release it."""

SKIPPED_SECONDS = 0.1
"""After how long an endpoint is claimed again whose due deliveries another transaction has locked."""

PUT_BEHIND_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that this process attempts."""

    tenant_id: UUID
    id: UUID
    webhook_id: UUID
    rental_id: UUID | None


@dataclass(frozen=True, slots=True)
class Claim:
    """What a claim came to.

    Attributes:
        next_in: seconds until the next endpoint is due; 0 if further ones are, None if none will be.
    """

    deliveries: Sequence[Claimed]
    next_in: float | None


@dataclass(frozen=True, slots=True)
class Queue:
    """Deliveries that are not there yet.

    Attributes:
        pending: all of them, those that wait for their next attempt too.
        due: those whose turn and whose next attempt have come, and that nobody attempts.
        oldest_due_seconds: since when the first of these has been due.
        disabled: endpoints that nothing is delivered to.
    """

    pending: int
    due: int
    oldest_due_seconds: float
    disabled: int


_FIRST = """
    select f.id, f.next_at from webhook_deliveries f
    where f.tenant_id = d.tenant_id and f.webhook_id = d.webhook_id and f.rental_id = d.rental_id
        and f.status = 'pending'
    order by f.position limit 1
"""
"""The earliest delivery of the rental of `d` that is not there yet."""

_OF_ENDPOINT = "d.tenant_id = e.tenant_id and d.webhook_id = e.webhook_id"
_UNDER_WAY = f"{_OF_ENDPOINT} and d.holder is not null and d.next_at > statement_timestamp()"
_ENDPOINTS = "unnest(cast(:tenant_ids as uuid[]), cast(:webhook_ids as uuid[])) as e(tenant_id, webhook_id)"
_ENABLED = "w.tenant_id = e.tenant_id and w.id = e.webhook_id and w.status = 'enabled'"

BY_INDEX: LiteralString = "set local enable_sort = off"
"""For statements that read deliveries in an order: each order has its index. A queue is mostly empty when it
is analyzed, and by such statistics the planner takes any index for as good, and sorts what it gives.
"""

_LOCK = (
    sa.select(webhook_schedules.c.tenant_id, webhook_schedules.c.webhook_id)
    .where(webhook_schedules.c.due_at <= sa.func.statement_timestamp())
    .order_by(webhook_schedules.c.due_at)
    .with_for_update(skip_locked=True)
)

_TAKE = sa.text(f"""
    with endpoint as (
        select e.tenant_id, e.webhook_id,
            greatest(:most - (select count(*) from webhook_deliveries d where {_UNDER_WAY}), 0) as room
        from {_ENDPOINTS} join webhooks w on {_ENABLED}
    ),
    due as (
        select d.* from endpoint e cross join lateral (
            select d.tenant_id, d.id, d.next_at from webhook_deliveries d
            where {_OF_ENDPOINT} and d.status = 'pending' and d.next_at <= statement_timestamp()
                and (d.rental_id is null or d.id = (select id from ({_FIRST}) first))
            order by d.next_at limit e.room for update skip locked
        ) d
    ),
    taken as (
        update webhook_deliveries d set
            holder = :holder, behind = false, next_at = clock_timestamp() + make_interval(secs => :lease)
        from due where d.tenant_id = due.tenant_id and d.id = due.id
        returning d.tenant_id, d.id, d.webhook_id, d.rental_id, due.next_at as due_at
    )
    select e.tenant_id, e.webhook_id, e.room, taken.id, taken.rental_id, taken.due_at
    from endpoint e left join taken on taken.tenant_id = e.tenant_id and taken.webhook_id = e.webhook_id
""").bindparams(sa.bindparam("holder", type_=sa.Uuid))  # noqa: S608 - put together of our own words
"""Gives each enabled endpoint with how much room it had, beside each delivery that was taken."""

_PUT_BEHIND = sa.text(f"""
    update webhook_deliveries d set behind = true,
        next_at = greatest(follower.head_at, clock_timestamp() + make_interval(secs => :seconds))
    from unnest(cast(:tenant_ids as uuid[]), cast(:webhook_ids as uuid[]), cast(:until as timestamptz[]))
        as e(tenant_id, webhook_id, until)
    cross join lateral (
        select d.tenant_id, d.id, head.next_at as head_at
        from webhook_deliveries d cross join lateral ({_FIRST}) head
        where {_OF_ENDPOINT} and d.status = 'pending' and d.id <> head.id
            and d.next_at <= coalesce(e.until, statement_timestamp())
        order by d.next_at limit {PUT_BEHIND_AT_ONCE} for update of d skip locked
    ) follower
    where d.tenant_id = follower.tenant_id and d.id = follower.id
""")  # noqa: S608 - put together of our own words

_RESCHEDULE = sa.text(f"""
    update webhook_schedules s set due_at = case
        when not exists (select 1 from webhooks w where {_ENABLED}) then null
        when (select count(*) from webhook_deliveries d where {_UNDER_WAY}) >= :most
            then (select min(d.next_at) from webhook_deliveries d where {_UNDER_WAY})
        else (
            select greatest(d.next_at, clock_timestamp() + make_interval(secs => :skipped))
            from webhook_deliveries d where {_OF_ENDPOINT} and d.status = 'pending'
            order by d.next_at limit 1
        ) end
    from {_ENDPOINTS} where s.tenant_id = e.tenant_id and s.webhook_id = e.webhook_id
""")  # noqa: S608 - put together of our own words
"""An endpoint is due when its next delivery is; one without room when the first lease ends, unless an attempt
ends before, which makes it due.
"""

_NEXT_IN = sa.select(
    sa.func.extract("epoch", sa.func.min(webhook_schedules.c.due_at) - sa.func.clock_timestamp())
).where(webhook_schedules.c.due_at > sa.func.statement_timestamp())

_QUEUE = sa.text("""
    select
        (select count(*) from webhook_deliveries where status = 'pending'),
        count(*),
        coalesce(max(extract(epoch from clock_timestamp() - d.next_at)), 0)::float8,
        (select count(*) from webhooks where status = 'disabled')
    from (
        select distinct on (tenant_id, webhook_id, coalesce(rental_id, id)) tenant_id, webhook_id, next_at
        from webhook_deliveries where status = 'pending'
        order by tenant_id, webhook_id, coalesce(rental_id, id), position
    ) d
    where d.next_at <= statement_timestamp() and not exists (
        select 1 from webhooks w
        where w.tenant_id = d.tenant_id and w.id = d.webhook_id and w.status = 'disabled'
    )
""")


async def claim(connection: AsyncConnection, holder: UUID, *, endpoints: int, most: int) -> Claim:
    """Claim due deliveries for this process; for the worker.

    Args:
        endpoints: how many endpoints to claim of at most.
        most: how many attempts may be under way to one of them, in all processes.
    """
    locked = (await connection.execute(_LOCK.limit(endpoints))).all()
    found: Sequence[sa.Row[Any]] = ()
    if locked:
        of = {
            "tenant_ids": [row.tenant_id for row in locked],
            "webhook_ids": [row.webhook_id for row in locked],
        }
        given = {"holder": holder, "most": most, "lease": LEASE_SECONDS}
        await connection.exec_driver_sql(BY_INDEX)
        found = (await connection.execute(_TAKE, {**of, **given})).all()
        await _put_behind(connection, found)
        await connection.execute(_RESCHEDULE, {**of, "most": most, "skipped": SKIPPED_SECONDS})
    next_in = 0.0 if len(locked) == endpoints else await connection.scalar(_NEXT_IN)
    taken = [Claimed(row.tenant_id, row.id, row.webhook_id, row.rental_id) for row in found if row.id]
    return Claim(taken, None if next_in is None else float(next_in))


async def _put_behind(connection: AsyncConnection, found: Sequence[sa.Row[Any]]) -> None:
    """Put the deliveries that a claim stepped over behind the earlier ones of their rentals: those that were
    due before the last that it took, or all that are due where it took fewer than it had room for.
    """
    taken: dict[tuple[UUID, UUID, int], list[Any]] = {}
    for row in found:
        taken.setdefault((row.tenant_id, row.webhook_id, row.room), []).extend([row.due_at] if row.id else [])
    stepped_over = [
        (tenant_id, webhook_id, max(due) if len(due) == room else None)
        for (tenant_id, webhook_id, room), due in taken.items()
        if room
    ]
    if stepped_over:
        tenant_ids, webhook_ids, until = map(list, zip(*stepped_over, strict=True))
        of = {"tenant_ids": tenant_ids, "webhook_ids": webhook_ids, "until": until}
        await connection.execute(_PUT_BEHIND, {**of, "seconds": BEHIND_SECONDS})


async def renew(connection: AsyncConnection, holder: UUID, ids: Collection[UUID]) -> None:
    """Renew the leases of these attempts of this process; for the worker."""
    await connection.execute(
        webhook_deliveries.update()
        .where(
            webhook_deliveries.c.holder == holder,
            webhook_deliveries.c.id.in_(ids),
            webhook_deliveries.c.next_at > sa.func.statement_timestamp(),
        )
        .values(next_at=sa.func.clock_timestamp() + timedelta(seconds=LEASE_SECONDS))
    )


async def queue(connection: AsyncConnection) -> Queue:
    """How deliveries of all tenants stand; for the worker."""
    return Queue(*(await connection.execute(_QUEUE)).one())
