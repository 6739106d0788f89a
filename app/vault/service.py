"""A tenant's upstream keys: stored, replaced, deleted, and opened only to call the upstream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database import Access, Database, new_id, violated
from app.database.pipeline import Answer, Query, run
from app.errors import NotFound, UpstreamKeyInUse, VaultUnavailable
from app.vault.keyring import Keyring
from app.vault.models import upstream_keys
from app.vault.resolver import Resolver
from app.vault.sealed import OpenedKey, StoredKey, last_four, place_of
from app.vault.stored import ACTIVE, NO_SUCH_KEY, StoredKeys, UpstreamKey, living


@dataclass(frozen=True, slots=True)
class Rotated:
    """Another secret than the one that is known, found at a stored key's reference."""

    reference: str
    secret: str = field(repr=False)


_STORED = """
    select k.tenant_id, k.id, k.ciphertext, k.version, k.reference, k.fingerprint,
        s.wrapped, s.version as keyset_version, s.wrapped_by,
        coalesce(k.last_used_at > now() - interval '1 minute', false) as used_lately
    from upstream_keys k left join vault_keysets s on s.tenant_id = k.tenant_id
    where k.tenant_id = %(tenant_id)s and k.id = %(upstream_key_id)s and k.deleted_at is null
"""


class Vault(StoredKeys):
    """The upstream keys of all tenants, one tenant a call."""

    def __init__(self, database: Database, keyring: Keyring, resolver: Resolver) -> None:
        self._database = database
        self._keyring = keyring
        self._resolver = resolver

    async def make_ready(self, tenant_id: UUID) -> None:
        """Make the network calls that sealing the tenant's keys needs, before the transaction that does.

        Raises:
            VaultUnavailable: the vault key's home can't be asked.
        """
        await self._keyring.make_ready(self._database, tenant_id)

    async def make_key_ready(self, tenant_id: UUID, key_id: UUID) -> Rotated | None:
        """Make the network calls that opening a key needs, before the transaction that does.

        Returns:
            the secret that a key's reference leads to, if it is not the one that is known: it has to be
            tried and stored by `replace_secret` before the key opens again.

        Raises:
            VaultUnavailable: the vault key's home, or what keeps the secret, can't be asked.
        """
        await self.make_ready(tenant_id)
        if not self._resolver.is_on:
            return None
        async with self._database.transaction(Access.tenant(tenant_id)) as connection:
            query = sa.select(upstream_keys.c.reference)
            reference = await connection.scalar(query.where(*living(tenant_id), upstream_keys.c.id == key_id))
            if reference is None:
                return None
            await self._resolver.allow(connection, tenant_id, reference)
            secret = self._resolver.kept(key_id, reference)
            if secret is not None and await self.holds(connection, tenant_id, key_id, secret):
                return None
        # Not the known one: it was replaced at its source, or by another process that has seen a newer one.
        secret = await self._resolver.fresh(key_id, reference)
        async with self._database.transaction(Access.tenant(tenant_id)) as connection:
            known = await self.holds(connection, tenant_id, key_id, secret)
        return None if known else Rotated(reference, secret)

    async def named(self, tenant_id: UUID, reference: str, location: str) -> str:
        """The secret at a reference that a caller gave in the field `location`.

        Raises:
            InvalidRequest: it is none, its kind is off, the tenant may not name it, or it leads nowhere.
            VaultUnavailable: what keeps the secret can't be asked.
        """
        return await self._resolver.named(self._database, tenant_id, reference, location)

    def doubt(self, key_id: UUID) -> None:
        """Ask for a key's secret anew at the next need, if it is kept elsewhere: the upstream rejected it."""
        self._resolver.forget(key_id)

    async def add(
        self,
        connection: AsyncConnection,
        tenant_id: UUID,
        *,
        label: str,
        api_key: str,
        default: bool | None,
        external_id: str | None = None,
        reference: str | None = None,
    ) -> UpstreamKey:
        """Store a key; the tenant's first is its default.

        Args:
            reference: where the key is kept; then only its keyed hash is stored, and the end of it.

        Raises:
            UpstreamKeyInUse: the account or the external id is stored already, here or with another tenant.
        """
        key_id = new_id()
        await self._one_at_a_time(connection, tenant_id)
        first = not await self._count(connection, tenant_id)
        as_default = first if default is None else default or first
        if as_default:
            await self._clear_default(connection, tenant_id)
        place = place_of(tenant_id, key_id, 1)
        secret = await self._secret(connection, tenant_id, place, api_key, reference)
        named = {"label": label, "is_default": as_default, "external_id": external_id}
        async with _used_once(connection):
            await connection.execute(
                upstream_keys.insert().values(tenant_id=tenant_id, id=key_id, **named, **secret)
            )
        return await self.get(connection, tenant_id, key_id)

    async def holds(self, connection: AsyncConnection, tenant_id: UUID, key_id: UUID, api_key: str) -> bool:
        """Whether this very secret is stored in a key's place."""
        fingerprint = await self._fingerprint(connection, api_key)
        query = sa.select(upstream_keys.c.fingerprint == fingerprint)
        same = await connection.scalar(query.where(*living(tenant_id), upstream_keys.c.id == key_id))
        return bool(same)

    async def replace_secret(
        self,
        connection: AsyncConnection,
        tenant_id: UUID,
        key_id: UUID,
        api_key: str,
        *,
        reference: str | None = None,
        rotated: bool = False,
    ) -> UpstreamKey:
        """Store another secret in a key's place; the old one is gone with the commit.

        Args:
            reference: where the secret is kept, as for `add`.
            rotated: it is what the key's own reference leads to now.

        Raises:
            NotFound: the tenant has no such key.
            UpstreamKeyInUse: the secret is stored already, here or with another tenant.
            VaultUnavailable: the key was given another reference meanwhile.
        """
        await self._keyring.hold(connection, tenant_id)  # before the row, as a rotation takes them
        query = sa.select(upstream_keys.c.version, upstream_keys.c.reference)
        query = query.where(*living(tenant_id), upstream_keys.c.id == key_id)
        row = (await connection.execute(query.with_for_update())).one_or_none()
        if row is None:
            raise NotFound(NO_SUCH_KEY)
        if rotated and row.reference != reference:
            raise VaultUnavailable("The upstream key changed under this request.", retry_after=1)
        version = row.version + 1
        place = place_of(tenant_id, key_id, version)
        secret = await self._secret(connection, tenant_id, place, api_key, reference)
        async with _used_once(connection):
            await self._update(connection, tenant_id, key_id, status=ACTIVE, version=version, **secret)
        return await self.get(connection, tenant_id, key_id)

    async def delete(self, connection: AsyncConnection, tenant_id: UUID, key_id: UUID) -> None:
        """Forget a key: its ciphertext or reference is wiped; the row stays, since rentals refer to it.

        Raises:
            NotFound: the tenant has no such key.
        """
        await self.get(connection, tenant_id, key_id)
        self._resolver.forget(key_id)
        await self._update(
            connection,
            tenant_id,
            key_id,
            deleted_at=sa.func.now(),
            ciphertext=b"",
            reference=None,
            is_default=False,
        )

    async def open_secret(self, connection: AsyncConnection, tenant_id: UUID, key_id: UUID) -> OpenedKey:
        """The plain key, to call the upstream with and to forget soon; notes the use to the minute.

        Raises:
            NotFound: the tenant has no such key.
            VaultUnavailable: it was not made ready, or has changed since.
        """
        stored = await run(connection, self.stored_key(tenant_id, key_id))
        return await self.open_stored(connection, stored)

    def stored_key(self, tenant_id: UUID, key_id: UUID) -> Query[StoredKey]:
        """What is stored of a key, for `open_stored`; NotFound is raised when the answer is read."""

        def read(answer: Answer) -> StoredKey:
            if answer.row is None:
                raise NotFound(NO_SUCH_KEY)
            return StoredKey.of(answer.row)

        return Query(_STORED, {"tenant_id": tenant_id, "upstream_key_id": key_id}, read)

    async def open_stored(self, connection: AsyncConnection, stored: StoredKey) -> OpenedKey:
        """As `open_secret`, of what `stored_key` gave in the same transaction."""
        if not stored.used_lately:
            await self._update(connection, stored.tenant_id, stored.id, last_used_at=sa.func.now())
        if isinstance(stored.home, str):
            secret = await self._referenced(connection, stored.id, stored.home, stored.fingerprint)
            return OpenedKey(secret, kept_elsewhere=True)
        place = place_of(stored.tenant_id, stored.id, stored.version)
        return OpenedKey(self._keyring.unseal(stored.home, stored.tenant_id, place, stored.ciphertext))

    async def _referenced(
        self, connection: AsyncConnection, key_id: UUID, reference: str, known: bytes
    ) -> str:
        """The secret that was made ready for, if it is the one that is known still."""
        secret = self._resolver.kept(key_id, reference, grace=True)
        if secret is None or await self._fingerprint(connection, secret) != known:
            raise VaultUnavailable(
                "The secret at the upstream key's reference is not at hand.", retry_after=1
            )
        return secret

    async def _secret(
        self, connection: AsyncConnection, tenant_id: UUID, place: bytes, api_key: str, reference: str | None
    ) -> dict[str, object]:
        """The columns of a key's row that hold its secret; of a reference only the secret's keyed hash."""
        fingerprint = await self._fingerprint(connection, api_key)
        sealed = b""
        if reference is None:
            sealed = await self._keyring.seal(connection, tenant_id, place, api_key)
        return {
            "ciphertext": sealed,
            "reference": reference,
            "fingerprint": fingerprint,
            "last_four": last_four(api_key),
        }

    async def _fingerprint(self, connection: AsyncConnection, api_key: str) -> bytes:
        return await self._keyring.fingerprint(connection, "upstream_key", api_key.encode())


@asynccontextmanager
async def _used_once(connection: AsyncConnection) -> AsyncIterator[None]:
    """Write a key, unless its account or its external id is stored already.

    Raises:
        UpstreamKeyInUse: one of them is.
    """
    try:
        async with connection.begin_nested():
            yield
    except IntegrityError as error:
        if violated(error) in {"upstream_keys_fingerprint_key", "upstream_keys_external_key"}:
            raise UpstreamKeyInUse from None
        raise
