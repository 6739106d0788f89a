"""Keeps the health of accounts, and tells the tenant when one turns bad or well again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.health import Health, HealthStatus, Observation
from app.accounts.models import account_health
from app.audit.caller import Caller
from app.events import repository as events
from app.events.types import EventType
from app.queries import Query, Statement
from app.vault.models import upstream_keys

_RANKS = tuple(HealthStatus)


class HealthProblem(BaseModel):
    """What can't be read: a field of what an upstream method answers, or with null the whole answer."""

    method: str
    field: str | None
    message: str


class AccountHealth(BaseModel):
    """How well the account can be read. `degraded`: something was set aside in the newest answer of a method.
    `failing`: its orders could not be read three times in a row. `ok` again after three clean answers.
    """

    status: Literal["ok", "degraded", "failing"]
    since: datetime
    problem: HealthProblem | None


class HealthChange(BaseModel):
    """An upstream account turned bad or well again."""

    upstream_key_id: UUID
    health: AccountHealth


@dataclass(frozen=True, slots=True)
class KeptHealth:
    """The health of an account, and since when its status is what it is; None if that never changed."""

    health: Health
    since: datetime | None

    def shown(self, made_at: datetime) -> AccountHealth:
        """The health as callers read it, of an account that was stored at `made_at`."""
        worst = self.health.worst
        problem = worst and HealthProblem(method=worst.method, field=worst.field, message=worst.message)
        return AccountHealth(status=self.health.status.value, since=self.since or made_at, problem=problem)


WELL = KeptHealth(Health(), None)


async def of_accounts(
    connection: AsyncConnection, tenant_id: UUID, upstream_key_ids: Sequence[UUID]
) -> dict[UUID, KeptHealth]:
    """The health of those of these accounts that ever had a problem."""
    table = account_health.c
    query = sa.select(table.upstream_key_id, table.problems, table.since).where(
        table.tenant_id == tenant_id, table.upstream_key_id.in_(upstream_key_ids)
    )
    return {row[0]: KeptHealth(Health.of_record(row[1]), row[2]) for row in await connection.execute(query)}


async def change(
    connection: AsyncConnection, caller: Caller, upstream_key_id: UUID, step: Callable[[Health], Health]
) -> Health:
    """Take an account's health a step on, and announce a change of its status; returns what it is then.

    Locks the account's row of health until the transaction ends, if there is one or one is needed.
    """
    kept = await _locked(connection, caller.tenant_id, upstream_key_id)
    before = WELL if kept is None else kept
    after = step(before.health)
    if after == before.health:
        return after
    if kept is None:
        await _make(connection, caller.tenant_id, upstream_key_id)
        before = await _locked(connection, caller.tenant_id, upstream_key_id) or WELL
        after = step(before.health)
    changes = after.status is not before.health.status
    values: dict[str, Any] = {"problems": after.record(), "status": after.status.value}
    if changes:
        values["since"] = sa.func.clock_timestamp()
    saved = await connection.execute(
        account_health.update()
        .where(*_this(caller.tenant_id, upstream_key_id))
        .values(**values)
        .returning(account_health.c.since)
    )
    if changes:
        since: datetime = saved.scalar_one()
        shown = KeptHealth(after, since).shown(since)
        _announce(
            connection, caller, HealthChange(upstream_key_id=upstream_key_id, health=shown), before.health
        )
    return after


async def observe(
    connection: AsyncConnection,
    caller: Caller,
    upstream_key_id: UUID,
    observations: Sequence[Observation],
    living: Collection[str] | None = None,
) -> Health:
    """Take an account's health on by readings of its answers, as `Health.after_all` does; what it is then."""
    return await change(
        connection, caller, upstream_key_id, lambda health: health.after_all(observations, living)
    )


async def fail(
    connection: AsyncConnection, caller: Caller, upstream_key_id: UUID, failures: int, message: str
) -> Health:
    """Note that an account's list of orders failed so many times in a row; the health that this leaves."""
    return await change(
        connection, caller, upstream_key_id, lambda health: health.after_failures(failures, message)
    )


_PROBLEMS = Statement(
    sa.select(account_health.c.problems).where(
        account_health.c.tenant_id == sa.bindparam("tenant"),
        account_health.c.upstream_key_id == sa.bindparam("account"),
    )
)


def of_account(tenant_id: UUID, upstream_key_id: UUID) -> Query[Health]:
    """The health of one account."""
    given = {"tenant": tenant_id, "account": upstream_key_id}
    return Query(_PROBLEMS, given, lambda answer: Health.of_record(answer.row.problems if answer.row else ()))


async def by_status(connection: AsyncConnection) -> dict[str, int]:
    """How many accounts of all tenants have each status; for the worker."""
    status = sa.func.coalesce(account_health.c.status, HealthStatus.OK.value)
    query = (
        sa.select(status, sa.func.count())
        .select_from(upstream_keys.outerjoin(account_health, _of_key()))
        .where(upstream_keys.c.deleted_at.is_(None))
        .group_by(status)
    )
    found = {row[0]: row[1] for row in await connection.execute(query)}
    return {status.value: found.get(status.value, 0) for status in HealthStatus}


def _of_key() -> sa.ColumnElement[bool]:
    return sa.and_(
        account_health.c.tenant_id == upstream_keys.c.tenant_id,
        account_health.c.upstream_key_id == upstream_keys.c.id,
    )


def _announce(connection: AsyncConnection, caller: Caller, change: HealthChange, before: Health) -> None:
    now = HealthStatus(change.health.status)
    worse = _RANKS.index(now) > _RANKS.index(before.status)
    if worse or now is HealthStatus.OK:
        event = EventType.UPSTREAM_KEY_DEGRADED if worse else EventType.UPSTREAM_KEY_RECOVERED
        events.emit(connection, caller, event, change.model_dump(mode="json"))


async def _locked(connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID) -> KeptHealth | None:
    query = sa.select(account_health.c.problems, account_health.c.since)
    found = await connection.execute(query.where(*_this(tenant_id, upstream_key_id)).with_for_update())
    row = found.one_or_none()
    return None if row is None else KeptHealth(Health.of_record(row.problems), row.since)


async def _make(connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID) -> None:
    values = {"tenant_id": tenant_id, "upstream_key_id": upstream_key_id}
    await connection.execute(insert(account_health).values(**values).on_conflict_do_nothing())


def _this(tenant_id: UUID, upstream_key_id: UUID) -> tuple[sa.ColumnElement[bool], ...]:
    return account_health.c.tenant_id == tenant_id, account_health.c.upstream_key_id == upstream_key_id
