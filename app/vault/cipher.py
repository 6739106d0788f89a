"""Encryption by Tink: a data keyset for each tenant, wrapped by the vault key. Private to the vault."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from uuid import UUID

import tink
from tink import aead, prf, proto_keyset_format, secret_key_access
from tink.proto import aes_gcm_pb2, tink_pb2

from app.errors import RentgateError

KEY_BYTES = 32
_FINGERPRINT_PURPOSE = b"rentgate/fingerprint"

aead.register()
prf.register()


class VaultKeyUnusable(RentgateError):
    """The vault key is missing, malformed, or not the one that the vault was encrypted with."""

    title = "The vault key can't be used"
    remedy = "Set RENTGATE_VAULT_KEY to the key the vault was made with: 32 bytes in base64, or file:<path>."


def key_bytes(setting: str) -> bytes:
    """The vault key itself.

    Args:
        setting: 32 bytes in base64, or `file:` and the path of a file that holds them so.

    Raises:
        VaultKeyUnusable: it is neither.
    """
    text = setting.strip()
    try:
        if text.startswith("file:"):
            text = Path(text.removeprefix("file:")).read_text("ascii").strip()
        key = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (OSError, UnicodeDecodeError, binascii.Error, ValueError):
        raise VaultKeyUnusable("RENTGATE_VAULT_KEY can't be read.") from None
    if len(key) != KEY_BYTES:
        raise VaultKeyUnusable(f"RENTGATE_VAULT_KEY has to hold {KEY_BYTES} bytes, not {len(key)}.")
    return key


def key_encryption_key(setting: str) -> aead.Aead:
    """The vault key as Tink's AEAD, from the setting that `key_bytes` takes.

    Raises:
        VaultKeyUnusable: it is malformed.
    """
    key = key_bytes(setting)
    material = aes_gcm_pb2.AesGcmKey(key_value=key).SerializeToString()
    keyset = tink_pb2.Keyset(
        primary_key_id=1,
        key=[
            tink_pb2.Keyset.Key(
                key_id=1,
                status=tink_pb2.ENABLED,
                output_prefix_type=tink_pb2.TINK,
                key_data=tink_pb2.KeyData(
                    type_url="type.googleapis.com/google.crypto.tink.AesGcmKey",
                    value=material,
                    key_material_type=tink_pb2.KeyData.SYMMETRIC,
                ),
            )
        ],
    )
    handle = proto_keyset_format.parse(keyset.SerializeToString(), secret_key_access.TOKEN)
    primitive: aead.Aead = handle.primitive(aead.Aead)
    return primitive


def keyset_for(tenant_id: UUID, kek: aead.Aead, version: int = 1) -> bytes:
    """A new data keyset for a tenant, wrapped."""
    handle = tink.new_keyset_handle(aead.aead_key_templates.AES256_GCM)
    wrapped: bytes = proto_keyset_format.serialize_encrypted(handle, kek, _keyset_purpose(tenant_id, version))
    return wrapped


def open_keyset(wrapped: bytes, kek: aead.Aead, tenant_id: UUID, version: int = 1) -> aead.Aead:
    """A tenant's keyset, opened.

    Raises:
        VaultKeyUnusable: it is not of this vault key, tenant and version.
        VaultUnavailable: the vault key's home can't be asked.
    """
    primitive: aead.Aead = _unwrapped(wrapped, kek, _keyset_purpose(tenant_id, version)).primitive(aead.Aead)
    return primitive


def rewrap_keyset(wrapped: bytes, former: aead.Aead, kek: aead.Aead, tenant_id: UUID, version: int) -> bytes:
    """The same keyset, wrapped by another vault key; it has been opened with that before it is given back.

    Raises:
        VaultKeyUnusable: it is not of the former key, this tenant and this version.
        VaultUnavailable: a key's home can't be asked.
    """
    return _rewrapped(wrapped, former, kek, _keyset_purpose(tenant_id, version))


def rewrap_fingerprint_key(wrapped: bytes, former: aead.Aead, kek: aead.Aead) -> bytes:
    """The same key for keyed hashing, wrapped by another vault key.

    Raises:
        VaultKeyUnusable: it is not of the former key.
        VaultUnavailable: a key's home can't be asked.
    """
    return _rewrapped(wrapped, former, kek, _FINGERPRINT_PURPOSE)


def seal(keyset: aead.Aead, place: bytes, plain: str) -> bytes:
    """Encrypt a text for one place; the ciphertext opens nowhere else."""
    ciphertext: bytes = keyset.encrypt(plain.encode(), place)
    return ciphertext


def unseal(keyset: aead.Aead, place: bytes, ciphertext: bytes) -> str:
    """Decrypt what was sealed for this very place.

    Raises:
        VaultKeyUnusable: the ciphertext does not belong to this keyset and place.
    """
    try:
        plain: bytes = keyset.decrypt(ciphertext, place)
    except tink.TinkError:
        raise VaultKeyUnusable("A secret in the vault can't be opened with this vault key.") from None
    return plain.decode()


def _rewrapped(wrapped: bytes, former: aead.Aead, kek: aead.Aead, purpose: bytes) -> bytes:
    handle = _unwrapped(wrapped, former, purpose)
    fresh: bytes = proto_keyset_format.serialize_encrypted(handle, kek, purpose)
    _unwrapped(fresh, kek, purpose)
    return fresh


def _unwrapped(wrapped: bytes, kek: aead.Aead, purpose: bytes) -> tink.KeysetHandle:
    try:
        return proto_keyset_format.parse_encrypted(wrapped, kek, purpose)
    except tink.TinkError:
        raise VaultKeyUnusable("A keyset can't be opened with this vault key.") from None


def _keyset_purpose(tenant_id: UUID, version: int) -> bytes:
    """The associated data of a keyset. The first version's was made before there were others."""
    suffix = f"/{version}" if version > 1 else ""
    return f"rentgate/keyset/{tenant_id}{suffix}".encode()


def new_fingerprint_key(kek: aead.Aead) -> bytes:
    """A new key for keyed hashing, wrapped."""
    handle = tink.new_keyset_handle(prf.prf_key_templates.HMAC_SHA256)
    wrapped: bytes = proto_keyset_format.serialize_encrypted(handle, kek, _FINGERPRINT_PURPOSE)
    return wrapped


class Fingerprints:
    """Keyed hashes: equal for equal texts, and telling nothing to who lacks the key."""

    def __init__(self, wrapped: bytes, kek: aead.Aead) -> None:
        """Open the wrapped key.

        Raises:
            VaultKeyUnusable: it belongs to another vault key.
        """
        try:
            handle = _unwrapped(wrapped, kek, _FINGERPRINT_PURPOSE)
        except VaultKeyUnusable:
            raise VaultKeyUnusable("RENTGATE_VAULT_KEY is not the key this vault was made with.") from None
        self._prf: prf.PrfSet = handle.primitive(prf.PrfSet)

    def of(self, purpose: str, text: bytes) -> bytes:
        """The 32-byte keyed hash of a text for a purpose."""
        digest: bytes = self._prf.primary().compute(purpose.encode() + b"\0" + text, 32)
        return digest
