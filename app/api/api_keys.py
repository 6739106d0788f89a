"""`/tenants/{id}/api-keys`: the keys that a tenant's services call rentgate with."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field, StrictInt

from app.api.auth import Require, authenticate
from app.api.fields import Moment, Name, RequestBody
from app.api.idempotency import IdempotentRoute, keep_answer
from app.api.paging import Cursor, Limit, Page, after_id, next_cursor
from app.api.responses import IDEMPOTENT, WITH_BODY, problems
from app.api.wired import Wired
from app.audit import repository as audit
from app.audit.caller import Caller
from app.database import Access
from app.errors import (
    FieldError,
    InsufficientScope,
    InvalidRequest,
    NotFound,
)
from app.tenants import service as tenants
from app.tenants.scopes import Scope
from app.tenants.service import ApiKey
from app.values import utc_now

router = APIRouter(tags=["api keys"], route_class=IdempotentRoute)
Manager = Annotated[Caller, Depends(Require(Scope.KEYS_MANAGE))]

CURSOR = "api-keys"


class ApiKeyRequest(RequestBody):
    """An API key to make; nobody can give scopes that they don't hold."""

    name: Name
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(Scope))]
    expires_at: Moment | None = None


class RotationRequest(RequestBody):
    """For how many seconds the old key stays valid beside the new one; 30 days at most."""

    overlap_seconds: Annotated[StrictInt, Field(ge=0, le=30 * 86_400)]


class ApiKeyOut(BaseModel):
    """What may be known of an API key."""

    id: UUID
    name: str
    prefix: str
    scopes: list[Scope]
    expires_at: datetime | None
    last_used_at: datetime | None
    created_at: datetime

    @classmethod
    def of(cls, key: ApiKey) -> ApiKeyOut:
        """A key as callers read it."""
        return cls.model_validate(_shown(key))


class NewApiKey(ApiKeyOut):
    """An API key just made."""

    token: Annotated[
        str | None, Field(description="Shown this once: the answer to a repeated request lacks it.")
    ] = None


class ApiKeyList(Page[ApiKeyOut]):
    """A page of API keys."""


def _shown(key: ApiKey) -> dict[str, object]:
    return {name: getattr(key, name) for name in ApiKey.__slots__}


@router.post(
    "/tenants/{tenant_id}/api-keys",
    status_code=201,
    summary="Make an API key",
    responses=problems(NotFound, *IDEMPOTENT, *WITH_BODY),
)
async def create_api_key(
    tenant_id: UUID,
    body: ApiKeyRequest,
    caller: Manager,
    services: Wired,
    request: Request,
    response: Response,
) -> NewApiKey:
    """Make an API key. The answer holds its token, which is kept nowhere and never shown again."""
    missing = set(body.scopes) - (await authenticate(request)).scopes
    if missing:
        raise InsufficientScope(f"You can't give scopes that you don't hold: {', '.join(sorted(missing))}.")
    if body.expires_at is not None and body.expires_at <= utc_now():
        raise InvalidRequest(fields=(FieldError("body.expires_at", "This has to lie in the future."),))
    async with services.database.transaction(Access.tenant(tenant_id)) as connection:
        key, token = await tenants.create_api_key(
            connection, tenant_id, name=body.name, scopes=body.scopes, expires_at=body.expires_at
        )
        details = {"name": key.name, "scopes": list(key.scopes)}
        audit.record(connection, caller, "api_key.create", target=key.id, details=details)
        made = NewApiKey.model_validate({**_shown(key), "token": token})
        location = f"/tenants/{tenant_id}/api-keys/{key.id}"
        await keep_answer(
            connection, request, status=201, body=made.model_dump(mode="json"), location=location
        )
    response.headers["Location"] = location
    return made


@router.get("/tenants/{tenant_id}/api-keys", summary="List API keys", responses=problems(NotFound))
async def list_api_keys(
    tenant_id: UUID, _caller: Manager, services: Wired, limit: Limit = 50, cursor: Cursor = None
) -> ApiKeyList:
    """The tenant's API keys that are not revoked, newest first."""
    before = after_id(CURSOR, cursor)
    async with services.database.transaction(Access.tenant(tenant_id)) as connection:
        found = await tenants.list_api_keys(connection, tenant_id, limit=limit + 1, before=before)
    return ApiKeyList(
        items=[ApiKeyOut.of(key) for key in found[:limit]],
        next_cursor=next_cursor(CURSOR, found, limit, lambda key: key.id),
    )


@router.post(
    "/tenants/{tenant_id}/api-keys/{key_id}/rotate",
    status_code=201,
    summary="Rotate an API key",
    responses=problems(NotFound, *IDEMPOTENT, *WITH_BODY),
)
async def rotate_api_key(
    tenant_id: UUID,
    key_id: UUID,
    body: RotationRequest,
    caller: Manager,
    services: Wired,
    request: Request,
    response: Response,
) -> NewApiKey:
    """Make a new key with the same name and scopes; the old one ends after the overlap."""
    async with services.database.transaction(Access.tenant(tenant_id)) as connection:
        key, token = await tenants.rotate_api_key(
            connection, tenant_id, key_id, timedelta(seconds=body.overlap_seconds)
        )
        missing = set(key.scopes) - (await authenticate(request)).scopes
        if missing:
            raise InsufficientScope(
                f"You can't give scopes that you don't hold: {', '.join(sorted(missing))}."
            )
        details = {"new_key": str(key.id), "overlap_seconds": body.overlap_seconds}
        audit.record(connection, caller, "api_key.rotate", target=key_id, details=details)
        made = NewApiKey.model_validate({**_shown(key), "token": token})
        location = f"/tenants/{tenant_id}/api-keys/{key.id}"
        await keep_answer(
            connection, request, status=201, body=made.model_dump(mode="json"), location=location
        )
    services.recognition.forget()
    response.headers["Location"] = location
    return made


@router.delete(
    "/tenants/{tenant_id}/api-keys/{key_id}",
    status_code=204,
    summary="Revoke an API key",
    responses=problems(NotFound, *IDEMPOTENT),
)
async def revoke_api_key(
    tenant_id: UUID, key_id: UUID, caller: Manager, services: Wired, request: Request
) -> None:
    """Revoke a key: from now on it is refused."""
    async with services.database.transaction(Access.tenant(tenant_id)) as connection:
        await tenants.revoke_api_key(connection, tenant_id, key_id)
        audit.record(connection, caller, "api_key.revoke", target=key_id)
        await keep_answer(connection, request, status=204, body=None)
    services.recognition.forget()
