"""The opened vault of one process: seals and opens secrets, and makes keyed hashes."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.vault import cipher
from app.vault.models import vault_fingerprint_keys, vault_keysets

FINGERPRINT_KEY = "accounts"


class Keyring:
    """Holds the vault key; what it opens in the database is read at the first need."""

    def __init__(self, vault_key: str) -> None:
        """Take the vault key from the setting RENTGATE_VAULT_KEY.

        Raises:
            VaultKeyUnusable: it is malformed.
        """
        self._kek = cipher.key_encryption_key(vault_key)
        self._fingerprints: cipher.Fingerprints | None = None

    async def unlock(self, connection: AsyncConnection) -> cipher.Fingerprints:
        """Open the vault's fingerprint key, making it in a new vault; this proves the vault key.

        Raises:
            VaultKeyUnusable: it is not the key that this vault was made with.
        """
        if self._fingerprints is not None:
            return self._fingerprints
        query = sa.select(vault_fingerprint_keys.c.wrapped).where(
            vault_fingerprint_keys.c.name == FINGERPRINT_KEY
        )
        wrapped = await connection.scalar(query)
        if wrapped is not None:
            self._fingerprints = cipher.Fingerprints(wrapped, self._kek)
            return self._fingerprints
        fresh = cipher.new_fingerprint_key(self._kek)
        statement = insert(vault_fingerprint_keys).values(name=FINGERPRINT_KEY, wrapped=fresh)
        await connection.execute(statement.on_conflict_do_nothing())
        # Not kept in memory: should this transaction be rolled back, the key is gone.
        return cipher.Fingerprints(await connection.scalar(query) or b"", self._kek)

    async def fingerprint(self, connection: AsyncConnection, purpose: str, text: bytes) -> bytes:
        """A keyed hash of a text, 32 bytes, equal for equal texts of one purpose.

        Raises:
            VaultKeyUnusable: the vault key is not the one that this vault was made with.
        """
        return (await self.unlock(connection)).of(purpose, text)

    async def seal(self, connection: AsyncConnection, tenant_id: UUID, place: bytes, plain: str) -> bytes:
        """Encrypt a text under the tenant's keyset (made at its first secret) for one place."""
        wrapped = await self._keyset(connection, tenant_id)
        if wrapped is None:
            statement = insert(vault_keysets).values(
                tenant_id=tenant_id, wrapped=cipher.keyset_for(tenant_id, self._kek)
            )
            await connection.execute(statement.on_conflict_do_nothing())
            wrapped = await self._keyset(connection, tenant_id)
        if wrapped is None:
            raise cipher.VaultKeyUnusable("The tenant's keyset could not be stored.")
        return cipher.seal(wrapped, self._kek, tenant_id, place, plain)

    async def unseal(
        self, connection: AsyncConnection, tenant_id: UUID, place: bytes, ciphertext: bytes
    ) -> str:
        """Decrypt what `seal` made for the same tenant and place.

        Raises:
            VaultKeyUnusable: the ciphertext is not of this vault, tenant and place.
        """
        wrapped = await self._keyset(connection, tenant_id)
        if wrapped is None:
            raise cipher.VaultKeyUnusable("The tenant has no keyset.")
        return cipher.unseal(wrapped, self._kek, tenant_id, place, ciphertext)

    async def _keyset(self, connection: AsyncConnection, tenant_id: UUID) -> bytes | None:
        query = sa.select(vault_keysets.c.wrapped).where(vault_keysets.c.tenant_id == tenant_id)
        found: bytes | None = await connection.scalar(query)
        return found


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
