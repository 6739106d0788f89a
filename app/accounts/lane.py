"""The money lane: one paid or changing call at a time for an account, across all processes.

A lane is a lease with a fence. Its holder sends only before its deadline, and a call never outlives the
lease, so after a holder's death the next one can be sure that nothing of it is still on its way out.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from app.database.at_commit import DeferredWrite, LockOrder, at_commit
from app.database.pipeline import Query

SEND_WITHIN = 2.0
"""Seconds after a lease was taken or renewed in which its holder may begin to write its request."""

MARGIN = 1.0
"""Seconds that a lease outlasts the longest call, for clocks and scheduling."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to make an account's one money call. `send_by` is a reading of `time.monotonic()`."""

    fence: int
    send_by: float


def lease_seconds(call_timeout: float) -> float:
    """How long a lease lasts: until a call that began at the last moment has surely ended."""
    return SEND_WITHIN + call_timeout + MARGIN


_TAKE = """
    insert into money_lanes as l (tenant_id, upstream_key_id, holder, fence, held_until)
    values (%(tenant_id)s, %(upstream_key_id)s, %(holder)s, 1, clock_timestamp() + %(lasts)s)
    on conflict (tenant_id, upstream_key_id) do update
    set holder = excluded.holder, fence = l.fence + 1, held_until = clock_timestamp() + %(lasts)s
    where l.holder is null or l.holder = excluded.holder or l.held_until < clock_timestamp()
    returning fence
"""

_RELEASE = DeferredWrite(
    LockOrder.LANE,
    """
    update money_lanes set holder = null
    where tenant_id = %(tenant_id)s and upstream_key_id = %(upstream_key_id)s and holder = %(holder)s
    """,
)


def taking(tenant_id: UUID, upstream_key_id: UUID, holder: UUID, call_timeout: float) -> Query[Lease | None]:
    """Take the lane for an operation, or renew what it holds; None while another holds it.

    The deadline is reckoned from before the database was asked, so that it is never too late.
    """
    send_by = time.monotonic() + SEND_WITHIN
    given = {
        "tenant_id": tenant_id,
        "upstream_key_id": upstream_key_id,
        "holder": holder,
        "lasts": timedelta(seconds=lease_seconds(call_timeout)),
    }
    return Query(_TAKE, given, lambda answer: answer.row and Lease(answer.row.fence, send_by))


def release(connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID, holder: UUID) -> None:
    """Give the lane back with the commit, if this holder still has it."""
    lane = {"tenant_id": tenant_id, "upstream_key_id": upstream_key_id, "holder": holder}
    at_commit(connection, _RELEASE, lane)
