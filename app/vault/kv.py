"""Secrets in HashiCorp Vault or OpenBao: their KV engines, version 1 and 2, read over HTTP."""

from __future__ import annotations

import re
from typing import Any

import httpx

from app.errors import VaultUnavailable
from app.vault.references import NothingThere, Reference, ReferencesUnusable
from app.vault.transit import LOOPBACK, SECONDS

_ADDRESS = re.compile(r"(?P<scheme>https?)://(?P<host>[^/@?#\s]+)/?")


class KvEngine:
    """Reads `vault:kv/data/acme#api_key`: the path is the API's own, as a KV engine of version 2 has it with
    `data/` after the mount, one of version 1 without.
    """

    def __init__(self, address: str | None, token: str | None) -> None:
        """Take the server's address, https or on loopback http, and a token that may read there.

        Raises:
            ReferencesUnusable: one is missing or malformed.
        """
        found = _ADDRESS.fullmatch(address or "")
        if found is None or (found["scheme"] == "http" and not LOOPBACK.fullmatch(found["host"])):
            raise ReferencesUnusable("References to vault need RENTGATE_HCVAULT_ADDR: https://host[:port].")
        if not token:
            raise ReferencesUnusable("References to vault need RENTGATE_HCVAULT_TOKEN.")
        self._url = f"{found['scheme']}://{found['host']}/v1/"
        self._client = httpx.Client(headers={"X-Vault-Token": token}, timeout=SECONDS, trust_env=False)

    def read(self, reference: Reference) -> str:
        """See Source.read."""
        try:
            response = self._client.get(self._url + reference.path)
        except httpx.HTTPError as error:
            raise VaultUnavailable(
                f"The secret store doesn't answer ({type(error).__name__}).", retry_after=1
            ) from None
        if response.status_code == httpx.codes.NOT_FOUND:
            raise NothingThere
        try:
            response.raise_for_status()
            value = _fields(response.json()["data"]).get(str(reference.field))
        except (httpx.HTTPStatusError, ValueError, KeyError, TypeError, AttributeError):
            raise VaultUnavailable(
                f"The secret store answered {response.status_code}.", retry_after=1
            ) from None
        if not isinstance(value, str):
            raise NothingThere
        return value


def _fields(data: dict[str, Any]) -> dict[str, Any]:
    """The secret's fields, which version 2 wraps together with their metadata."""
    if data.keys() == {"data", "metadata"} and isinstance(data["metadata"], dict):
        return dict(data["data"] or {})
    return dict(data)
