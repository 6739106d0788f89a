"""Reads references at their sources, and keeps what they gave in memory for a short time.

Nothing else holds a referenced secret: the database has only its keyed hash. Sources are asked outside of any
transaction; within one, what was kept is taken.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID
from weakref import WeakValueDictionary

from sqlalchemy.ext.asyncio import AsyncConnection

from app.cache import BoundedCache
from app.database import Access, Database
from app.errors import FieldError, InvalidRequest, VaultUnavailable
from app.vault.references import NothingThere, Reference, parsed
from app.vault.sources import Source

PrefixesOf = Callable[[AsyncConnection, UUID], Awaitable[Sequence[str]]]
"""Under which prefixes a tenant may name references."""

MOST_KEPT = 10_000
GRACE_SECONDS = 60.0
"""How much older than its time a secret may be used by a transaction that was made ready for."""

_USABLE = re.compile(r"[\x21-\x7e]{1,256}")


@dataclass(frozen=True, slots=True)
class _Kept:
    reference: str
    secret: str = field(repr=False)
    at: float


class Resolver:
    """The references of all tenants' upstream keys, in one process."""

    def __init__(
        self, sources: Mapping[str, Source], prefixes_of: PrefixesOf, kept_seconds: float = 60.0
    ) -> None:
        """Resolve by these sources.

        Args:
            sources: by kind; a kind that is not among them is off.
            prefixes_of: asked each time, so that a prefix that was taken away leads nowhere at once.
            kept_seconds: for how long a secret is kept in memory.
        """
        self._sources = dict(sources)
        self._prefixes_of = prefixes_of
        self._kept_seconds = kept_seconds
        self._kept: BoundedCache[UUID, _Kept] = BoundedCache(MOST_KEPT)
        self._asking: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    @property
    def is_on(self) -> bool:
        """Whether there is any kind of references."""
        return bool(self._sources)

    async def named(self, database: Database, tenant_id: UUID, text: str, location: str) -> str:
        """The secret at a reference that a caller gave. Before the tenant may name it, nothing is asked.

        Args:
            location: the field that it was given in.

        Raises:
            InvalidRequest: it is none, its kind is off, the tenant may not name it, or it leads nowhere.
            VaultUnavailable: its source can't be asked.
        """

        def wrong(message: str) -> InvalidRequest:
            return InvalidRequest(fields=(FieldError(location, message),))

        reference = parsed(text)
        if reference is None:
            raise wrong("This is no reference, such as vault:kv/data/acme#api_key.")
        if reference.kind not in self._sources:
            raise wrong(f"References of the kind {reference.kind} are not turned on here.")
        async with database.transaction(Access.tenant(tenant_id)) as connection:
            prefixes = await self._prefixes_of(connection, tenant_id)
        if not reference.is_under(prefixes):
            raise wrong("This is not under the tenant's reference_prefixes.")
        try:
            return await self._ask(reference)
        except NothingThere:
            raise wrong("There is no usable secret at this reference.") from None

    async def allow(self, connection: AsyncConnection, tenant_id: UUID, text: str) -> None:
        """See that a stored reference may still be followed.

        Raises:
            VaultUnavailable: its kind is off now, or the tenant may not name it any more.
        """
        reference = parsed(text)
        if reference is None or reference.kind not in self._sources:
            raise VaultUnavailable("The upstream key is a reference of a kind that is not turned on here.")
        if not reference.is_under(await self._prefixes_of(connection, tenant_id)):
            raise VaultUnavailable(
                "The upstream key's reference is not under the tenant's prefixes any more."
            )

    async def fresh(self, key_id: UUID, text: str) -> str:
        """The secret of a stored key as its source has it now; many that ask at once wait for one answer.

        Raises:
            VaultUnavailable: the source can't be asked, or has no usable secret there.
        """
        asked_at = time.monotonic()
        async with self._asking.setdefault(key_id, asyncio.Lock()):
            kept = self._kept.get(key_id)
            if kept is not None and kept.reference == text and kept.at >= asked_at:
                return kept.secret
            reference = parsed(text)
            if reference is None:
                raise VaultUnavailable("The upstream key's reference can't be read.")
            try:
                secret = await self._ask(reference)
            except NothingThere as error:
                raise VaultUnavailable(f"{error.title} of the upstream key.", retry_after=1) from None
            self._keep(key_id, _Kept(text, secret, time.monotonic()))
            return secret

    def kept(self, key_id: UUID, text: str, *, grace: bool = False) -> str | None:
        """The secret of a stored key from memory, if it is not too old.

        Args:
            grace: it was looked after already, before the transaction that asks.
        """
        kept = self._kept.get(key_id)
        seconds = self._kept_seconds + (GRACE_SECONDS if grace else 0.0)
        if kept is None or kept.reference != text or time.monotonic() - kept.at >= seconds:
            return None
        return kept.secret

    def forget(self, key_id: UUID) -> None:
        """Ask the source at the next need: what it gave was not good."""
        self._kept.pop(key_id, None)

    async def _ask(self, reference: Reference) -> str:
        source = self._sources.get(reference.kind)
        if source is None:
            raise VaultUnavailable("References of this kind are not turned on here.")
        secret = (await asyncio.to_thread(source.read, reference)).strip()
        if not _USABLE.fullmatch(secret):
            raise NothingThere
        return secret

    def _keep(self, key_id: UUID, kept: _Kept) -> None:
        self._kept[key_id] = kept
        while self._kept.oldest.at < kept.at - self._kept_seconds - GRACE_SECONDS:
            self._kept.popitem(last=False)
