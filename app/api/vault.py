"""`/tenants/{id}/upstream-keys`: a tenant's accounts at the upstream; keys go in and never come out."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self, cast
from uuid import UUID

from fastapi import APIRouter, Body, Depends, Query
from pydantic import BaseModel, Field, StrictBool

from app.accounts.health_records import AccountHealth
from app.api.context import Context
from app.api.fields import DecimalText, Name, RequestBody, dollars
from app.api.guards import Require
from app.api.idempotency import IdempotentRoute
from app.api.paging import Page, Paging, paged
from app.api.responses import UPSTREAM, problems
from app.api.secret_source import SecretSource, secret_of
from app.errors import (
    UpstreamAccountDiffers,
    UpstreamKeyHasRentals,
    UpstreamKeyInUse,
)
from app.schemas import Balance, Money
from app.tenants.scopes import PlatformScope, Scope
from app.upstream_accounts.service import AccountSettings, UpstreamAccount

router = APIRouter(tags=["upstream keys"], route_class=IdempotentRoute)
Manager = Annotated[Context, Depends(Require(Scope.KEYS_MANAGE, platform=PlatformScope.VAULT_WRITE))]

LowBalanceBelow = Annotated[
    DecimalText | None,
    Field(description="US dollars; the event `upstream_key.balance_low` tells when the balance falls below."),
]


class UpstreamKeyRequest(SecretSource):
    """An upstream account's API key to store, or a reference to it; the tenant's first one is its default."""

    label: Name
    default: StrictBool | None = None
    low_balance_below: LowBalanceBelow = None


class UpstreamKeyChange(RequestBody):
    """What to change; a `low_balance_below` of null takes the mark away."""

    label: Name | None = None
    default: StrictBool | None = None
    low_balance_below: LowBalanceBelow = None


class SecretRequest(SecretSource):
    """The new secret, or a reference to it; `force` takes it even if it shows another account's orders."""

    force: StrictBool = False


class UpstreamKeyOut(BaseModel):
    """What may be known of a stored key; `reference` tells where it is, if that is elsewhere. `rejected`: the
    upstream does not accept it any more. `balance`: what was left on the account when it was last read.
    """

    id: UUID
    label: str
    last_four: str
    reference: str | None
    default: bool
    status: Literal["active", "rejected"]
    created_at: datetime
    last_used_at: datetime | None
    health: AccountHealth
    balance: Balance | None
    low_balance_below: Money | None

    @classmethod
    def of(cls, account: UpstreamAccount) -> Self:
        """An account as callers read it."""
        key, balance = account.key, account.balance
        stored = {name: getattr(key, name) for name in cls.model_fields if hasattr(key, name)}
        return cls(
            **stored,
            health=account.health.shown(key.created_at),
            balance=balance.shown,
            low_balance_below=Money.of(balance.low_balance_below),
        )


class UpstreamKeyList(Page[UpstreamKeyOut]):
    """A page of upstream keys."""


def settings_of(body: RequestBody) -> AccountSettings:
    """What a body says of an account beside its secret."""
    given = body.model_dump(include=set(AccountSettings.__annotations__), exclude_unset=True)
    if "low_balance_below" in given:
        given["low_balance_below"] = dollars(given["low_balance_below"])
    return cast("AccountSettings", given)


@router.post(
    "/tenants/{tenant_id}/upstream-keys",
    status_code=201,
    summary="Store an upstream key",
    responses=problems(UpstreamKeyInUse),
)
async def create_upstream_key(tenant_id: UUID, body: UpstreamKeyRequest, context: Manager) -> UpstreamKeyOut:
    """Store an account's key, encrypted, or a reference to it, which is read now to tell that the account is
    not in use elsewhere. The worker looks at the account at once.
    """
    secret = await secret_of(context, body)
    async with context.changing(within=f"/tenants/{tenant_id}/upstream-keys") as change:
        made = await context.services.upstream_accounts.add(
            change.connection, context.caller, secret, settings_of(body)
        )
        return change.answer(UpstreamKeyOut.of(made))


@router.get("/tenants/{tenant_id}/upstream-keys", summary="List upstream keys")
async def list_upstream_keys(
    tenant_id: UUID, context: Manager, paging: Annotated[Paging, paged("upstream-keys")]
) -> UpstreamKeyList:
    """The tenant's upstream keys, newest first."""
    async with context.reading() as connection:
        found = await context.services.upstream_accounts.listed(
            connection, tenant_id, limit=paging.fetch, before=paging.before
        )
    items = [UpstreamKeyOut.of(account) for account in found[: paging.limit]]
    return paging.page(UpstreamKeyList, found, items)


@router.get("/tenants/{tenant_id}/upstream-keys/{key_id}", summary="Read an upstream key")
async def get_upstream_key(tenant_id: UUID, key_id: UUID, context: Manager) -> UpstreamKeyOut:
    """What may be known of one stored key."""
    return UpstreamKeyOut.of(await context.services.upstream_accounts.read(tenant_id, key_id))


@router.patch("/tenants/{tenant_id}/upstream-keys/{key_id}", summary="Change an upstream key")
async def update_upstream_key(
    tenant_id: UUID, key_id: UUID, context: Manager, body: Annotated[UpstreamKeyChange | None, Body()] = None
) -> UpstreamKeyOut:
    """Give a key another label, make it (no more) the default, or set the mark of its account's balance."""
    wanted = settings_of(body or UpstreamKeyChange())
    async with context.changing() as change:
        accounts = context.services.upstream_accounts
        return UpstreamKeyOut.of(await accounts.change(change.connection, context.caller, key_id, wanted))


@router.post(
    "/tenants/{tenant_id}/upstream-keys/{key_id}/verify",
    summary="Verify an upstream key",
    responses=problems(*UPSTREAM),
)
async def verify_upstream_key(tenant_id: UUID, key_id: UUID, context: Manager) -> UpstreamKeyOut:
    """Ask the upstream whether it accepts a key now; `status` tells. A key that works again is woken."""
    return UpstreamKeyOut.of(await context.services.upstream_accounts.verify(context.caller, key_id))


@router.put(
    "/tenants/{tenant_id}/upstream-keys/{key_id}/secret",
    summary="Replace an upstream key's secret",
    responses=problems(UpstreamAccountDiffers, UpstreamKeyInUse, *UPSTREAM),
)
async def replace_upstream_secret(
    tenant_id: UUID, key_id: UUID, body: SecretRequest, context: Manager
) -> UpstreamKeyOut:
    """Replace the secret after trying it at the upstream; the old one is used until then."""
    accounts = context.services.upstream_accounts
    await accounts.read(tenant_id, key_id)  # before the secret is read at its source
    secret = await secret_of(context, body)
    return UpstreamKeyOut.of(await accounts.replace(context.caller, key_id, secret, force=body.force))


@router.delete(
    "/tenants/{tenant_id}/upstream-keys/{key_id}",
    status_code=204,
    summary="Delete an upstream key",
    responses=problems(UpstreamKeyHasRentals),
)
async def delete_upstream_key(
    tenant_id: UUID,
    key_id: UUID,
    context: Manager,
    force: Annotated[bool, Query(description="Give up the rentals that live on this key.")] = False,
) -> None:
    """Delete a key; its secret is wiped. With living rentals, or operations that are still open, only by
    force: the former are lost from sight, and the latter go to review.
    """
    async with context.changing() as change:
        accounts = context.services.upstream_accounts
        await accounts.delete(change.connection, context.caller, key_id, force=force)
