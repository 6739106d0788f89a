"""`/operations`: every paid or changing call, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncConnection

from app.api.context import Context
from app.api.fields import FilterText, RequestBody
from app.api.guards import RentalsReader, RequirePlatform
from app.api.idempotency import IdempotentRoute
from app.api.paging import Page, Paging, paged
from app.api.problems import UpstreamSaid
from app.kinds.registry import KindName, kind_of
from app.operations import lookup
from app.operations.operation import Operation, error_of
from app.operations.states import State
from app.rentals import repository as rentals
from app.schemas import Money, View
from app.settlement.resolution import resolve

router = APIRouter(tags=["operations"], route_class=IdempotentRoute)


class OperationError(View):
    """Why an operation failed."""

    code: str
    detail: str
    upstream: UpstreamSaid | None = None
    required: Money | None = None


class Candidate(BaseModel):
    """An order of the upstream that could be what the operation made."""

    upstream_order_id: str
    phone_number: str | None
    service: str | None
    country: str | None
    expires_at: datetime | None


class OperationOut(BaseModel):
    """One paid or changing call of the upstream. `rental_id` is null where no rental came of it."""

    id: UUID
    kind: KindName
    state: State
    rental_id: UUID | None
    request: dict[str, Any]
    price: Money | None
    error: OperationError | None
    candidates: list[Candidate] | None
    created_at: datetime
    sent_at: datetime | None
    settled_at: datetime | None


class OperationList(Page[OperationOut]):
    """A page of operations."""


class Resolution(RequestBody):
    """How an operation in review turned out, and which of its candidates it made, if it succeeded."""

    outcome: Literal["succeeded", "failed"]
    upstream_order_id: Annotated[FilterText | None, Field(examples=["100001"])] = None


@router.get("/operations", summary="List operations")
async def list_operations(
    context: RentalsReader,
    paging: Annotated[Paging, paged("operations")],
    state: Annotated[State | None, Query()] = None,
    kind: Annotated[KindName | None, Query()] = None,
    rental_id: Annotated[UUID | None, Query()] = None,
) -> OperationList:
    """The tenant's operations, newest first."""
    async with context.reading() as connection:
        found = await lookup.listed(
            connection,
            context.tenant_id,
            state=state,
            kind=kind,
            rental_id=rental_id,
            limit=paging.fetch,
            before=paging.before,
        )
        items = await _shown(connection, context.tenant_id, found[: paging.limit])
    context.services.notifications.note(*{item.rental_id for item in items if item.rental_id is not None})
    return paging.page(OperationList, found, items)


@router.get("/operations/{operation_id}", summary="Read an operation")
async def get_operation(operation_id: UUID, context: RentalsReader) -> OperationOut:
    """One operation, and how it ended."""
    async with context.reading() as connection:
        found = await lookup.get(connection, context.tenant_id, operation_id)
        shown = (await _shown(connection, context.tenant_id, [found]))[0]
    context.services.notifications.note(found.rental_id)
    return shown


@router.post("/operations/{operation_id}/resolve", summary="Resolve an operation in review")
async def resolve_operation(
    operation_id: UUID,
    body: Resolution,
    context: Annotated[Context, Depends(RequirePlatform(in_tenant=True))],
) -> OperationOut:
    """Settle an operation in review as a person found it to be; for the administrator."""
    async with context.changing() as change:
        settled = await resolve(
            change.connection,
            context.caller,
            operation_id,
            succeeded=body.outcome == "succeeded",
            upstream_order_id=body.upstream_order_id,
        )
        shown = change.answer((await _shown(change.connection, context.tenant_id, [settled]))[0])
    context.services.notifications.note(settled.rental_id)
    return shown


async def _shown(
    connection: AsyncConnection, tenant_id: UUID, found: Sequence[Operation]
) -> list[OperationOut]:
    existing = await rentals.existing(connection, tenant_id, [operation.rental_id for operation in found])
    return [
        OperationOut.model_validate(
            {
                **asdict(operation),
                "rental_id": operation.rental_id if operation.rental_id in existing else None,
                "request": kind_of(operation).request.shown(operation.request),
                "error": error_of(operation) if operation.error else None,
            }
        )
        for operation in found
    ]
