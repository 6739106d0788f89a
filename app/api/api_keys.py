"""`/tenants/{id}/api-keys`: the keys that a tenant's services call rentgate with."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import Field, StrictInt

from app.api.auth import authenticate
from app.api.context import Context
from app.api.fields import Moment, Name, RequestBody
from app.api.guards import Require
from app.api.idempotency import IdempotentRoute
from app.api.paging import Page, Paging, paged
from app.errors import FieldError, InsufficientScope, InvalidRequest
from app.schemas import View
from app.tenants import service as tenants
from app.tenants.scopes import Scope
from app.values import utc_now

router = APIRouter(tags=["api keys"], route_class=IdempotentRoute)
Manager = Annotated[Context, Depends(Require(Scope.KEYS_MANAGE))]


class ApiKeyRequest(RequestBody):
    """An API key to make; nobody can give scopes that they don't hold."""

    name: Name
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(Scope))]
    expires_at: Moment | None = None


class RotationRequest(RequestBody):
    """For how many seconds the old key stays valid beside the new one; 30 days at most."""

    overlap_seconds: Annotated[StrictInt, Field(ge=0, le=30 * 86_400)]


class ApiKeyOut(View):
    """What may be known of an API key."""

    id: UUID
    name: str
    prefix: str
    scopes: list[Scope]
    expires_at: datetime | None
    last_used_at: datetime | None
    created_at: datetime


class NewApiKey(ApiKeyOut):
    """An API key just made."""

    token: Annotated[
        str | None, Field(description="Shown this once: the answer to a repeated request lacks it.")
    ] = None


class ApiKeyList(Page[ApiKeyOut]):
    """A page of API keys."""


@router.post("/tenants/{tenant_id}/api-keys", status_code=201, summary="Make an API key")
async def create_api_key(tenant_id: UUID, body: ApiKeyRequest, context: Manager) -> NewApiKey:
    """Make an API key. The answer holds its token, which is kept nowhere and never shown again."""
    await _may_give(context, body.scopes)
    if body.expires_at is not None and body.expires_at <= utc_now():
        raise InvalidRequest(fields=(FieldError("body.expires_at", "This has to lie in the future."),))
    async with context.changing(within=f"/tenants/{tenant_id}/api-keys") as change:
        key, token = await tenants.create_api_key(
            change.connection, context.caller, name=body.name, scopes=body.scopes, expires_at=body.expires_at
        )
        return change.answer(NewApiKey.model_validate({**asdict(key), "token": token}))


@router.get("/tenants/{tenant_id}/api-keys", summary="List API keys")
async def list_api_keys(
    tenant_id: UUID, context: Manager, paging: Annotated[Paging, paged("api-keys")]
) -> ApiKeyList:
    """The tenant's API keys that are not revoked, newest first."""
    async with context.reading() as connection:
        found = await tenants.list_api_keys(connection, tenant_id, limit=paging.fetch, before=paging.before)
    return paging.page(ApiKeyList, found)


@router.post("/tenants/{tenant_id}/api-keys/{key_id}/rotate", status_code=201, summary="Rotate an API key")
async def rotate_api_key(tenant_id: UUID, key_id: UUID, body: RotationRequest, context: Manager) -> NewApiKey:
    """Make a new key with the same name and scopes; the old one ends after the overlap."""
    overlap = timedelta(seconds=body.overlap_seconds)
    async with context.changing(within=f"/tenants/{tenant_id}/api-keys") as change:
        key, token = await tenants.rotate_api_key(change.connection, context.caller, key_id, overlap)
        await _may_give(context, key.scopes)
        made = change.answer(NewApiKey.model_validate({**asdict(key), "token": token}))
    context.services.recognition.forget()
    return made


@router.delete("/tenants/{tenant_id}/api-keys/{key_id}", status_code=204, summary="Revoke an API key")
async def revoke_api_key(tenant_id: UUID, key_id: UUID, context: Manager) -> None:
    """Revoke a key: from now on it is refused."""
    async with context.changing() as change:
        await tenants.revoke_api_key(change.connection, context.caller, key_id)
    context.services.recognition.forget()


async def _may_give(context: Context, scopes: Collection[str]) -> None:
    """See that the caller may give these scopes.

    Raises:
        InsufficientScope: it does not hold them itself.
    """
    missing = set(scopes) - (await authenticate(context.request)).scopes
    if missing:
        raise InsufficientScope(f"You can't give scopes that you don't hold: {', '.join(sorted(missing))}.")
