"""The keys of accounts: opened for a call, tried when their secret was replaced, accepted or rejected."""

from __future__ import annotations

import asyncio
from uuid import UUID
from weakref import WeakValueDictionary

from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.exchange import Exchange
from app.accounts.pace import Pace
from app.accounts.trials import ListedOrderIds, Trials
from app.audit import repository as audit
from app.audit.caller import Caller, background
from app.database import Access, Database
from app.database.pipeline import Query
from app.errors import UpstreamAccountDiffers, UpstreamKeyInUse, UpstreamKeyRejected
from app.events import repository as events
from app.events.types import EventType
from app.upstream.errors import CallFailed
from app.upstream.rows import Listing
from app.upstream.wire import Order
from app.vault.sealed import OpenedKey, StoredKey
from app.vault.service import Vault
from app.vault.stored import ACTIVE, REJECTED


class AccountKeys:
    """The keys of all accounts, one account a call."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        pace: Pace,
        exchange: Exchange,
        listed_order_ids: ListedOrderIds,
    ) -> None:
        self._database = database
        self._vault = vault
        self._pace = pace
        self._exchange = exchange
        self.trials = Trials(database, vault, self._try_secret, listed_order_ids)
        self._taking: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    async def make_ready(self, tenant_id: UUID, upstream_key_id: UUID) -> None:
        """Have the vault ready to open a key; to be called before the transaction that does.

        A secret that was replaced at its source is tried before it is used, and only once at a time.

        Raises:
            VaultUnavailable: the service that keeps the vault's key, or the secret, can't be asked.
            UpstreamKeyRejected: the secret at the key's reference now is no good, or another account's.
            RentgateError: what else went wrong with trying it.
        """
        if await self._vault.make_key_ready(tenant_id, upstream_key_id) is None:
            return
        async with self._taking.setdefault(upstream_key_id, asyncio.Lock()):
            rotated = await self._vault.make_key_ready(tenant_id, upstream_key_id)
            if rotated is None:
                return
            gateway = background(tenant_id)
            try:
                await self.trials.replace(
                    gateway, upstream_key_id, rotated.secret, reference=rotated.reference, rotated=True
                )
            except (UpstreamKeyRejected, UpstreamAccountDiffers, UpstreamKeyInUse) as refusal:
                await self._mark_rejected(gateway, upstream_key_id)
                why = f"The secret that is at the key's reference now is not taken: {refusal.title}."
                raise UpstreamKeyRejected(why) from None

    async def open(self, connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID) -> OpenedKey:
        """The plain key of an account that was made ready, for a call that is made at once.

        Raises:
            NotFound: it was deleted meanwhile.
        """
        return await self._vault.open_secret(connection, tenant_id, upstream_key_id)

    def stored_key(self, tenant_id: UUID, upstream_key_id: UUID) -> Query[StoredKey]:
        """What is stored of the account's key, for `open_stored`."""
        return self._vault.stored_key(tenant_id, upstream_key_id)

    async def open_stored(self, connection: AsyncConnection, stored: StoredKey) -> str:
        """The plain key of what is stored of it, for a call that is made at once."""
        return (await self._vault.open_stored(connection, stored)).secret

    async def accept(self, connection: AsyncConnection, caller: Caller, upstream_key_id: UUID) -> None:
        """Note that the upstream accepts a key: one that was rejected has proven itself again."""
        if await self._vault.set_status(connection, caller.tenant_id, upstream_key_id, ACTIVE):
            audit.record(connection, caller, "upstream_key.accept", target=upstream_key_id)

    async def reject(self, caller: Caller, upstream_key_id: UUID) -> None:
        """Note that the upstream does not accept a key; its secret is read anew at the next need."""
        self._vault.doubt(upstream_key_id)
        await self._mark_rejected(caller, upstream_key_id)

    async def _mark_rejected(self, caller: Caller, upstream_key_id: UUID) -> None:
        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
            if await self._vault.set_status(connection, caller.tenant_id, upstream_key_id, REJECTED):
                events.emit(
                    connection,
                    caller,
                    EventType.UPSTREAM_KEY_REJECTED,
                    {"upstream_key_id": str(upstream_key_id)},
                )
                audit.record(connection, caller, "upstream_key.reject", target=upstream_key_id)

    async def _try_secret(self, caller: Caller, upstream_key_id: UUID, api_key: str) -> Listing[Order]:
        """The orders that a secret shows which is not stored (yet) in this key's place.

        Raises:
            UpstreamKeyRejected: the upstream does not accept it.
            RentgateError: what else went wrong, fit for the caller.
        """
        await self._pace.wait_for_turn(upstream_key_id)
        try:
            found = await self._exchange.make(
                "orders", upstream_key_id, lambda client: client.orders(api_key)
            )
        except CallFailed as failure:
            await self._note_trial(caller, upstream_key_id, failure.error.code)
            raise failure.error from None
        await self._note_trial(caller, upstream_key_id, audit.SUCCEEDED)
        return found

    async def _note_trial(self, caller: Caller, upstream_key_id: UUID, outcome: str) -> None:
        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
            audit.record(connection, caller, "upstream.orders", target=upstream_key_id, outcome=outcome)
