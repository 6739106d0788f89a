"""`/tenants/{id}/upstream-keys`: a tenant's accounts at the upstream; keys go in and never come out."""

from __future__ import annotations

import contextlib
from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Body, Depends, Query, Request, Response
from pydantic import BaseModel, Field, StrictBool
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts import balances, health_records, schedule
from app.accounts.balances import UNKNOWN, AccountBalance
from app.accounts.health_records import WELL, AccountHealth, KeptHealth
from app.api.auth import Require
from app.api.fields import DecimalText, Name, RequestBody, dollars
from app.api.idempotency import IdempotentRoute, keep_answer
from app.api.paging import Cursor, Limit, Page, after_id, next_cursor
from app.api.responses import IDEMPOTENT, UPSTREAM, WITH_BODY, problems
from app.api.secret_source import SecretSource, secret_of
from app.api.wired import Wired
from app.audit import repository as audit
from app.audit.caller import Caller
from app.database import Access
from app.errors import (
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    NotFound,
    UpstreamAccountDiffers,
    UpstreamKeyHasRentals,
    UpstreamKeyInUse,
    UpstreamKeyRejected,
)
from app.operations import lookup
from app.rentals import repository as rentals
from app.schemas import Balance, Money
from app.settlement import resolution
from app.tenants.scopes import PlatformScope, Scope
from app.vault.stored import UpstreamKey

router = APIRouter(tags=["upstream keys"], route_class=IdempotentRoute)
Manager = Annotated[Caller, Depends(Require(Scope.KEYS_MANAGE, platform=PlatformScope.VAULT_WRITE))]

CURSOR = "upstream-keys"


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
    def of(cls, key: UpstreamKey, balance: AccountBalance, health: KeptHealth = WELL) -> Self:
        """A key as callers read it."""
        stored = {name: getattr(key, name) for name in cls.model_fields if hasattr(key, name)}
        return cls(
            **stored,
            health=health.shown(key.created_at),
            balance=balance.shown,
            low_balance_below=Money.of(balance.low_balance_below),
        )

    @classmethod
    async def read(cls, connection: AsyncConnection, tenant_id: UUID, key: UpstreamKey) -> Self:
        """A key that was read in this transaction, with its account's balance and health."""
        health = await health_records.of_accounts(connection, tenant_id, [key.id])
        balance = await balances.of_account(connection, tenant_id, key.id)
        return cls.of(key, balance, health.get(key.id, WELL))


class UpstreamKeyList(Page[UpstreamKeyOut]):
    """A page of upstream keys."""


@router.post(
    "/tenants/{tenant_id}/upstream-keys",
    status_code=201,
    summary="Store an upstream key",
    responses=problems(NotFound, UpstreamKeyInUse, *IDEMPOTENT, *WITH_BODY),
)
async def create_upstream_key(
    tenant_id: UUID,
    body: UpstreamKeyRequest,
    caller: Manager,
    services: Wired,
    request: Request,
    response: Response,
) -> UpstreamKeyOut:
    """Store an account's key, encrypted, or a reference to it, which is read now to tell that the account is
    not in use elsewhere. The worker looks at the account at once.
    """
    api_key = await secret_of(services, tenant_id, body)
    await services.vault.make_ready(tenant_id)
    async with services.database.transaction(Access.tenant(tenant_id)) as connection:
        key = await services.vault.add(
            connection,
            tenant_id,
            label=body.label,
            api_key=api_key,
            default=body.default,
            reference=body.reference,
        )
        await schedule.enrol(connection, tenant_id, key.id)
        mark = dollars(body.low_balance_below)
        await balances.set_mark(connection, caller, key.id, mark)
        audit.record(connection, caller, "upstream_key.create", target=key.id, details={"label": key.label})
        made = UpstreamKeyOut.of(key, AccountBalance(low_balance_below=mark))
        location = f"/tenants/{tenant_id}/upstream-keys/{key.id}"
        await keep_answer(
            connection, request, status=201, body=made.model_dump(mode="json"), location=location
        )
    response.headers["Location"] = location
    return made


@router.get("/tenants/{tenant_id}/upstream-keys", summary="List upstream keys", responses=problems(NotFound))
async def list_upstream_keys(
    tenant_id: UUID, _caller: Manager, services: Wired, limit: Limit = 50, cursor: Cursor = None
) -> UpstreamKeyList:
    """The tenant's upstream keys, newest first."""
    before = after_id(CURSOR, cursor)
    async with services.database.transaction(Access.tenant(tenant_id)) as connection:
        found = await services.vault.listed(connection, tenant_id, limit=limit + 1, before=before)
        ids = [key.id for key in found]
        known = await balances.of_accounts(connection, tenant_id, ids)
        health = await health_records.of_accounts(connection, tenant_id, ids)
    return UpstreamKeyList(
        items=[
            UpstreamKeyOut.of(key, known.get(key.id, UNKNOWN), health.get(key.id, WELL))
            for key in found[:limit]
        ],
        next_cursor=next_cursor(CURSOR, found, limit, lambda key: key.id),
    )


@router.get(
    "/tenants/{tenant_id}/upstream-keys/{key_id}",
    summary="Read an upstream key",
    responses=problems(NotFound),
)
async def get_upstream_key(
    tenant_id: UUID, key_id: UUID, _caller: Manager, services: Wired
) -> UpstreamKeyOut:
    """What may be known of one stored key."""
    async with services.database.transaction(Access.tenant(tenant_id)) as connection:
        key = await services.vault.get(connection, tenant_id, key_id)
        return await UpstreamKeyOut.read(connection, tenant_id, key)


@router.patch(
    "/tenants/{tenant_id}/upstream-keys/{key_id}",
    summary="Change an upstream key",
    responses=problems(NotFound, *WITH_BODY),
)
async def update_upstream_key(
    tenant_id: UUID,
    key_id: UUID,
    caller: Manager,
    services: Wired,
    body: Annotated[UpstreamKeyChange | None, Body()] = None,
) -> UpstreamKeyOut:
    """Give a key another label, make it (no more) the default, or set the mark of its account's balance."""
    wanted = body or UpstreamKeyChange()
    async with services.database.transaction(Access.tenant(tenant_id)) as connection:
        key = await services.vault.change(
            connection, tenant_id, key_id, label=wanted.label, default=wanted.default
        )
        details = wanted.model_dump(exclude_none=True)
        if "low_balance_below" in wanted.model_fields_set:
            await balances.set_mark(connection, caller, key_id, dollars(wanted.low_balance_below))
            details["low_balance_below"] = wanted.low_balance_below
        audit.record(connection, caller, "upstream_key.update", target=key_id, details=details)
        return await UpstreamKeyOut.read(connection, tenant_id, key)


@router.post(
    "/tenants/{tenant_id}/upstream-keys/{key_id}/verify",
    summary="Verify an upstream key",
    responses=problems(NotFound, IdempotencyKeyInUse, IdempotencyKeyReused, *UPSTREAM),
)
async def verify_upstream_key(
    tenant_id: UUID, key_id: UUID, caller: Manager, services: Wired
) -> UpstreamKeyOut:
    """Ask the upstream whether it accepts a key now; `status` tells. A key that works again is woken."""
    async with services.database.transaction(Access.tenant(tenant_id)) as connection:
        await services.vault.get(connection, tenant_id, key_id)  # before another's pace is drawn on
    with contextlib.suppress(UpstreamKeyRejected):  # that is an answer, and marked by the call itself
        await services.calls.read(caller, key_id, "orders", lambda client, api_key: client.orders(api_key))
    async with services.database.transaction(Access.tenant(tenant_id)) as connection:
        await schedule.make_due(connection, tenant_id, key_id)
        key = await services.vault.get(connection, tenant_id, key_id)
        return await UpstreamKeyOut.read(connection, tenant_id, key)


@router.put(
    "/tenants/{tenant_id}/upstream-keys/{key_id}/secret",
    summary="Replace an upstream key's secret",
    responses=problems(NotFound, UpstreamAccountDiffers, UpstreamKeyInUse, *WITH_BODY, *UPSTREAM),
)
async def replace_upstream_secret(
    tenant_id: UUID, key_id: UUID, body: SecretRequest, caller: Manager, services: Wired
) -> UpstreamKeyOut:
    """Replace the secret after trying it at the upstream; the old one is used until then."""
    async with services.database.transaction(Access.tenant(tenant_id)) as connection:
        await services.vault.get(connection, tenant_id, key_id)
    api_key = await secret_of(services, tenant_id, body)
    key = await services.calls.trials.replace(
        caller, key_id, api_key, reference=body.reference, force=body.force
    )
    async with services.database.transaction(Access.tenant(tenant_id)) as connection:
        return await UpstreamKeyOut.read(connection, tenant_id, key)


@router.delete(
    "/tenants/{tenant_id}/upstream-keys/{key_id}",
    status_code=204,
    summary="Delete an upstream key",
    responses=problems(NotFound, UpstreamKeyHasRentals, *IDEMPOTENT),
)
async def delete_upstream_key(
    tenant_id: UUID,
    key_id: UUID,
    caller: Manager,
    services: Wired,
    request: Request,
    force: Annotated[bool, Query(description="Give up the rentals that live on this key.")] = False,
) -> None:
    """Delete a key; its secret is wiped. With living rentals, or operations that are still open, only by
    force: the former are lost from sight, and the latter go to review.
    """
    async with services.database.transaction(Access.tenant(tenant_id)) as connection:
        await services.vault.get(connection, tenant_id, key_id)
        await schedule.make_due(connection, tenant_id, key_id)  # so that who looks at it hears of it
        living = await rentals.count_living(connection, tenant_id, key_id)
        unsettled = len(await lookup.open_of_account(connection, tenant_id, key_id))
        if (living or unsettled) and not force:
            raise UpstreamKeyHasRentals(
                f"{living} living rentals and {unsettled} open operations hang on this key."
            )
        await resolution.give_up_account(connection, tenant_id, key_id)
        await services.vault.delete(connection, tenant_id, key_id)
        await balances.forget(connection, tenant_id, key_id)
        details = {"living_rentals": living, "open_operations": unsettled}
        audit.record(connection, caller, "upstream_key.delete", target=key_id, details=details)
        await keep_answer(connection, request, status=204, body=None)
