"""What is stored of a tenant's upstream keys: read, listed, chosen, relabelled; never a secret."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database.pipeline import Answer, Query, run
from app.errors import NotFound, NoUpstreamKey
from app.vault.models import upstream_keys

ACTIVE, REJECTED = "active", "rejected"


@dataclass(frozen=True, slots=True)
class UpstreamKey:
    """What may be known of a stored key; never the key itself, but its reference if it is kept elsewhere."""

    id: UUID
    label: str
    last_four: str
    reference: str | None
    default: bool
    status: str
    created_at: datetime
    last_used_at: datetime | None
    external_id: str | None


_LIVING = """
    select id, label, last_four, reference, is_default, status, created_at, last_used_at, external_id
    from upstream_keys where tenant_id = %(tenant_id)s and deleted_at is null
"""

NO_SUCH_KEY = "There is no such upstream key."


class StoredKeys:
    """The rows of all tenants' upstream keys, one tenant a call."""

    async def get(self, connection: AsyncConnection, tenant_id: UUID, key_id: UUID) -> UpstreamKey:
        """One key.

        Raises:
            NotFound: the tenant has no such key.
        """
        return await self.chosen(connection, tenant_id, key_id)

    async def by_external_id(
        self, connection: AsyncConnection, tenant_id: UUID, external_id: str
    ) -> UpstreamKey | None:
        """The key that somebody else's system knows by this id, if there is one."""
        given = {"tenant_id": tenant_id, "external_id": external_id}
        query = Query(f"{_LIVING} and external_id = %(external_id)s", given, lambda answer: answer.row)
        row = await run(connection, query)
        return None if row is None else UpstreamKey(*row)

    async def listed(
        self, connection: AsyncConnection, tenant_id: UUID, *, limit: int, before: UUID | None
    ) -> Sequence[UpstreamKey]:
        """The tenant's keys, newest first, older than the key `before`."""
        older = "" if before is None else "and id < %(before)s"
        given = {"tenant_id": tenant_id, "before": before, "limit": limit}
        page = Query(f"{_LIVING} {older} order by id desc limit %(limit)s", given, lambda answer: answer.rows)
        return [UpstreamKey(*row) for row in await run(connection, page)]

    async def living_ids(self, connection: AsyncConnection, tenant_id: UUID) -> Sequence[UUID]:
        """The ids of all of the tenant's keys, in the one order in which all lock them."""
        query = sa.select(upstream_keys.c.id).where(*living(tenant_id)).order_by(upstream_keys.c.id)
        return list(await connection.scalars(query))

    async def chosen(self, connection: AsyncConnection, tenant_id: UUID, key_id: UUID | None) -> UpstreamKey:
        """The key to rent with: the one that was named, else the tenant's default.

        Raises:
            NotFound: the named one is not the tenant's.
            NoUpstreamKey: none was named and there is no default.
        """
        query = self.choosing(tenant_id, key_id)
        return await run(connection, query)

    def choosing(self, tenant_id: UUID, key_id: UUID | None) -> Query[UpstreamKey]:
        """As `chosen`; the errors are raised when the answer is read."""

        def read(answer: Answer) -> UpstreamKey:
            if answer.row is None:
                raise NoUpstreamKey if key_id is None else NotFound(NO_SUCH_KEY)
            return UpstreamKey(*answer.row)

        if key_id is None:
            return Query(f"{_LIVING} and is_default", {"tenant_id": tenant_id}, read)
        return Query(f"{_LIVING} and id = %(id)s", {"tenant_id": tenant_id, "id": key_id}, read)

    async def change(
        self,
        connection: AsyncConnection,
        tenant_id: UUID,
        key_id: UUID,
        *,
        label: str | None,
        default: bool | None,
    ) -> UpstreamKey:
        """Give a key another label, or make it (no more) the default.

        Raises:
            NotFound: the tenant has no such key.
        """
        await self.get(connection, tenant_id, key_id)
        values: dict[str, object] = {}
        if label is not None:
            values["label"] = label
        if default is not None:
            await self._one_at_a_time(connection, tenant_id)
            if default:
                await self._clear_default(connection, tenant_id)
            values["is_default"] = default
        if values:
            await self._update(connection, tenant_id, key_id, **values)
        return await self.get(connection, tenant_id, key_id)

    async def _one_at_a_time(self, connection: AsyncConnection, tenant_id: UUID) -> None:
        """Let no two transactions choose a tenant's default key at the same time."""
        lock = sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(f"default key of {tenant_id}", 0))
        await connection.execute(sa.select(lock))

    async def set_status(
        self, connection: AsyncConnection, tenant_id: UUID, key_id: UUID, status: str
    ) -> bool:
        """Mark a key as active or rejected; returns whether that was news."""
        result = await connection.execute(
            upstream_keys.update()
            .where(*living(tenant_id), upstream_keys.c.id == key_id, upstream_keys.c.status != status)
            .values(status=status)
        )
        return bool(result.rowcount)

    async def _count(self, connection: AsyncConnection, tenant_id: UUID) -> int:
        query = sa.select(sa.func.count()).select_from(upstream_keys).where(*living(tenant_id))
        return await connection.scalar(query) or 0

    async def _clear_default(self, connection: AsyncConnection, tenant_id: UUID) -> None:
        await connection.execute(
            upstream_keys.update()
            .where(*living(tenant_id), upstream_keys.c.is_default)
            .values(is_default=False)
        )

    async def _update(
        self, connection: AsyncConnection, tenant_id: UUID, key_id: UUID, **values: object
    ) -> None:
        await connection.execute(
            upstream_keys.update().where(*living(tenant_id), upstream_keys.c.id == key_id).values(**values)
        )


def living(tenant_id: UUID) -> tuple[sa.ColumnElement[bool], ...]:
    """What holds of a tenant's keys that are not deleted."""
    return upstream_keys.c.tenant_id == tenant_id, upstream_keys.c.deleted_at.is_(None)
