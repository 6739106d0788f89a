"""Queues what is to be delivered: the deliveries of an event, and the jobs that make them.

A job says that something is due to an endpoint. It is deferred in the transaction that makes a delivery or
puts its next attempt off. One that waits already is not deferred again, but locked until the commit: it isn't
begun before it can find the delivery. What is to be done now ranks before what waits for its time, which a
fetch would have to step over otherwise.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from app.closing import ClosingWrite, Rank, at_commit
from app.events.notifications import CHANNEL, QUEUED

DELIVER = "deliver"
"""The job of an endpoint that something is due to."""

DELIVERIES = """
    queued as (
        insert into webhook_deliveries (tenant_id, id, webhook_id, event_id, event_type, rental_id, position)
        select e.tenant_id, new_uuid7(), w.id, e.id, e.type, e.rental_id, e.position
        from event e join webhooks w on w.tenant_id = e.tenant_id
        where w.status = 'enabled' and (e.type = any(w.events) or '*' = any(w.events))
        for key share of w
        returning tenant_id, webhook_id
    )
"""
"""Part of a statement: a delivery of `event` for each webhook that wants it. A webhook that is deleted at the
same moment is waited for and passed over, so that the event is written all the same.
"""

JOBS = f"""
    deferred as (
        insert into jobs.procrastinate_jobs (queue_name, task_name, priority, queueing_lock, args)
        select 'default', '{DELIVER}', 1, '{DELIVER} ' || webhook_id,
            jsonb_build_object('tenant_id', tenant_id, 'webhook_id', webhook_id)
        from queued order by webhook_id
        on conflict (queueing_lock) where status = 'todo' do update set priority = 1
        returning id
    )
    select pg_notify('{CHANNEL}', '{QUEUED}') from deferred limit 1
"""  # noqa: S608 - put together of our own words
"""The end of a statement: the job of each endpoint in `queued`, and the news that there is one."""

_NOW = ClosingWrite(
    Rank.DELIVERIES,
    f"with queued as (select %(tenant_id)s::uuid as tenant_id, %(webhook_id)s::uuid as webhook_id), {JOBS}",
)

_LATER = ClosingWrite(
    Rank.DELIVERIES,
    f"""
    insert into jobs.procrastinate_jobs (queue_name, task_name, args, scheduled_at)
    values (
        'default', '{DELIVER}',
        jsonb_build_object('tenant_id', %(tenant_id)s::uuid, 'webhook_id', %(webhook_id)s::uuid),
        clock_timestamp() + make_interval(secs => %(seconds)s)
    )
    """,  # noqa: S608 - put together of our own words
)


def defer(connection: AsyncConnection, tenant_id: UUID, webhook_id: UUID) -> None:
    """Have what is due to an endpoint delivered, from the commit on."""
    at_commit(connection, _NOW, {"tenant_id": tenant_id, "webhook_id": webhook_id})


def defer_for(connection: AsyncConnection, tenant_id: UUID, webhook_id: UUID, seconds: float) -> None:
    """Have what is due to an endpoint in so many seconds delivered then."""
    at_commit(connection, _LATER, {"tenant_id": tenant_id, "webhook_id": webhook_id, "seconds": seconds})
