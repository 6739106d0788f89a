"""The homes of the vault key: a variable or file, AWS KMS, Google Cloud KMS, HashiCorp Vault or OpenBao."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import tink
from tink import aead

from app.errors import VaultUnavailable
from app.vault import cipher
from app.vault.cipher import VaultKeyUnusable
from app.vault.transit import TransitAead

SECONDS = 5.0
_LASTING = {
    "InvalidCiphertextException",
    "IncorrectKeyException",
    "NotFoundException",
    "InvalidArgument",
    "NotFound",
}
"""What AWS and Google call a ciphertext or key that will not open later either."""


@dataclass(frozen=True, slots=True)
class Home:
    """A key that wraps keysets.

    Attributes:
        name: tells one key from another, and is no secret; stored beside what the key wraps.
        remote: asking it is a network call, which must not happen inside a transaction.
    """

    name: str
    kek: aead.Aead
    remote: bool


class Homes:
    """The key that wraps whatever is new, and those that may still open what they wrapped before."""

    def __init__(self, current: Home, former: Sequence[Home] = ()) -> None:
        self.current = current
        self._all = {home.name: home for home in (current, *former)}
        self.remote = any(home.remote for home in self._all.values())

    def opening(self, wrapped_by: str | None) -> Sequence[Home]:
        """The keys to try on a keyset: the one that wrapped it, or each where that was not noted.

        Raises:
            VaultKeyUnusable: the key that wrapped it is not set.
        """
        if wrapped_by is None:
            return list(self._all.values())
        if wrapped_by not in self._all:
            raise VaultKeyUnusable(
                f"The vault holds a keyset wrapped by {wrapped_by}, which is neither in RENTGATE_VAULT_KEY"
                " nor in RENTGATE_VAULT_OLD_KEYS."
            )
        return [self._all[wrapped_by]]


def home(setting: str, *, hcvault_token: str | None = None) -> Home:
    """The home that a setting names; nothing is asked of it yet.

    Raises:
        VaultKeyUnusable: it is malformed, or what it needs is not installed or not set.
    """
    text = setting.strip()
    if text.startswith("aws-kms://"):
        _need("boto3", "aws")
        return Home(text, _Foreign(lambda: _aws(text)), remote=True)
    if text.startswith("gcp-kms://"):
        _need("google.cloud.kms", "gcp")
        return Home(text, _Foreign(lambda: _google(text)), remote=True)
    if text.startswith("hcvault://"):
        if not hcvault_token:
            raise VaultKeyUnusable("RENTGATE_HCVAULT_TOKEN has to be set for a key at hcvault://.")
        return Home(text, TransitAead(text, hcvault_token), remote=True)
    digest = hashlib.sha256(b"rentgate/vault-key" + cipher.key_bytes(text)).hexdigest()
    return Home(f"local:{digest[:16]}", cipher.key_encryption_key(text), remote=False)


def _need(module: str, extra: str) -> None:
    try:
        found = find_spec(module)
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise VaultKeyUnusable(f"This home of the vault key needs `pip install rentgate[{extra}]`.")


def _aws(uri: str) -> aead.Aead:
    import boto3  # noqa: PLC0415 - heavy, and only there with its extra
    from botocore.config import Config  # noqa: PLC0415
    from tink.integration import awskms  # noqa: PLC0415

    region = uri.split(":")[4] if uri.count(":") >= 6 else None
    config = Config(connect_timeout=SECONDS, read_timeout=SECONDS, retries={"total_max_attempts": 2})
    client = boto3.client("kms", region_name=region, config=config)
    return awskms.new_client(boto3_client=client, key_uri=uri).get_aead(uri)


def _google(uri: str) -> aead.Aead:
    from tink.integration import gcpkms  # noqa: PLC0415

    return gcpkms.GcpKmsClient(uri, None).get_aead(uri)


class _Foreign(aead.Aead):  # type: ignore[misc]
    """A cloud's AEAD, made at its first use; tells a key that is away from one that does not fit."""

    def __init__(self, make: Callable[[], aead.Aead]) -> None:
        self._make = make
        self._made: aead.Aead | None = None
        self._making = threading.Lock()

    def encrypt(self, plaintext: bytes, associated_data: bytes) -> bytes:
        """See TransitAead.encrypt."""
        return self._asked(lambda kek: kek.encrypt(plaintext, associated_data))

    def decrypt(self, ciphertext: bytes, associated_data: bytes) -> bytes:
        """See TransitAead.decrypt."""
        return self._asked(lambda kek: kek.decrypt(ciphertext, associated_data))

    def _asked(self, ask: Callable[[aead.Aead], bytes]) -> bytes:
        try:
            with self._making:
                self._made = self._made or self._make()
            return ask(self._made)
        except Exception as error:  # each cloud has a tree of its own, and either may be missing here
            cause = error.args[0] if isinstance(error, tink.TinkError) and error.args else error
            answer = getattr(cause, "response", None)
            name = answer["Error"]["Code"] if isinstance(answer, dict) else type(cause).__name__
            if name in _LASTING:
                raise tink.TinkError(f"The key service refused: {name}.") from None
            raise VaultUnavailable(f"The key service can't be used now ({name}).", retry_after=1) from None
