"""`/tenants`: made and changed by the administrator."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Body, Depends
from pydantic import AfterValidator, Field, StringConstraints

from app.api.auth import ADMIN
from app.api.context import Context
from app.api.fields import MoneyIn, Name, RequestBody
from app.api.guards import RequirePlatform
from app.api.idempotency import IdempotentRoute
from app.api.paging import Page, Paging, paged
from app.errors import FieldError, InsufficientScope, InvalidRequest
from app.schemas import Money, View
from app.tenants import service as tenants
from app.tenants.scopes import PlatformScope
from app.vault.references import LONGEST, is_prefix

router = APIRouter(tags=["tenants"], route_class=IdempotentRoute)
Admin = Annotated[Context, Depends(RequirePlatform(PlatformScope.TENANTS_MANAGE))]


def _prefix(text: str) -> str:
    if not is_prefix(text):
        raise ValueError("has to begin references and to end with a whole name, as vault:kv/data/acme/ does")
    return text


ReferencePrefixes = Annotated[
    list[Annotated[str, StringConstraints(max_length=LONGEST), AfterValidator(_prefix)]],
    Field(
        max_length=100,
        description="Under which prefixes the tenant's upstream keys may be references to secrets that are"
        " kept elsewhere; only the administrator sets them.",
        examples=[["vault:kv/data/acme/"]],
    ),
]


class TenantRequest(RequestBody):
    """A tenant to make; `spend_limit` is for a calendar month (UTC)."""

    name: Name
    spend_limit: MoneyIn | None = None
    reference_prefixes: ReferencePrefixes = Field(default_factory=list)


class TenantChange(RequestBody):
    """What to change; `spend_limit: null` takes the limit away."""

    name: Name | None = None
    status: Literal["active", "suspended"] | None = None
    spend_limit: MoneyIn | None = None
    reference_prefixes: ReferencePrefixes | None = None


class TenantOut(View):
    """A tenant."""

    id: UUID
    name: str
    status: Literal["active", "suspended"]
    spend_limit: Money | None
    created_at: datetime
    reference_prefixes: list[str]


class TenantList(Page[TenantOut]):
    """A page of tenants."""


@router.post("/tenants", status_code=201, summary="Make a tenant")
async def create_tenant(body: TenantRequest, context: Admin) -> TenantOut:
    """Make a tenant; give it an upstream key and an API key next."""
    _may_change(context, body)
    async with context.changing(within="/tenants") as change:
        tenant = await tenants.create_tenant(
            change.connection,
            context.caller,
            name=body.name,
            spend_limit=body.spend_limit.dollars if body.spend_limit else None,
            reference_prefixes=body.reference_prefixes,
        )
        return change.answer(TenantOut.model_validate(tenant))


@router.get("/tenants", summary="List tenants")
async def list_tenants(context: Admin, paging: Annotated[Paging, paged("tenants")]) -> TenantList:
    """All tenants, newest first."""
    async with context.reading() as connection:
        found = await tenants.list_tenants(connection, limit=paging.fetch, before=paging.before)
    return paging.page(TenantList, found)


@router.get("/tenants/{tenant_id}", summary="Read a tenant")
async def get_tenant(tenant_id: UUID, context: Admin) -> TenantOut:
    """One tenant."""
    async with context.reading() as connection:
        return TenantOut.model_validate(await tenants.get_tenant(connection, tenant_id))


@router.patch("/tenants/{tenant_id}", summary="Change a tenant")
async def update_tenant(
    tenant_id: UUID, context: Admin, body: Annotated[TenantChange | None, Body()] = None
) -> TenantOut:
    """Change a tenant's name, status, spend limit or reference prefixes. A suspended tenant's keys are
    refused at once; so are upstream keys that refer to where no prefix leads any more.
    """
    wanted = body or TenantChange()
    _may_change(context, wanted)
    changes = _changes(wanted)
    async with context.changing() as change:
        tenant = await tenants.change_tenant(change.connection, context.caller, tenant_id, changes)
    context.services.recognition.forget()
    return TenantOut.model_validate(tenant)


def _may_change(context: Context, body: TenantRequest | TenantChange) -> None:
    """See that who names reference prefixes may: they say which secrets of the platform a tenant reaches.

    Raises:
        InsufficientScope: it is a platform key.
    """
    if "reference_prefixes" in body.model_fields_set and context.caller.actor != ADMIN:
        raise InsufficientScope("Only the administrator's token may set reference_prefixes.")


def _changes(body: TenantChange) -> dict[str, Any]:
    given = {name: getattr(body, name) for name in body.model_fields_set}
    for name in ("name", "status", "reference_prefixes"):
        if name in given and given[name] is None:
            raise InvalidRequest(fields=(FieldError(f"body.{name}", "This can't be null."),))
    if given.get("spend_limit") is not None:
        given["spend_limit"] = given["spend_limit"].dollars
    return given
