"""A tenant's upstream keys: stored, listed, changed, deleted, and opened only to call the upstream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database import new_id, violated
from app.errors import NotFound, NoUpstreamKey, UpstreamKeyInUse
from app.vault.keyring import Keyring
from app.vault.models import upstream_keys

ACTIVE, REJECTED = "active", "rejected"


@dataclass(frozen=True, slots=True)
class UpstreamKey:
    """What may be known of a stored key; never the key itself."""

    id: UUID
    label: str
    last_four: str
    default: bool
    status: str
    created_at: datetime
    last_used_at: datetime | None


_KNOWN = (
    upstream_keys.c.id,
    upstream_keys.c.label,
    upstream_keys.c.last_four,
    upstream_keys.c.is_default,
    upstream_keys.c.status,
    upstream_keys.c.created_at,
    upstream_keys.c.last_used_at,
)


def _place(tenant_id: UUID, key_id: UUID, version: int) -> bytes:
    """The associated data: a ciphertext opens only in its own tenant, row, column and version."""
    return f"{tenant_id}/upstream_keys/{key_id}/ciphertext/{version}".encode()


class Vault:
    """The upstream keys of all tenants, one tenant a call."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    async def add(
        self, connection: AsyncConnection, tenant_id: UUID, *, label: str, api_key: str, default: bool | None
    ) -> UpstreamKey:
        """Store a key; the tenant's first is its default.

        Raises:
            UpstreamKeyInUse: the account is stored already, here or with another tenant.
        """
        key_id = new_id()
        first = not await self._count(connection, tenant_id)
        as_default = first if default is None else default or first
        if as_default:
            await self._clear_default(connection, tenant_id)
        fingerprint = await self._keyring.fingerprint(connection, "upstream_key", api_key.encode())
        ciphertext = await self._keyring.seal(connection, tenant_id, _place(tenant_id, key_id, 1), api_key)
        try:
            async with connection.begin_nested():
                await connection.execute(
                    upstream_keys.insert().values(
                        tenant_id=tenant_id,
                        id=key_id,
                        label=label,
                        ciphertext=ciphertext,
                        fingerprint=fingerprint,
                        last_four=_last_four(api_key),
                        is_default=as_default,
                    )
                )
        except IntegrityError as error:
            if violated(error) == "upstream_keys_fingerprint_key":
                raise UpstreamKeyInUse from None
            raise
        return await self.get(connection, tenant_id, key_id)

    async def get(self, connection: AsyncConnection, tenant_id: UUID, key_id: UUID) -> UpstreamKey:
        """One key.

        Raises:
            NotFound: the tenant has no such key.
        """
        query = sa.select(*_KNOWN).where(*_living(tenant_id), upstream_keys.c.id == key_id)
        row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise NotFound("There is no such upstream key.")
        return UpstreamKey(*row)

    async def listed(
        self, connection: AsyncConnection, tenant_id: UUID, *, limit: int, before: UUID | None
    ) -> Sequence[UpstreamKey]:
        """The tenant's keys, newest first, older than the key `before`."""
        query = sa.select(*_KNOWN).where(*_living(tenant_id))
        if before is not None:
            query = query.where(upstream_keys.c.id < before)
        rows = await connection.execute(query.order_by(upstream_keys.c.id.desc()).limit(limit))
        return [UpstreamKey(*row) for row in rows]

    async def chosen(self, connection: AsyncConnection, tenant_id: UUID, key_id: UUID | None) -> UpstreamKey:
        """The key to rent with: the one that was named, else the tenant's default.

        Raises:
            NotFound: the named one is not the tenant's.
            NoUpstreamKey: none was named and there is no default.
        """
        if key_id is not None:
            return await self.get(connection, tenant_id, key_id)
        query = sa.select(*_KNOWN).where(*_living(tenant_id), upstream_keys.c.is_default)
        row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise NoUpstreamKey
        return UpstreamKey(*row)

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
            if default:
                await self._clear_default(connection, tenant_id)
            values["is_default"] = default
        if values:
            await self._update(connection, tenant_id, key_id, **values)
        return await self.get(connection, tenant_id, key_id)

    async def replace_secret(
        self, connection: AsyncConnection, tenant_id: UUID, key_id: UUID, api_key: str
    ) -> UpstreamKey:
        """Store another secret in a key's place; the old one is gone with the commit.

        Raises:
            NotFound: the tenant has no such key.
            UpstreamKeyInUse: the secret is stored already, here or with another tenant.
        """
        query = sa.select(upstream_keys.c.version).where(*_living(tenant_id), upstream_keys.c.id == key_id)
        version = await connection.scalar(query.with_for_update())
        if version is None:
            raise NotFound("There is no such upstream key.")
        fingerprint = await self._keyring.fingerprint(connection, "upstream_key", api_key.encode())
        place = _place(tenant_id, key_id, version + 1)
        try:
            async with connection.begin_nested():
                await self._update(
                    connection,
                    tenant_id,
                    key_id,
                    ciphertext=await self._keyring.seal(connection, tenant_id, place, api_key),
                    version=version + 1,
                    fingerprint=fingerprint,
                    last_four=_last_four(api_key),
                    status=ACTIVE,
                )
        except IntegrityError as error:
            if violated(error) == "upstream_keys_fingerprint_key":
                raise UpstreamKeyInUse from None
            raise
        return await self.get(connection, tenant_id, key_id)

    async def delete(self, connection: AsyncConnection, tenant_id: UUID, key_id: UUID) -> None:
        """Forget a key: its ciphertext is wiped; the row stays, since rentals refer to it.

        Raises:
            NotFound: the tenant has no such key.
        """
        await self.get(connection, tenant_id, key_id)
        await self._update(
            connection, tenant_id, key_id, deleted_at=sa.func.now(), ciphertext=b"", is_default=False
        )

    async def set_status(
        self, connection: AsyncConnection, tenant_id: UUID, key_id: UUID, status: str
    ) -> bool:
        """Mark a key as active or rejected; returns whether that was news."""
        result = await connection.execute(
            upstream_keys.update()
            .where(*_living(tenant_id), upstream_keys.c.id == key_id, upstream_keys.c.status != status)
            .values(status=status)
        )
        return bool(result.rowcount)

    async def open_secret(self, connection: AsyncConnection, tenant_id: UUID, key_id: UUID) -> str:
        """The plain key, to call the upstream with and to forget at once; notes the use to the minute.

        Raises:
            NotFound: the tenant has no such key.
        """
        query = sa.select(
            upstream_keys.c.ciphertext, upstream_keys.c.version, upstream_keys.c.last_used_at
        ).where(*_living(tenant_id), upstream_keys.c.id == key_id)
        row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise NotFound("There is no such upstream key.")
        await connection.execute(
            upstream_keys.update()
            .where(
                *_living(tenant_id),
                upstream_keys.c.id == key_id,
                sa.or_(
                    upstream_keys.c.last_used_at.is_(None),
                    upstream_keys.c.last_used_at < sa.func.now() - sa.text("interval '1 minute'"),
                ),
            )
            .values(last_used_at=sa.func.now())
        )
        return await self._keyring.unseal(
            connection, tenant_id, _place(tenant_id, key_id, row.version), row.ciphertext
        )

    async def _count(self, connection: AsyncConnection, tenant_id: UUID) -> int:
        query = sa.select(sa.func.count()).select_from(upstream_keys).where(*_living(tenant_id))
        return await connection.scalar(query) or 0

    async def _clear_default(self, connection: AsyncConnection, tenant_id: UUID) -> None:
        await connection.execute(
            upstream_keys.update()
            .where(*_living(tenant_id), upstream_keys.c.is_default)
            .values(is_default=False)
        )

    async def _update(
        self, connection: AsyncConnection, tenant_id: UUID, key_id: UUID, **values: object
    ) -> None:
        await connection.execute(
            upstream_keys.update().where(*_living(tenant_id), upstream_keys.c.id == key_id).values(**values)
        )


def _last_four(api_key: str) -> str:
    """The end of a key, by which people know it; none of a key so short that it would give it away."""
    return api_key[-4:] if len(api_key) >= 12 else ""


def _living(tenant_id: UUID) -> tuple[sa.ColumnElement[bool], ...]:
    return upstream_keys.c.tenant_id == tenant_id, upstream_keys.c.deleted_at.is_(None)
