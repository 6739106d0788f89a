"""What a look has to know of an account: what it needs, which orders it has, what of it can't be read."""

from __future__ import annotations

import time
from collections.abc import Collection

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts import health_records
from app.accounts.health import Health, Observation
from app.audit.caller import background
from app.database import Access, Database
from app.database.pipeline import Query, run_together
from app.errors import RentgateError
from app.operations import lookup
from app.operations.states import State
from app.sync.watch import Reading, Watch
from app.values import utc_now

log = structlog.get_logger(__name__)

_NEED = """
    select exists (
            select from rentals r
            where r.tenant_id = l.tenant_id and r.upstream_key_id = l.upstream_key_id
                and r.status in ('pending', 'active', 'review')
                and r.number_state in ('activating', 'active')
        ) as is_running,
        coalesce(l.wanted_until > clock_timestamp(), false) as is_wanted,
        l.archive_due_at <= clock_timestamp() as archive_is_due
    from account_looks l
    where l.tenant_id = %(tenant_id)s and l.upstream_key_id = %(upstream_key_id)s
"""
"""What an account needs: numbers that may receive, somebody who waits, its archive read."""

_LISTED = """
    select upstream_order_id, rental_id, number_state, has_new_sms,
        extract(epoch from clock_timestamp() - messages_read_at)::float8 as read_ago,
        extract(epoch from wanted_until - clock_timestamp())::float8 as wanted_for,
        messages_error is not null as failed
    from upstream_orders
    where tenant_id = %(tenant_id)s and upstream_key_id = %(upstream_key_id)s and status = 'listed'
"""


async def learn(connection: AsyncConnection, watch: Watch) -> None:
    """Bring what is remembered of an account up to date."""
    tenant_id, key_id = watch.account.tenant_id, watch.account.upstream_key_id
    given = {"tenant_id": tenant_id, "upstream_key_id": key_id}
    need, unknown, rows, health = await run_together(
        connection,
        Query(_NEED, given, lambda answer: answer.row),
        lookup.standing_of_account(tenant_id, key_id, State.UNKNOWN),
        Query(_LISTED, given, lambda answer: answer.rows),
        health_records.of_account(tenant_id, key_id),
    )
    watch.health = health
    watch.archive_due = need.archive_is_due
    watch.unsettled = bool(unknown)
    watch.busy = need.is_running or need.is_wanted or watch.unsettled
    watch.undecided = any(row.rental_id is None for row in rows)
    at = time.monotonic()
    watch.read_next(
        Reading(
            row.upstream_order_id,
            row.rental_id,
            row.number_state,
            row.has_new_sms,
            None if row.read_ago is None else at - row.read_ago,
            at + (row.wanted_for or 0.0),
            failed=row.failed,
        )
        for row in rows
        if row.rental_id is not None
    )


async def keep_health(database: Database, watch: Watch) -> None:
    """Take an account's health on by what its answers since held that can't be read, if that is news."""
    if health_now(watch) == watch.health:
        watch.account.observed.clear()
        return
    tenant_id, key_id = watch.account.tenant_id, watch.account.upstream_key_id
    try:
        async with database.transaction(Access.tenant(tenant_id)) as connection:
            observed, watch.account.observed = _counting(watch), []
            watch.odd |= {(one.method, one.subject) for one in observed if one.set_aside}
            living: Collection[str] | None = watch.readings.keys() if watch.listed else None
            watch.health = await health_records.observe(
                connection, background(tenant_id), key_id, observed, living
            )
    except RentgateError as away:
        log.info("look.health_not_noted", code=away.code)


def health_now(watch: Watch) -> Health:
    """An account's health with what was observed since it was last noted."""
    living = watch.readings.keys() if watch.listed else None
    return watch.health.after_all(_counting(watch), utc_now(), living)


def _counting(watch: Watch) -> list[Observation]:
    """What was observed since health was last noted, but for clean answers beside odd ones of the same look:
    pages of one archive are one reading.
    """
    return [
        one for one in watch.account.observed if one.set_aside or (one.method, one.subject) not in watch.odd
    ]
