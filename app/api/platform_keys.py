"""`/platform-keys`: keys for the platform's own services, over all tenants."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import Field

from app.api.context import Context
from app.api.fields import Name, RequestBody
from app.api.guards import RequirePlatform
from app.api.idempotency import IdempotentRoute
from app.api.paging import Page, Paging, paged
from app.schemas import View
from app.tenants import platform_keys
from app.tenants.scopes import PlatformScope

router = APIRouter(tags=["platform keys"], route_class=IdempotentRoute)
Admin = Annotated[Context, Depends(RequirePlatform())]


class PlatformKeyRequest(RequestBody):
    """A platform key to make."""

    name: Name
    scopes: Annotated[list[PlatformScope], Field(min_length=1, max_length=len(PlatformScope))]


class PlatformKeyOut(View):
    """What may be known of a platform key."""

    id: UUID
    name: str
    prefix: str
    scopes: list[PlatformScope]
    last_used_at: datetime | None
    created_at: datetime


class NewPlatformKey(PlatformKeyOut):
    """A platform key just made."""

    token: Annotated[
        str | None, Field(description="Shown this once: the answer to a repeated request lacks it.")
    ] = None


class PlatformKeyList(Page[PlatformKeyOut]):
    """A page of platform keys."""


@router.post("/platform-keys", status_code=201, summary="Make a platform key")
async def create_platform_key(body: PlatformKeyRequest, context: Admin) -> NewPlatformKey:
    """Make a key for a service of the platform itself: `tenants:manage` makes and changes tenants,
    `vault:write` stores and rotates upstream keys, `audit:read` reads audit trails. It names the tenant that
    it acts for in `X-Tenant-ID` where a path doesn't.
    """
    async with context.changing(within="/platform-keys") as change:
        key, token = await platform_keys.create(
            change.connection, context.caller, name=body.name, scopes=body.scopes
        )
        return change.answer(NewPlatformKey.model_validate({**asdict(key), "token": token}))


@router.get("/platform-keys", summary="List platform keys")
async def list_platform_keys(
    context: Admin, paging: Annotated[Paging, paged("platform-keys")]
) -> PlatformKeyList:
    """All platform keys that are not revoked, newest first."""
    async with context.reading() as connection:
        found = await platform_keys.listed(connection, limit=paging.fetch, before=paging.before)
    return paging.page(PlatformKeyList, found)


@router.delete("/platform-keys/{key_id}", status_code=204, summary="Revoke a platform key")
async def revoke_platform_key(key_id: UUID, context: Admin) -> None:
    """Revoke a key: from now on it is refused."""
    async with context.changing() as change:
        await platform_keys.revoke(change.connection, context.caller, key_id)
    context.services.recognition.forget()
