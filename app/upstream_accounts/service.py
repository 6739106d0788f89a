"""Upstream accounts: each change is written once here, for the API, the commands and the tests."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypedDict
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts import balances, health_records, schedule
from app.accounts.balances import UNKNOWN, AccountBalance
from app.accounts.calls import UpstreamCalls
from app.accounts.health_records import WELL, KeptHealth
from app.audit import repository as audit
from app.audit.caller import Caller
from app.database import Access, Database
from app.errors import UpstreamKeyHasRentals, UpstreamKeyRejected
from app.operations import lookup
from app.rentals import repository as rentals
from app.settlement import resolution
from app.tenants import service as tenants
from app.vault.service import Vault
from app.vault.stored import UpstreamKey


@dataclass(frozen=True, slots=True)
class UpstreamAccount:
    """A stored key, with what is known of its account's balance and health."""

    key: UpstreamKey
    balance: AccountBalance
    health: KeptHealth

    @property
    def id(self) -> UUID:
        """The key's id."""
        return self.key.id


@dataclass(frozen=True, slots=True)
class Secret:
    """A key that `UpstreamAccounts.secret` has made ready to be stored; `reference` is where it is kept."""

    api_key: str = field(repr=False)
    reference: str | None = None


class AccountSettings(TypedDict, total=False):
    """What a tenant says of an account. None takes a mark away, and leaves label and default as they are."""

    label: str | None
    default: bool | None
    low_balance_below: Decimal | None


class UpstreamAccounts:
    """The upstream accounts of all tenants, one tenant a call."""

    def __init__(self, database: Database, vault: Vault, calls: UpstreamCalls) -> None:
        self._database = database
        self._vault = vault
        self._calls = calls

    async def secret(
        self,
        tenant_id: UUID,
        api_key: str | None = None,
        *,
        reference: str | None = None,
        where: str = "body",
    ) -> Secret:
        """Exactly one of a key and a reference to one, made ready to be stored: this may call other services,
        which no transaction may wait for.

        Args:
            where: the place of the two in the request, for what is wrong with them.

        Raises:
            NotFound: there is no such tenant.
            InvalidRequest: the reference is not good for this tenant.
            VaultUnavailable: what keeps the secret, or the vault key, can't be asked.
        """
        async with self._database.transaction(Access.tenant(tenant_id)) as connection:
            await tenants.get_tenant(connection, tenant_id)
        if reference is not None:
            api_key = await self._vault.named(tenant_id, reference, f"{where}.reference")
        await self._vault.make_ready(tenant_id)
        return Secret(api_key or "", reference)

    async def get(self, connection: AsyncConnection, tenant_id: UUID, key_id: UUID) -> UpstreamAccount:
        """One account.

        Raises:
            NotFound: the tenant has no such key.
        """
        key = await self._vault.get(connection, tenant_id, key_id)
        return (await _with_accounts(connection, tenant_id, [key]))[0]

    async def listed(
        self, connection: AsyncConnection, tenant_id: UUID, *, limit: int, before: UUID | None
    ) -> Sequence[UpstreamAccount]:
        """The tenant's accounts, newest first, older than the key `before`."""
        keys = await self._vault.listed(connection, tenant_id, limit=limit, before=before)
        return await _with_accounts(connection, tenant_id, keys)

    async def add(
        self,
        connection: AsyncConnection,
        caller: Caller,
        secret: Secret,
        settings: AccountSettings,
        *,
        external_id: str | None = None,
    ) -> UpstreamAccount:
        """Store a key, and have its account looked at from now on; the tenant's first is its default.

        Raises:
            UpstreamKeyInUse: the account or the external id is stored already, here or with another tenant.
        """
        key = await self._vault.add(
            connection,
            caller.tenant_id,
            label=settings.get("label") or "",
            api_key=secret.api_key,
            default=settings.get("default"),
            external_id=external_id,
            reference=secret.reference,
        )
        await schedule.enrol(connection, caller.tenant_id, key.id)
        if (mark := settings.get("low_balance_below")) is not None:
            await balances.set_mark(connection, caller, key.id, mark)
        details = {"label": key.label}
        if external_id is not None:
            details["external_id"] = external_id
        audit.record(connection, caller, "upstream_key.create", target=key.id, details=details)
        return await self.get(connection, caller.tenant_id, key.id)

    async def change(
        self, connection: AsyncConnection, caller: Caller, key_id: UUID, settings: AccountSettings
    ) -> UpstreamAccount:
        """Change what is given of what is said of an account.

        Raises:
            NotFound: the tenant has no such key.
        """
        label, default = settings.get("label"), settings.get("default")
        await self._vault.change(connection, caller.tenant_id, key_id, label=label, default=default)
        given = {"label": label, "default": default}
        details: dict[str, object] = {name: value for name, value in given.items() if value is not None}
        if "low_balance_below" in settings:
            mark = settings["low_balance_below"]
            await balances.set_mark(connection, caller, key_id, mark)
            details["low_balance_below"] = None if mark is None else str(mark)
        if details:
            audit.record(connection, caller, "upstream_key.update", target=key_id, details=details)
        return await self.get(connection, caller.tenant_id, key_id)

    async def put(
        self, caller: Caller, external_id: str, secret: Secret, settings: AccountSettings, *, force: bool
    ) -> tuple[UpstreamAccount, bool]:
        """Store a key under an id of the caller's, or bring the one that has it to this, as far as it is not
        so already; returns whether it is new.

        Raises:
            UpstreamKeyInUse: the account is stored already, under another id or with another tenant.
            RentgateError: as `replace`.
        """
        tenant_id = caller.tenant_id
        async with self._database.transaction(Access.tenant(tenant_id)) as connection:
            stored = await self._vault.by_external_id(connection, tenant_id, external_id)
            if stored is None:
                return await self.add(connection, caller, secret, settings, external_id=external_id), True
            same = await self._vault.holds(connection, tenant_id, stored.id, secret.api_key)
        if not same or stored.reference != secret.reference:
            await self.replace(caller, stored.id, secret, force=force)
        async with self._database.transaction(Access.tenant(tenant_id)) as connection:
            known = await self.get(connection, tenant_id, stored.id)
            wanted = settings.copy()
            if wanted.get("label") == known.key.label:
                del wanted["label"]
            if known.key.default or not wanted.get("default"):  # False takes no default away here
                wanted["default"] = None
            if wanted.get("low_balance_below") == known.balance.low_balance_below:
                wanted.pop("low_balance_below", None)
            return await self.change(connection, caller, stored.id, wanted), False

    async def replace(self, caller: Caller, key_id: UUID, secret: Secret, *, force: bool) -> UpstreamAccount:
        """Replace a key's secret after trying it at the upstream; the old one is used until then.

        Raises:
            RentgateError: as `Trials.replace`.
        """
        await self._calls.trials.replace(
            caller, key_id, secret.api_key, reference=secret.reference, force=force
        )
        return await self.read(caller.tenant_id, key_id)

    async def verify(self, caller: Caller, key_id: UUID) -> UpstreamAccount:
        """Ask the upstream whether it accepts a key now; the status tells. A key that works again is woken.

        Raises:
            NotFound: the tenant has no such key.
            RentgateError: the upstream could not be asked.
        """
        await self.read(caller.tenant_id, key_id)  # before another's rate limit is drawn on
        with contextlib.suppress(UpstreamKeyRejected):  # that is an answer, and marked by the call itself
            await self._calls.read(caller, key_id, "orders", lambda client, api_key: client.orders(api_key))
        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
            await schedule.make_due(connection, caller.tenant_id, key_id)
            return await self.get(connection, caller.tenant_id, key_id)

    async def delete(self, connection: AsyncConnection, caller: Caller, key_id: UUID, *, force: bool) -> None:
        """Delete a key; its secret is wiped. By force its active rentals are lost from sight, and its open
        operations go to review.

        Raises:
            NotFound: the tenant has no such key.
            UpstreamKeyHasRentals: it has active rentals or open operations, and `force` was not said.
        """
        tenant_id = caller.tenant_id
        await self._vault.get(connection, tenant_id, key_id)
        await schedule.make_due(connection, tenant_id, key_id)  # so that who looks at it hears of it
        living = await rentals.count_living(connection, tenant_id, key_id)
        unsettled = len(await lookup.open_of_account(connection, tenant_id, key_id))
        if (living or unsettled) and not force:
            raise UpstreamKeyHasRentals(
                f"{living} living rentals and {unsettled} open operations hang on this key."
            )
        await resolution.give_up_account(connection, tenant_id, key_id)
        await self._vault.delete(connection, tenant_id, key_id)
        await balances.forget(connection, tenant_id, key_id)
        details = {"living_rentals": living, "open_operations": unsettled}
        audit.record(connection, caller, "upstream_key.delete", target=key_id, details=details)

    async def read(self, tenant_id: UUID, key_id: UUID) -> UpstreamAccount:
        """As `get`, in a transaction of its own."""
        async with self._database.transaction(Access.tenant(tenant_id)) as connection:
            return await self.get(connection, tenant_id, key_id)


async def _with_accounts(
    connection: AsyncConnection, tenant_id: UUID, keys: Sequence[UpstreamKey]
) -> list[UpstreamAccount]:
    ids = [key.id for key in keys]
    known = await balances.of_accounts(connection, tenant_id, ids)
    health = await health_records.of_accounts(connection, tenant_id, ids)
    return [UpstreamAccount(key, known.get(key.id, UNKNOWN), health.get(key.id, WELL)) for key in keys]
