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


def key_encryption_key(setting: str) -> aead.Aead:
    """The vault key as Tink's AEAD.

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


def keyset_for(tenant_id: UUID, kek: aead.Aead) -> bytes:
    """A new data keyset for a tenant, wrapped."""
    handle = tink.new_keyset_handle(aead.aead_key_templates.AES256_GCM)
    wrapped: bytes = proto_keyset_format.serialize_encrypted(handle, kek, _keyset_purpose(tenant_id))
    return wrapped


def seal(wrapped: bytes, kek: aead.Aead, tenant_id: UUID, place: bytes, plain: str) -> bytes:
    """Encrypt a text for one place; the ciphertext opens nowhere else."""
    ciphertext: bytes = _open_keyset(wrapped, kek, tenant_id).encrypt(plain.encode(), place)
    return ciphertext


def unseal(wrapped: bytes, kek: aead.Aead, tenant_id: UUID, place: bytes, ciphertext: bytes) -> str:
    """Decrypt what was sealed for this very place.

    Raises:
        VaultKeyUnusable: keyset or ciphertext do not belong to this key, tenant and place.
    """
    try:
        plain: bytes = _open_keyset(wrapped, kek, tenant_id).decrypt(ciphertext, place)
    except tink.TinkError:
        raise VaultKeyUnusable("A secret in the vault can't be opened with this vault key.") from None
    return plain.decode()


def _open_keyset(wrapped: bytes, kek: aead.Aead, tenant_id: UUID) -> aead.Aead:
    try:
        handle = proto_keyset_format.parse_encrypted(wrapped, kek, _keyset_purpose(tenant_id))
    except tink.TinkError:
        raise VaultKeyUnusable("A tenant's keyset can't be opened with this vault key.") from None
    primitive: aead.Aead = handle.primitive(aead.Aead)
    return primitive


def _keyset_purpose(tenant_id: UUID) -> bytes:
    return f"rentgate/keyset/{tenant_id}".encode()


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
            handle = proto_keyset_format.parse_encrypted(wrapped, kek, _FINGERPRINT_PURPOSE)
        except tink.TinkError:
            raise VaultKeyUnusable("RENTGATE_VAULT_KEY is not the key this vault was made with.") from None
        self._prf: prf.PrfSet = handle.primitive(prf.PrfSet)

    def of(self, purpose: str, text: bytes) -> bytes:
        """The 32-byte keyed hash of a text for a purpose."""
        digest: bytes = self._prf.primary().compute(purpose.encode() + b"\0" + text, 32)
        return digest
