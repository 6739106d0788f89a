"""Queues what is to be delivered: the deliveries of an event, and that their endpoints are due.

`webhook_schedules` says when each endpoint next has something to be delivered. Whatever makes a delivery due
makes its endpoint due with the same commit, until which that row stays locked: a claim skips it rather than
set a due time without having seen the delivery.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from app.database.at_commit import DeferredWrite, LockOrder, at_commit
from app.events.notifications import CHANNEL, QUEUED

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

DUE = f"""
    due as (
        update webhook_schedules s set due_at = least(s.due_at, clock_timestamp())
        from queued q where s.tenant_id = q.tenant_id and s.webhook_id = q.webhook_id
        returning s.webhook_id
    )
    select pg_notify('{CHANNEL}', '{QUEUED}') from due limit 1
"""  # noqa: S608 - put together of our own words
"""The end of a statement: the endpoints in `queued` are due, and that is announced."""

_MAKE_DUE = DeferredWrite(
    LockOrder.DELIVERIES,
    f"with queued as (select %(tenant_id)s::uuid as tenant_id, %(webhook_id)s::uuid as webhook_id), {DUE}",
)


def make_due(connection: AsyncConnection, tenant_id: UUID, webhook_id: UUID) -> None:
    """Have an endpoint's due deliveries claimed, from the commit on."""
    at_commit(connection, _MAKE_DUE, {"tenant_id": tenant_id, "webhook_id": webhook_id})
