"""A tenant's upstream keys: stored, replaced, deleted, and opened only to call the upstream."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database import Access, Database, new_id, violated
from app.database.pipeline import Answer, Query, run
from app.errors import NotFound, UpstreamKeyInUse, VaultUnavailable
from app.vault.keyring import Keyring, Keyset
from app.vault.models import upstream_keys
from app.vault.resolver import Resolver
from app.vault.stored import ACTIVE, NO_SUCH_KEY, StoredKeys, UpstreamKey, living


@dataclass(frozen=True, slots=True)
class Rotated:
    """Another secret than the one that is known, found at a stored key's reference."""

    reference: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class OpenedKey:
    """A plain key, and whether it is a reference's, whose time in memory is another one."""

    secret: str = field(repr=False)
    kept_elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What is needed to open a key.

    Attributes:
        home: the keyset that the ciphertext opens with, or the reference to where the secret is kept.
    """

    tenant_id: UUID
    id: UUID
    ciphertext: bytes = field(repr=False)
    version: int
    fingerprint: bytes = field(repr=False)
    home: Keyset | str
    used_lately: bool

    @classmethod
    def of(cls, row: Any) -> StoredKey:
        """The key of a row of _STORED."""
        keyset = Keyset(row.wrapped, row.keyset_version, row.wrapped_by)
        return cls(
            row.tenant_id,
            row.id,
            row.ciphertext,
            row.version,
            row.fingerprint,
            keyset if row.reference is None else row.reference,
            row.used_lately,
        )


def place_of(tenant_id: UUID, key_id: UUID, version: int) -> bytes:
    """The associated data: a ciphertext opens only in its own tenant, row, column and version."""
    return f"{tenant_id}/upstream_keys/{key_id}/ciphertext/{version}".encode()


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
        fingerprint = await self._fingerprint(connection, api_key)
        sealed = b""
        if reference is None:
            place = place_of(tenant_id, key_id, 1)
            sealed = await self._keyring.seal(connection, tenant_id, place, api_key)
        try:
            async with connection.begin_nested():
                await connection.execute(
                    upstream_keys.insert().values(
                        tenant_id=tenant_id,
                        id=key_id,
                        label=label,
                        ciphertext=sealed,
                        fingerprint=fingerprint,
                        last_four=_last_four(api_key),
                        is_default=as_default,
                        external_id=external_id,
                        reference=reference,
                    )
                )
        except IntegrityError as error:
            if violated(error) in {"upstream_keys_fingerprint_key", "upstream_keys_external_key"}:
                raise UpstreamKeyInUse from None
            raise
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
        fingerprint = await self._fingerprint(connection, api_key)
        version, sealed = row.version + 1, b""
        if reference is None:
            place = place_of(tenant_id, key_id, version)
            sealed = await self._keyring.seal(connection, tenant_id, place, api_key)
        try:
            async with connection.begin_nested():
                await self._update(
                    connection,
                    tenant_id,
                    key_id,
                    ciphertext=sealed,
                    version=version,
                    reference=reference,
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

    async def _fingerprint(self, connection: AsyncConnection, api_key: str) -> bytes:
        return await self._keyring.fingerprint(connection, "upstream_key", api_key.encode())


def _last_four(api_key: str) -> str:
    """The end of a key, by which people know it; none of a key so short that it would give it away."""
    return api_key[-4:] if len(api_key) >= 12 else ""
