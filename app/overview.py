"""What an operator sees of the whole gateway at one moment: accounts, pace, open operations, webhooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts import overview as accounts
from app.accounts.overview import Account, Lag
from app.accounts.pace import Allowance, Pace
from app.database import WORKER, Database
from app.operations import lookup
from app.operations.lookup import Backlog
from app.operations.states import State
from app.rentals.models import rentals
from app.rentals.repository import LIVING
from app.webhooks import claims
from app.webhooks.claims import Queue


@dataclass(frozen=True, slots=True)
class Overview:
    """All that is shown. Nothing in it is secret, but names of tenants and keys are what people called them.

    Attributes:
        accounts: those that are due first.
        more: whether there are further ones.
        living: how many living rentals each of them has.
        pace: what is left of each one's pace, and under None of all together, where there is a limit.
    """

    accounts: Sequence[Account]
    more: bool
    living: Mapping[UUID, int]
    pace: Mapping[UUID | None, Allowance]
    lag: Lag
    operations: Mapping[State, Backlog]
    webhooks: Queue


async def overview(database: Database, pace: Pace, limit: int) -> Overview:
    """How things stand now, with at most `limit` accounts.

    Raises:
        DatabaseUnavailable: the database is away.
    """
    async with database.transaction(WORKER) as connection:
        found = await accounts.accounts(connection, limit + 1)
        shown = found[:limit]
        ids = [account.id for account in shown]
        return Overview(
            shown,
            len(found) > limit,
            await _living(connection, shown),
            await pace.allowances(connection, ids),
            await accounts.lag(connection),
            await lookup.open_by_state(connection),
            await claims.queue(connection),
        )


async def _living(connection: AsyncConnection, of: Sequence[Account]) -> dict[UUID, int]:
    of_these = sa.tuple_(rentals.c.tenant_id, rentals.c.upstream_key_id).in_(
        [(account.tenant_id, account.id) for account in of]
    )
    query = (
        sa.select(rentals.c.upstream_key_id, sa.func.count())
        .where(of_these, rentals.c.status.in_(LIVING))
        .group_by(rentals.c.upstream_key_id)
    )
    return {row[0]: row[1] for row in await connection.execute(query)}
