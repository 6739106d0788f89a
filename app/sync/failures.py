"""Writing down that a poll failed, for whoever wants to know why nothing new is seen of an account."""

from __future__ import annotations

from app.accounts import health_records, schedule
from app.audit.caller import background
from app.database import Access, Database
from app.errors import (
    DatabaseUnavailable,
    InternalError,
    NotFound,
    RentgateError,
    UpstreamBusy,
    UpstreamKeyRejected,
    VaultUnavailable,
)
from app.operations import ledger
from app.sync.assignments import Lease
from app.sync.watch import Watch

NOT_THE_LIST = (
    DatabaseUnavailable,
    VaultUnavailable,
    UpstreamBusy,
    UpstreamKeyRejected,
    NotFound,
    InternalError,
)
"""A poll that failed so says nothing of how well the list can be read."""


async def note_failure(database: Database, watch: Watch, lease: Lease, error: RentgateError) -> None:
    """Note that a poll failed, and that nothing is known of what is absent from a list that was not read."""
    watch.failures += 1
    watch.stale = True
    tenant_id, key_id = watch.account.tenant_id, watch.account.upstream_key_id
    async with database.transaction(Access.tenant(tenant_id)) as connection:
        await schedule.note_failures(
            connection, tenant_id, key_id, lease.holder, failures=watch.failures, error_code=error.code
        )
        if not watch.listed:  # after the account's row, as everybody locks them
            await ledger.forget_last_absence(connection, tenant_id, key_id)
            if not isinstance(error, NOT_THE_LIST):
                watch.health = await health_records.fail(
                    connection, background(tenant_id), key_id, watch.failures, str(error)
                )
