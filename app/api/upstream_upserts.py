"""`…/upstream-keys-by-external-id`: for a key vault with ids of its own; one or many."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field, StrictBool, StringConstraints

from app.api.context import Context
from app.api.fields import RequestBody
from app.api.problems import Problem, problem
from app.api.responses import UPSTREAM, GatewayRoute, problems
from app.api.secret_source import secret_of
from app.api.vault import Manager, UpstreamKeyOut, UpstreamKeyRequest, settings_of
from app.errors import RentgateError, UpstreamAccountDiffers, UpstreamKeyInUse

router = APIRouter(tags=["upstream keys"], route_class=GatewayRoute)

MOST_ITEMS = 100
_EXTERNAL_ID = r"^[A-Za-z0-9_.:-]{1,128}$"

ExternalId = Annotated[
    str,
    Path(
        pattern=_EXTERNAL_ID,
        description="What the caller's own system calls the key.",
        examples=["vault-4711"],
    ),
]


class UpstreamKeyUpsert(UpstreamKeyRequest):
    """How the key is to be, whether it is there already or not."""

    force: Annotated[StrictBool, Field(description="Take a secret that shows another account's orders.")] = (
        False
    )


class UpstreamKeyItem(UpstreamKeyUpsert):
    """How one of many keys is to be."""

    external_id: Annotated[str, StringConstraints(pattern=_EXTERNAL_ID)]


class UpstreamKeyItems(RequestBody):
    """How many keys are to be."""

    items: Annotated[list[UpstreamKeyItem], Field(min_length=1, max_length=MOST_ITEMS)]


class ExternalUpstreamKey(UpstreamKeyOut):
    """A stored key, and what the caller's own system calls it."""

    external_id: str


class UpstreamKeyResult(BaseModel):
    """What came of one item: 201 stored, 200 brought to this or so already, else the error's own status."""

    external_id: str
    status: int
    upstream_key: ExternalUpstreamKey | None = None
    error: Problem | None = None


class UpstreamKeyResults(BaseModel):
    """What came of each item, in the items' order."""

    results: list[UpstreamKeyResult]


@router.put(
    "/tenants/{tenant_id}/upstream-keys-by-external-id/{external_id}",
    summary="Store or replace an upstream key by an external id",
    responses={
        201: {"model": ExternalUpstreamKey, "description": "It was not there, and is stored."},
        **problems(UpstreamAccountDiffers, UpstreamKeyInUse, *UPSTREAM),
    },
)
async def upsert_upstream_key(
    tenant_id: UUID, external_id: ExternalId, body: UpstreamKeyUpsert, context: Manager
) -> ExternalUpstreamKey:
    """Store a key under an id of the caller's, or bring the one that has it to this. Saying so again changes
    nothing; another secret is tried at the upstream before it replaces the one that is stored.
    """
    status, key = await _upsert(context, external_id, body, "body")
    context.response.status_code = status
    if status == 201:
        context.response.headers["Location"] = f"/tenants/{tenant_id}/upstream-keys/{key.id}"
    return key


@router.put(
    "/tenants/{tenant_id}/upstream-keys-by-external-id",
    summary="Store or replace many upstream keys by external ids",
)
async def upsert_upstream_keys(
    tenant_id: UUID, body: UpstreamKeyItems, context: Manager
) -> UpstreamKeyResults:
    """Do for each item, one after another, what is done for a single one. An item that fails takes no other
    with it; the answer tells of each. A body that breaks the schema is refused as a whole.
    """
    results = []
    for number, item in enumerate(body.items):
        try:
            status, key = await _upsert(context, item.external_id, item, f"body.items.{number}")
        except RentgateError as error:
            at = f"/tenants/{tenant_id}/upstream-keys-by-external-id/{item.external_id}"
            told = problem(error, instance=at, request_id=context.request.state.request_id)
            results.append(UpstreamKeyResult(external_id=item.external_id, status=told.status, error=told))
        else:
            results.append(UpstreamKeyResult(external_id=item.external_id, status=status, upstream_key=key))
    return UpstreamKeyResults(results=results)


async def _upsert(
    context: Context, external_id: str, body: UpstreamKeyUpsert, where: str
) -> tuple[Literal[200, 201], ExternalUpstreamKey]:
    """Bring the tenant's key of this id to what is wanted; 201 tells that it is new."""
    secret = await secret_of(context, body, where)
    account, is_new = await context.services.upstream_accounts.put(
        context.caller, external_id, secret, settings_of(body), force=body.force
    )
    return 201 if is_new else 200, ExternalUpstreamKey.of(account)
