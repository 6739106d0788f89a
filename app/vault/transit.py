"""The vault key in HashiCorp Vault or OpenBao: their transit engine, as an AEAD.

Tink has an integration of its own for it, which refuses associated data. Ours passes them on, since a keyset
that would open in another tenant's row is what they prevent.
"""

from __future__ import annotations

import base64
import re
from typing import Any

import httpx
import tink
from tink import aead

from app.errors import VaultUnavailable
from app.vault.cipher import VaultKeyUnusable

_URI = re.compile(r"hcvault://(?P<host>[^/@\s]+)/(?P<mount>[\w./-]+)/keys/(?P<name>[\w.-]+)")
LOOPBACK = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d+)?")
"""Where an agent beside the gateway may listen, over http."""

SECONDS = 5.0


class TransitAead(aead.Aead):  # type: ignore[misc]
    """Encrypts and decrypts by `hcvault://host/mount/keys/name`; over https, on loopback over http."""

    def __init__(self, uri: str, token: str) -> None:
        """Take the key's URI, and a token that may encrypt and decrypt with it.

        Raises:
            VaultKeyUnusable: the URI is malformed.
        """
        found = _URI.fullmatch(uri)
        if found is None:
            raise VaultKeyUnusable("A hcvault key is written hcvault://host/transit/keys/name.")
        scheme = "http" if LOOPBACK.fullmatch(found["host"]) else "https"
        self._url = f"{scheme}://{found['host']}/v1/{found['mount']}"
        self._name = found["name"]
        self._client = httpx.Client(headers={"X-Vault-Token": token}, timeout=SECONDS, trust_env=False)

    def encrypt(self, plaintext: bytes, associated_data: bytes) -> bytes:
        """The ciphertext, as the engine writes it: `vault:v1:…`.

        Raises:
            VaultUnavailable: the engine can't be asked.
        """
        answer = self._ask("encrypt", {"plaintext": _text(plaintext)}, associated_data)
        return str(answer["ciphertext"]).encode()

    def decrypt(self, ciphertext: bytes, associated_data: bytes) -> bytes:
        """The plain bytes.

        Raises:
            TinkError: the engine does not open this.
            VaultUnavailable: the engine can't be asked.
        """
        answer = self._ask("decrypt", {"ciphertext": ciphertext.decode("latin-1")}, associated_data)
        return base64.b64decode(answer["plaintext"])

    def _ask(self, action: str, body: dict[str, str], associated_data: bytes) -> dict[str, Any]:
        if associated_data:
            body["associated_data"] = _text(associated_data)
        try:
            response = self._client.post(f"{self._url}/{action}/{self._name}", json=body)
        except httpx.HTTPError as error:
            raise VaultUnavailable(
                f"The key service doesn't answer ({type(error).__name__}).", retry_after=1
            ) from None
        if response.status_code in {400, 404}:
            raise tink.TinkError(f"The key service refused to {action}.")
        try:
            response.raise_for_status()
            answer: dict[str, Any] = response.json()["data"]
        except (httpx.HTTPStatusError, ValueError, KeyError):
            raise VaultUnavailable(
                f"The key service answered {response.status_code}.", retry_after=1
            ) from None
        return answer


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
