"""`/tenants`: made and changed by the administrator."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Body, Depends, Request, Response
from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from app.api.auth import ADMIN, RequirePlatform
from app.api.fields import MoneyIn, Name, RequestBody
from app.api.idempotency import IdempotentRoute, keep_answer
from app.api.paging import Cursor, Limit, Page, after_id, next_cursor
from app.api.responses import IDEMPOTENT, WITH_BODY, problems
from app.api.wired import Wired
from app.audit import repository as audit
from app.audit.caller import Caller
from app.database import PLATFORM
from app.errors import FieldError, InsufficientScope, InvalidRequest, NotFound
from app.schemas import Money
from app.tenants import service as tenants
from app.tenants.scopes import PlatformScope
from app.tenants.service import Tenant
from app.vault.references import LONGEST, is_prefix

router = APIRouter(tags=["tenants"], route_class=IdempotentRoute)
Admin = Annotated[Caller, Depends(RequirePlatform(PlatformScope.TENANTS_MANAGE))]

CURSOR = "tenants"


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


class TenantOut(BaseModel):
    """A tenant."""

    id: UUID
    name: str
    status: Literal["active", "suspended"]
    spend_limit: Money | None
    created_at: datetime
    reference_prefixes: list[str]

    @classmethod
    def of(cls, tenant: Tenant) -> TenantOut:
        """A tenant as callers read it."""
        return cls(
            id=tenant.id,
            name=tenant.name,
            status="active" if tenant.status == tenants.ACTIVE else "suspended",
            spend_limit=Money.of(tenant.spend_limit),
            created_at=tenant.created_at,
            reference_prefixes=list(tenant.reference_prefixes),
        )


class TenantList(Page[TenantOut]):
    """A page of tenants."""


@router.post(
    "/tenants",
    status_code=201,
    summary="Make a tenant",
    responses=problems(*IDEMPOTENT, *WITH_BODY),
)
async def create_tenant(
    body: TenantRequest, caller: Admin, services: Wired, request: Request, response: Response
) -> TenantOut:
    """Make a tenant; give it an upstream key and an API key next."""
    _may_change(caller, body)
    async with services.database.transaction(PLATFORM) as connection:
        limit = body.spend_limit.dollars if body.spend_limit else None
        tenant = await tenants.create_tenant(
            connection, name=body.name, spend_limit=limit, reference_prefixes=body.reference_prefixes
        )
        audit.record(connection, _within(caller, tenant.id), "tenant.create", target=tenant.id)
        made = TenantOut.of(tenant)
        location = f"/tenants/{tenant.id}"
        await keep_answer(
            connection, request, status=201, body=made.model_dump(mode="json"), location=location
        )
    response.headers["Location"] = location
    return made


@router.get("/tenants", summary="List tenants", responses=problems())
async def list_tenants(
    _caller: Admin, services: Wired, limit: Limit = 50, cursor: Cursor = None
) -> TenantList:
    """All tenants, newest first."""
    before = after_id(CURSOR, cursor)
    async with services.database.transaction(PLATFORM) as connection:
        found = await tenants.list_tenants(connection, limit=limit + 1, before=before)
    return TenantList(
        items=[TenantOut.of(tenant) for tenant in found[:limit]],
        next_cursor=next_cursor(CURSOR, found, limit, lambda tenant: tenant.id),
    )


@router.get("/tenants/{tenant_id}", summary="Read a tenant", responses=problems(NotFound))
async def get_tenant(tenant_id: UUID, _caller: Admin, services: Wired) -> TenantOut:
    """One tenant."""
    async with services.database.transaction(PLATFORM) as connection:
        return TenantOut.of(await tenants.get_tenant(connection, tenant_id))


@router.patch("/tenants/{tenant_id}", summary="Change a tenant", responses=problems(NotFound, *WITH_BODY))
async def update_tenant(
    tenant_id: UUID,
    caller: Admin,
    services: Wired,
    body: Annotated[TenantChange | None, Body()] = None,
) -> TenantOut:
    """Change a tenant's name, status, spend limit or reference prefixes. A suspended tenant's keys are
    refused at once; so are upstream keys that refer to where no prefix leads any more.
    """
    _may_change(caller, body or TenantChange())
    changes = _changes(body or TenantChange())
    async with services.database.transaction(PLATFORM) as connection:
        tenant = await tenants.change_tenant(connection, tenant_id, changes)
        if changes:
            details = {name: None if value is None else str(value) for name, value in changes.items()}
            audit.record(
                connection, _within(caller, tenant_id), "tenant.update", target=tenant_id, details=details
            )
    services.recognition.forget()
    return TenantOut.of(tenant)


def _may_change(caller: Caller, body: TenantRequest | TenantChange) -> None:
    """See that who names reference prefixes may: they say which secrets of the platform a tenant reaches.

    Raises:
        InsufficientScope: it is a platform key.
    """
    if "reference_prefixes" in body.model_fields_set and caller.actor != ADMIN:
        raise InsufficientScope("Only the administrator's token may set reference_prefixes.")


def _changes(body: TenantChange) -> dict[str, Any]:
    given = {name: getattr(body, name) for name in body.model_fields_set}
    for name in ("name", "status", "reference_prefixes"):
        if name in given and given[name] is None:
            raise InvalidRequest(fields=(FieldError(f"body.{name}", "This can't be null."),))
    if given.get("spend_limit") is not None:
        given["spend_limit"] = given["spend_limit"].dollars
    return given


def _within(caller: Caller, tenant_id: UUID) -> Caller:
    return Caller(tenant_id, caller.actor, caller.address, caller.request_id)
