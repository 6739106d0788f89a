"""The opened vault of one process: seals and opens secrets, and makes keyed hashes.

Where the vault key is another service's, opening is a network call, which no transaction may wait for:
`make_ready` is called before one, and what it opened is kept in memory for a short time.
"""

from __future__ import annotations

import asyncio
import base64
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection
from tink import aead

from app.cache import BoundedCache
from app.database import Access, Database, Role
from app.errors import VaultUnavailable
from app.vault import cipher
from app.vault.cipher import VaultKeyUnusable
from app.vault.homes import Home, Homes
from app.vault.models import vault_fingerprint_keys, vault_keysets

T = TypeVar("T")

FINGERPRINT_KEY = "accounts"
MOST_OPENED = 10_000
GRACE_SECONDS = 60.0
"""How much older than its time a keyset may be used by a transaction that was made ready for."""


@dataclass(frozen=True, slots=True)
class Keyset:
    """A tenant's keyset as it is stored."""

    wrapped: bytes
    version: int
    wrapped_by: str | None


@dataclass(frozen=True, slots=True)
class _Opened:
    keyset: aead.Aead
    at: float


class Keyring:
    """Holds the vault key; what it opens in the database is read at the first need."""

    def __init__(self, homes: Homes, opened_seconds: float = 60.0) -> None:
        """Take the homes of the vault key.

        Args:
            opened_seconds: for how long an opened keyset is kept in memory.
        """
        self.homes = homes
        self._opened_seconds = opened_seconds
        self._fingerprints: cipher.Fingerprints | None = None
        self._opened: BoundedCache[tuple[UUID, int], _Opened] = BoundedCache(MOST_OPENED)

    async def make_ready(self, database: Database, tenant_id: UUID | None = None) -> None:
        """Ask the vault key's home for what transactions will need: hashing, and a tenant's keyset.

        Nothing is to be done where the key is in this process.

        Raises:
            VaultKeyUnusable: the vault was made with another key.
            VaultUnavailable: the key's home can't be asked.
        """
        if not self.homes.remote:
            return
        if self._fingerprints is None:
            await self._ready_fingerprints(database)
        if tenant_id is not None:
            await self._ready_keyset(database, tenant_id)

    async def check(self, database: Database) -> cipher.Fingerprints:
        """See that the vault opens; what it makes keyed hashes with.

        Raises:
            VaultKeyUnusable: it is not the key that this vault was made with.
            VaultUnavailable: the key's home can't be asked.
        """
        await self.make_ready(database)
        async with database.transaction(Access(Role.APP)) as connection:
            return await self.unlock(connection)

    async def unlock(self, connection: AsyncConnection) -> cipher.Fingerprints:
        """Open the vault's fingerprint key, making it in a new vault; this proves the vault key.

        Raises:
            VaultKeyUnusable: it is not the key that this vault was made with.
            VaultUnavailable: it is another service's, and nothing was made ready.
        """
        if self._fingerprints is not None:
            return self._fingerprints
        stored = await _fingerprint_key(connection)
        if stored is not None:
            self._fingerprints = self._with_any(stored[1], _fingerprints_of(stored[0]), inside=True)
            return self._fingerprints
        home = self._local(self.homes.current)
        await _store_fingerprint_key(connection, cipher.new_fingerprint_key(home.kek), home.name)
        # Not kept in memory: should this transaction be rolled back, the key is gone.
        wrapped, wrapped_by = await _fingerprint_key(connection) or (b"", None)
        return self._with_any(wrapped_by, _fingerprints_of(wrapped), inside=True)

    async def fingerprint(self, connection: AsyncConnection, purpose: str, text: bytes) -> bytes:
        """A keyed hash of a text, 32 bytes, equal for equal texts of one purpose.

        Raises:
            VaultKeyUnusable: the vault key is not the one that this vault was made with.
            VaultUnavailable: it is another service's, and nothing was made ready.
        """
        return (await self.unlock(connection)).of(purpose, text)

    async def hold(self, connection: AsyncConnection, tenant_id: UUID) -> Keyset | None:
        """The tenant's keyset, which no rotation replaces until this transaction ends."""
        return await stored_keyset(connection, tenant_id, held=True)

    async def seal(self, connection: AsyncConnection, tenant_id: UUID, place: bytes, plain: str) -> bytes:
        """Encrypt a text under the tenant's keyset (made at its first secret) for one place.

        Raises:
            VaultUnavailable: the vault key is another service's, and the tenant was not made ready.
        """
        stored = await self.hold(connection, tenant_id)
        if stored is None:
            home = self._local(self.homes.current)
            await store_keyset(connection, tenant_id, cipher.keyset_for(tenant_id, home.kek), home.name)
            stored = await self.hold(connection, tenant_id)
        if stored is None:
            raise VaultKeyUnusable("The tenant's keyset could not be stored.")
        return cipher.seal(self._keyset(tenant_id, stored), place, plain)

    def unseal(self, stored: Keyset, tenant_id: UUID, place: bytes, ciphertext: bytes) -> str:
        """Decrypt what `seal` made for the same tenant and place, with the tenant's keyset.

        Raises:
            VaultKeyUnusable: the ciphertext is not of this vault, tenant and place.
            VaultUnavailable: the vault key is another service's, and the tenant was not made ready.
        """
        return cipher.unseal(self._keyset(tenant_id, stored), place, ciphertext)

    async def opened(self, tenant_id: UUID, stored: Keyset) -> aead.Aead:
        """A keyset, opened outside of any transaction.

        Raises:
            VaultKeyUnusable: it is not of this vault and tenant.
            VaultUnavailable: the vault key's home can't be asked.
        """
        return await asyncio.to_thread(self._open, tenant_id, stored, inside=False)

    def rewrapped(self, wrapped_by: str | None, rewrap: Callable[[aead.Aead, aead.Aead], bytes]) -> bytes:
        """What `rewrap` gives of the key that wrapped something and the present one; may ask the network.

        Raises:
            VaultKeyUnusable: no key that is set opens it.
            VaultUnavailable: a key's home can't be asked.
        """
        return self._with_any(wrapped_by, lambda former: rewrap(former, self.homes.current.kek), inside=False)

    async def _ready_fingerprints(self, database: Database) -> None:
        access = Access(Role.APP)
        async with database.transaction(access) as connection:
            stored = await _fingerprint_key(connection)
        if stored is None:
            home = self.homes.current
            fresh = await asyncio.to_thread(cipher.new_fingerprint_key, home.kek)
            async with database.transaction(access) as connection:
                await _store_fingerprint_key(connection, fresh, home.name)
                stored = await _fingerprint_key(connection) or (b"", None)
        opening = _fingerprints_of(stored[0])
        self._fingerprints = await asyncio.to_thread(self._with_any, stored[1], opening, inside=False)

    async def _ready_keyset(self, database: Database, tenant_id: UUID) -> None:
        async with database.transaction(Access.tenant(tenant_id)) as connection:
            stored = await stored_keyset(connection, tenant_id)
        if stored is None:
            home = self.homes.current
            fresh = await asyncio.to_thread(cipher.keyset_for, tenant_id, home.kek)
            async with database.transaction(Access.tenant(tenant_id)) as connection:
                await store_keyset(connection, tenant_id, fresh, home.name)
                stored = await stored_keyset(connection, tenant_id)
        if stored is not None and not self._fresh(tenant_id, stored.version, self._opened_seconds):
            self._keep(tenant_id, stored.version, await self.opened(tenant_id, stored))

    def _keyset(self, tenant_id: UUID, stored: Keyset) -> aead.Aead:
        """A keyset, opened inside a transaction: from memory, or with a key of this process."""
        patience = self._opened_seconds + (GRACE_SECONDS if self.homes.remote else 0.0)
        kept = self._fresh(tenant_id, stored.version, patience)
        return kept or self._keep(tenant_id, stored.version, self._open(tenant_id, stored, inside=True))

    def _open(self, tenant_id: UUID, stored: Keyset, *, inside: bool) -> aead.Aead:
        def opening(kek: aead.Aead) -> aead.Aead:
            return cipher.open_keyset(stored.wrapped, kek, tenant_id, stored.version)

        return self._with_any(stored.wrapped_by, opening, inside=inside)

    def _with_any(self, wrapped_by: str | None, use: Callable[[aead.Aead], T], *, inside: bool) -> T:
        """The result of the first key that fits; `inside` a transaction only of a key of this process."""
        homes: Sequence[Home] = self.homes.opening(wrapped_by)
        for home in homes[:-1]:
            try:
                return use((self._local(home) if inside else home).kek)
            except VaultKeyUnusable:
                continue
        return use((self._local(homes[-1]) if inside else homes[-1]).kek)

    def _local(self, home: Home) -> Home:
        if home.remote:
            raise VaultUnavailable("The vault changed under this request.", retry_after=1)
        return home

    def _fresh(self, tenant_id: UUID, version: int, seconds: float) -> aead.Aead | None:
        kept = self._opened.get((tenant_id, version))
        return kept.keyset if kept is not None and time.monotonic() - kept.at < seconds else None

    def _keep(self, tenant_id: UUID, version: int, keyset: aead.Aead) -> aead.Aead:
        self._opened[tenant_id, version] = _Opened(keyset, time.monotonic())
        return keyset


async def stored_keyset(connection: AsyncConnection, tenant_id: UUID, *, held: bool = False) -> Keyset | None:
    """A tenant's keyset as it is stored, held against rotations if wanted."""
    query = sa.select(vault_keysets.c.wrapped, vault_keysets.c.version, vault_keysets.c.wrapped_by).where(
        vault_keysets.c.tenant_id == tenant_id
    )
    row = (await connection.execute(query.with_for_update(read=True) if held else query)).one_or_none()
    return None if row is None else Keyset(*row)


async def store_keyset(connection: AsyncConnection, tenant_id: UUID, wrapped: bytes, wrapped_by: str) -> None:
    """Store a tenant's first keyset, unless it has one."""
    statement = insert(vault_keysets).values(tenant_id=tenant_id, wrapped=wrapped, wrapped_by=wrapped_by)
    await connection.execute(statement.on_conflict_do_nothing())


async def _fingerprint_key(connection: AsyncConnection) -> tuple[bytes, str | None] | None:
    query = sa.select(vault_fingerprint_keys.c.wrapped, vault_fingerprint_keys.c.wrapped_by).where(
        vault_fingerprint_keys.c.name == FINGERPRINT_KEY
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else (row.wrapped, row.wrapped_by)


async def _store_fingerprint_key(connection: AsyncConnection, wrapped: bytes, wrapped_by: str) -> None:
    statement = insert(vault_fingerprint_keys).values(
        name=FINGERPRINT_KEY, wrapped=wrapped, wrapped_by=wrapped_by
    )
    await connection.execute(statement.on_conflict_do_nothing())


def _fingerprints_of(wrapped: bytes) -> Callable[[aead.Aead], cipher.Fingerprints]:
    return lambda kek: cipher.Fingerprints(wrapped, kek)


def kept_vault_key(data_dir: Path) -> str:
    """The vault key kept beside the embedded database, made at the first call, readable by its owner only."""
    path = data_dir / "vault.key"
    data_dir.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return f"file:{path}"
    with os.fdopen(descriptor, "wb") as file:
        file.write(base64.b64encode(os.urandom(cipher.KEY_BYTES)))
        file.flush()
        os.fsync(file.fileno())
    return f"file:{path}"
