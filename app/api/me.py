"""`/me`: who the caller is, and what its tenant has spent."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from app.api.auth import authenticate
from app.api.context import Context
from app.api.guards import Require
from app.api.responses import GatewayRoute
from app.api.tenants import TenantOut
from app.idempotency.repository import NO_TENANT
from app.operations import spending
from app.schemas import Money, View
from app.tenants import service as tenants
from app.tenants.issuer import ServiceToken

router = APIRouter(tags=["about"], route_class=GatewayRoute)


class KeyOfCaller(View):
    """The API key, or the platform key, that the request came with."""

    id: UUID
    name: str
    prefix: str


class SpendingOut(BaseModel):
    """This calendar month (UTC), as `2026-01`: what is held by open operations, and what is spent."""

    month: str
    limit: Money | None
    held: Money
    spent: Money


class Me(BaseModel):
    """The caller; `api_key` is null for the administrator, and for a service with a token of the platform's
    issuer, whose `sub` is `subject`. Who belongs to no tenant sees the one it named.
    """

    tenant: TenantOut | None
    api_key: KeyOfCaller | None
    subject: str | None
    scopes: list[str]
    spending: SpendingOut | None


@router.get("/me", summary="Who am I?")
async def get_me(context: Annotated[Context, Depends(Require(None, tenantless=True))]) -> Me:
    """The caller's tenant, key and scopes, and what the tenant has spent this month."""
    principal = await authenticate(context.request)
    key = principal.key
    subject = key.subject if isinstance(key, ServiceToken) else None
    has_id = key is not None and not isinstance(key, ServiceToken)
    shown_key = KeyOfCaller.model_validate(key) if has_id else None
    scopes = sorted(principal.scopes)
    if context.tenant_id == NO_TENANT:
        return Me(tenant=None, api_key=shown_key, subject=subject, scopes=scopes, spending=None)
    async with context.reading() as connection:
        tenant = await tenants.get_tenant(connection, context.tenant_id)
        month = await spending.this_month(connection, context.tenant_id)
    return Me(
        tenant=TenantOut.model_validate(tenant),
        api_key=shown_key,
        subject=subject,
        scopes=scopes,
        spending=SpendingOut.model_validate({**asdict(month), "month": f"{month.month:%Y-%m}"}),
    )
