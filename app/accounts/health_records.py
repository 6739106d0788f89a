"""Keeps the health of accounts, and tells the tenant when one turns bad or well again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Literal
from uuid import UUID

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.health import Health, HealthStatus, Observation
from app.accounts.models import account_health
from app.accounts.schedule import of_key
from app.audit.caller import Caller
from app.database import NOW, Timestamp, this_account
from app.database.pipeline import Query
from app.events import repository as events
from app.events.types import EventType
from app.vault.models import upstream_keys


class HealthProblem(BaseModel):
    """What can't be read: a field of what an upstream method answers, or with null the whole answer."""

    method: str
    field: str | None
    message: str


class AccountHealth(BaseModel):
    """How well the account can be read. `degraded`: something was set aside in the newest answer of a method.
    `failing`: its orders could not be read three times in a row. `ok` again after three clean answers; for a
    method that is only called on request, also a day after its last odd answer.
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

    def at(self, now: datetime) -> KeptHealth:
        """What is true at `now` of what was kept before: some problems end by themselves."""
        health = self.health.at(now)
        if health.status is self.health.status:
            return KeptHealth(health, self.since)
        ended = [problem.ends_at for problem in self.health.problems if problem.ends_at is not None]
        return KeptHealth(health, max(moment for moment in ended if moment <= now))

    def shown(self, made_at: datetime) -> AccountHealth:
        """The health as callers read it, of an account that was stored at `made_at`."""
        worst = self.health.worst
        problem = worst and HealthProblem(method=worst.method, field=worst.field, message=worst.message)
        return AccountHealth(status=self.health.status.value, since=self.since or made_at, problem=problem)


_this = partial(this_account, account_health)

WELL = KeptHealth(Health(), None)


async def of_accounts(
    connection: AsyncConnection, tenant_id: UUID, upstream_key_ids: Sequence[UUID]
) -> dict[UUID, KeptHealth]:
    """The health, as it is now, of those of these accounts that ever had a problem."""
    table = account_health.c
    query = sa.select(table.upstream_key_id, table.problems, table.since, NOW.label("now")).where(
        table.tenant_id == tenant_id, table.upstream_key_id.in_(upstream_key_ids)
    )
    found = await connection.execute(query)
    return {
        row.upstream_key_id: KeptHealth(Health.of_record(row.problems), row.since).at(row.now)
        for row in found
    }


async def change(
    connection: AsyncConnection,
    caller: Caller,
    upstream_key_id: UUID,
    step: Callable[[Health, datetime], Health],
) -> Health:
    """Take an account's health a step on, and announce a change of its status; returns what it is then.

    Locks the account's row of health until the transaction ends, if there is one or one is needed.

    Args:
        step: given the health as it is now, and the time.
    """
    stored, now = await _locked(connection, caller.tenant_id, upstream_key_id)
    kept = stored or WELL
    after = step(kept.at(now).health, now)
    if after == kept.health:
        return after
    if stored is None:
        await _make(connection, caller.tenant_id, upstream_key_id)
        stored, now = await _locked(connection, caller.tenant_id, upstream_key_id)
        kept = stored or WELL
        after = step(kept.at(now).health, now)
    before = kept.at(now)
    changes = after.status is not kept.health.status
    values: dict[str, Any] = {"problems": after.record(), "status": after.status.value}
    if changes:
        values["since"] = before.since if after.status is before.health.status else NOW
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
            connection, caller, HealthChange(upstream_key_id=upstream_key_id, health=shown), kept.health
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
        connection, caller, upstream_key_id, lambda health, now: health.after_all(observations, now, living)
    )


async def fail(
    connection: AsyncConnection, caller: Caller, upstream_key_id: UUID, failures: int, message: str
) -> Health:
    """Note that an account's list of orders failed so many times in a row; the health that this leaves."""
    return await change(
        connection, caller, upstream_key_id, lambda health, _now: health.after_failures(failures, message)
    )


_PROBLEMS = """
    select problems from account_health
    where tenant_id = %(tenant_id)s and upstream_key_id = %(upstream_key_id)s
"""


def of_account(tenant_id: UUID, upstream_key_id: UUID) -> Query[Health]:
    """The health of one account as it was stored last."""
    given = {"tenant_id": tenant_id, "upstream_key_id": upstream_key_id}
    return Query(_PROBLEMS, given, lambda answer: Health.of_record(answer.row.problems if answer.row else ()))


async def by_status(connection: AsyncConnection) -> dict[str, int]:
    """How many accounts of all tenants have each status now; for the worker."""
    status = sa.case((_has_problem(), account_health.c.status), else_=HealthStatus.OK.value).label("told")
    query = (
        sa.select(status, sa.func.count())
        .select_from(upstream_keys.outerjoin(account_health, of_key(account_health)))
        .where(upstream_keys.c.deleted_at.is_(None))
        .group_by("told")
    )
    found = {row[0]: row[1] for row in await connection.execute(query)}
    return {status.value: found.get(status.value, 0) for status in HealthStatus}


def _has_problem() -> sa.ColumnElement[bool]:
    """Whether an account has one that has not ended by itself, as `Health.at` tells."""
    stored = sa.func.jsonb_array_elements(account_health.c.problems)
    problem = stored.table_valued(sa.column("value", JSONB)).render_derived("problem")
    ends_at = sa.cast(problem.c.value["ends_at"].astext, Timestamp)
    return sa.exists().where(sa.or_(ends_at.is_(None), ends_at > NOW))


def _announce(connection: AsyncConnection, caller: Caller, change: HealthChange, before: Health) -> None:
    now = HealthStatus(change.health.status)
    worse = now.is_worse_than(before.status)
    if worse or now is HealthStatus.OK:
        event = EventType.UPSTREAM_KEY_DEGRADED if worse else EventType.UPSTREAM_KEY_RECOVERED
        events.emit(connection, caller, event, change.model_dump(mode="json"))


async def _locked(
    connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID
) -> tuple[KeptHealth | None, datetime]:
    """What is kept of an account's health, locked, and the database's time after that."""
    query = sa.select(account_health.c.problems, account_health.c.since)
    kept = query.where(*_this(tenant_id, upstream_key_id)).with_for_update().subquery("kept")
    anyway = sa.select(sa.literal(1).label("one")).subquery("anyway")
    both = sa.select(kept, NOW.label("now")).select_from(anyway.outerjoin(kept, sa.true()))
    row = (await connection.execute(both)).one()
    if row.problems is None:
        return None, row.now
    return KeptHealth(Health.of_record(row.problems), row.since), row.now


async def _make(connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID) -> None:
    values = {"tenant_id": tenant_id, "upstream_key_id": upstream_key_id}
    await connection.execute(insert(account_health).values(**values).on_conflict_do_nothing())
