"""Where references lead: KV engines of HashiCorp Vault or OpenBao, AWS Secrets Manager, the environment.

Each source may ask the network, and is asked in a thread of its own, never inside a transaction.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Protocol

from app.errors import VaultUnavailable
from app.vault.homes import SECONDS
from app.vault.kv import KvEngine
from app.vault.references import AWS, ENVIRONMENT, HCVAULT, NothingThere, Reference, ReferencesUnusable

_ABSENT = {"ResourceNotFoundException", "InvalidRequestException", "ValidationException"}
"""What AWS says of a secret that is not there, is about to be deleted, or can't be named so."""

for _name in ("boto3", "botocore"):
    logging.getLogger(_name).setLevel(logging.INFO)  # at DEBUG they log the bodies of answers


class Source(Protocol):
    """A keeper of secrets."""

    def read(self, reference: Reference) -> str:
        """The secret that a reference of this source's kind names.

        Raises:
            NothingThere: there is none.
            VaultUnavailable: the source can't be asked, or refuses to tell.
        """


class Environment:
    """The variables of this process."""

    def read(self, reference: Reference) -> str:
        """See Source.read."""
        found = os.environ.get(reference.path)
        if found is None:
            raise NothingThere
        return found


class SecretsManager:
    """AWS Secrets Manager, with region and credentials as boto3 finds them; an ARN names its own region."""

    def __init__(self) -> None:
        """Nothing is asked yet.

        Raises:
            ReferencesUnusable: boto3 is not installed.
        """
        if find_spec("boto3") is None:
            raise ReferencesUnusable("References to aws-sm need `pip install rentgate[aws]`.")
        self._clients: dict[str | None, Any] = {}
        self._making = threading.Lock()

    def read(self, reference: Reference) -> str:
        """See Source.read."""
        parts = reference.path.split(":")
        region = parts[3] if parts[0] == "arn" and len(parts) >= 7 else None
        try:
            answer = self._client(region).get_secret_value(SecretId=reference.path)
        except Exception as error:  # botocore makes its classes at run time
            told = getattr(error, "response", None)
            name = told["Error"]["Code"] if isinstance(told, dict) else type(error).__name__
            if name in _ABSENT:
                raise NothingThere from None
            raise VaultUnavailable(f"The secret store can't be asked now ({name}).", retry_after=1) from None
        text = answer.get("SecretString")
        if text is None or reference.field is None:
            return _text(text)
        try:
            fields = json.loads(text)
        except ValueError:
            raise NothingThere from None
        return _text(fields.get(reference.field) if isinstance(fields, dict) else None)

    def _client(self, region: str | None) -> Any:
        import boto3  # noqa: PLC0415 - heavy, and only there with its extra
        from botocore.config import Config  # noqa: PLC0415

        with self._making:
            if region not in self._clients:
                config = Config(
                    connect_timeout=SECONDS, read_timeout=SECONDS, retries={"total_max_attempts": 2}
                )
                self._clients[region] = boto3.client("secretsmanager", region_name=region, config=config)
            return self._clients[region]


def sources(
    kinds: Sequence[str], *, hcvault_addr: str | None, hcvault_token: str | None
) -> dict[str, Source]:
    """The sources of these kinds; nothing is asked of them yet.

    Raises:
        ReferencesUnusable: what one of them needs is not installed or not set.
    """
    made: dict[str, Source] = {}
    if HCVAULT in kinds:
        made[HCVAULT] = KvEngine(hcvault_addr, hcvault_token)
    if AWS in kinds:
        made[AWS] = SecretsManager()
    if ENVIRONMENT in kinds:
        made[ENVIRONMENT] = Environment()
    return made


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise NothingThere
    return value
