"""Another secret in a key's place: tried at the upstream first, so that no account takes another's place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Set
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts import balance_schedule, schedule
from app.audit import repository as audit
from app.audit.caller import Caller
from app.database import Access, Database
from app.errors import UpstreamAccountDiffers
from app.upstream.rows import Listing
from app.upstream.wire import Order
from app.vault.service import Vault
from app.vault.stored import UpstreamKey

TrySecret = Callable[[Caller, UUID, str], Awaitable[Listing[Order]]]
"""The orders that a secret shows which is not stored in this key's place."""

ListedOrderIds = Callable[[AsyncConnection, UUID, UUID], Awaitable[Set[str]]]
"""The ids of the orders that an account showed when it was last looked at."""


class Trials:
    """Replaces the secrets of upstream keys."""

    def __init__(
        self, database: Database, vault: Vault, try_secret: TrySecret, listed_order_ids: ListedOrderIds
    ) -> None:
        self._database = database
        self._vault = vault
        self._try_secret = try_secret
        self._listed_order_ids = listed_order_ids

    async def replace(
        self,
        caller: Caller,
        key_id: UUID,
        api_key: str,
        *,
        reference: str | None = None,
        force: bool = False,
        rotated: bool = False,
    ) -> UpstreamKey:
        """Replace a key's secret after trying it at the upstream; the old one is used until then.

        Args:
            reference: where the secret is kept, if it is kept elsewhere.
            force: take one with which living orders can't be seen.
            rotated: it is what the key's own reference leads to now.

        Raises:
            NotFound: the caller's tenant has no such key.
            UpstreamKeyRejected: the upstream does not accept the secret.
            UpstreamAccountDiffers: living orders can't be seen with it, and `force` was not said.
            UpstreamKeyInUse: it is stored already, here or with another tenant.
            RentgateError: what else went wrong.
        """
        tenant_id = caller.tenant_id
        async with self._database.transaction(Access.tenant(tenant_id)) as connection:
            await self._vault.get(connection, tenant_id, key_id)
            known = await self._listed_order_ids(connection, tenant_id, key_id)
        found = await self._try_secret(caller, key_id, api_key)
        lost = known - {order.order_id for order in found}
        if lost and not force:
            why = f"With this secret, {len(lost)} of the {len(known)} living orders can't be seen."
            raise UpstreamAccountDiffers(
                why if found.complete else f"{why} The upstream's list can't be read whole."
            )
        await self._vault.make_ready(tenant_id)
        async with self._database.transaction(Access.tenant(tenant_id)) as connection:
            await schedule.make_due(connection, tenant_id, key_id)
            await balance_schedule.make_due(connection, tenant_id, key_id)
            key = await self._vault.replace_secret(
                connection, tenant_id, key_id, api_key, reference=reference, rotated=rotated
            )
            details: dict[str, object] = {"forced": bool(lost)}
            if reference is not None:
                details |= {"reference": reference, "rotated_at_source": rotated}
            audit.record(connection, caller, "upstream_key.replace_secret", target=key_id, details=details)
            return key
