"""`/platform-keys`: keys for the platform's own services, over all tenants."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from app.api.auth import RequirePlatform
from app.api.fields import Name, RequestBody
from app.api.idempotency import IdempotentRoute, keep_answer
from app.api.paging import Cursor, Limit, Page, after_id, next_cursor
from app.api.responses import IDEMPOTENT, WITH_BODY, problems
from app.api.wired import Wired
from app.audit import repository as audit
from app.audit.caller import Caller
from app.database import PLATFORM
from app.tenants import platform_keys
from app.tenants.platform_keys import PlatformKey
from app.tenants.scopes import PlatformScope

router = APIRouter(tags=["platform keys"], route_class=IdempotentRoute)
Admin = Annotated[Caller, Depends(RequirePlatform())]

CURSOR = "platform-keys"


class PlatformKeyRequest(RequestBody):
    """A platform key to make."""

    name: Name
    scopes: Annotated[list[PlatformScope], Field(min_length=1, max_length=len(PlatformScope))]


class PlatformKeyOut(BaseModel):
    """What may be known of a platform key."""

    id: UUID
    name: str
    prefix: str
    scopes: list[PlatformScope]
    last_used_at: datetime | None
    created_at: datetime

    @classmethod
    def of(cls, key: PlatformKey) -> PlatformKeyOut:
        """A key as callers read it."""
        return cls.model_validate(_shown(key))


class NewPlatformKey(PlatformKeyOut):
    """A platform key just made."""

    token: Annotated[
        str | None, Field(description="Shown this once: the answer to a repeated request lacks it.")
    ] = None


class PlatformKeyList(Page[PlatformKeyOut]):
    """A page of platform keys."""


def _shown(key: PlatformKey) -> dict[str, object]:
    return {name: getattr(key, name) for name in PlatformKey.__slots__}


@router.post(
    "/platform-keys",
    status_code=201,
    summary="Make a platform key",
    responses=problems(*IDEMPOTENT, *WITH_BODY),
)
async def create_platform_key(
    body: PlatformKeyRequest, caller: Admin, services: Wired, request: Request, response: Response
) -> NewPlatformKey:
    """Make a key for a service of the platform itself: `tenants:manage` makes and changes tenants,
    `vault:write` stores and rotates upstream keys, `audit:read` reads audit trails. It names the tenant that
    it acts for in `X-Tenant-ID` where a path doesn't.
    """
    async with services.database.transaction(PLATFORM) as connection:
        key, token = await platform_keys.create(connection, name=body.name, scopes=body.scopes)
        audit.record(connection, caller, "platform_key.create", target=key.id)
        made = NewPlatformKey.model_validate({**_shown(key), "token": token})
        location = f"/platform-keys/{key.id}"
        await keep_answer(
            connection, request, status=201, body=made.model_dump(mode="json"), location=location
        )
    response.headers["Location"] = location
    return made


@router.get("/platform-keys", summary="List platform keys", responses=problems())
async def list_platform_keys(
    _caller: Admin, services: Wired, limit: Limit = 50, cursor: Cursor = None
) -> PlatformKeyList:
    """All platform keys that are not revoked, newest first."""
    before = after_id(CURSOR, cursor)
    async with services.database.transaction(PLATFORM) as connection:
        found = await platform_keys.listed(connection, limit=limit + 1, before=before)
    return PlatformKeyList(
        items=[PlatformKeyOut.of(key) for key in found[:limit]],
        next_cursor=next_cursor(CURSOR, found, limit, lambda key: key.id),
    )


@router.delete(
    "/platform-keys/{key_id}",
    status_code=204,
    summary="Revoke a platform key",
    responses=problems(*IDEMPOTENT),
)
async def revoke_platform_key(key_id: UUID, caller: Admin, services: Wired, request: Request) -> None:
    """Revoke a key: from now on it is refused."""
    async with services.database.transaction(PLATFORM) as connection:
        await platform_keys.revoke(connection, key_id)
        audit.record(connection, caller, "platform_key.revoke", target=key_id)
        await keep_answer(connection, request, status=204, body=None)
    services.recognition.forget()
