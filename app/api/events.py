"""`/rentals/{id}/events`: the history of a rental."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from app.api.auth import Require, services_of
from app.api.paging import Cursor, Limit, Page, after_id, next_cursor
from app.api.responses import problems
from app.audit.caller import Caller
from app.database import Access
from app.errors import RentalNotFound
from app.events import repository as events
from app.events.types import EventType
from app.rentals import repository as rentals
from app.tenants.scopes import Scope
from app.wiring import Services

router = APIRouter(tags=["events"])

CURSOR = "events"


class Event(BaseModel):
    """Something that happened; `data` is the rental, or the message for `sms.received`."""

    id: UUID
    type: EventType
    timestamp: datetime
    rental_id: UUID | None
    actor: str
    data: dict[str, Any]


class EventList(Page[Event]):
    """A page of events."""


@router.get(
    "/rentals/{rental_id}/events", summary="Read a rental's history", responses=problems(RentalNotFound)
)
async def list_rental_events(
    rental_id: UUID,
    caller: Annotated[Caller, Depends(Require(Scope.RENTALS_READ))],
    services: Annotated[Services, Depends(services_of)],
    limit: Limit = 50,
    cursor: Cursor = None,
) -> EventList:
    """What happened to a rental, when, and by whom; newest first."""
    before = after_id(CURSOR, cursor)
    async with services.database.transaction(Access.tenant(caller.tenant_id)) as connection:
        if not await rentals.existing(connection, caller.tenant_id, [rental_id]):
            raise RentalNotFound
        rows = await events.of_rental(connection, caller.tenant_id, rental_id, limit=limit + 1, before=before)
    items = [
        Event(
            id=row.id,
            type=row.type,
            timestamp=row.timestamp,
            rental_id=row.rental_id,
            actor=row.actor,
            data=row.data,
        )
        for row in rows[:limit]
    ]
    return EventList(items=items, next_cursor=next_cursor(CURSOR, rows, limit, lambda row: row.id))
