"""An upstream key as its row holds it: sealed for its place, or a reference; and as it is opened."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from app.vault.keyring import Keyset


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


def last_four(api_key: str) -> str:
    """The end of a key, by which people know it; none of a key so short that it would give it away."""
    return api_key[-4:] if len(api_key) >= 12 else ""
