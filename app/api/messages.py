"""`/rentals/{id}/sms`: the messages of a rental, from our own store."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from app.api.auth import Require, services_of
from app.api.paging import Cursor, Feed, Limit, Page, decoded, encoded, next_cursor, position
from app.api.responses import UPSTREAM, problems
from app.audit.caller import Caller
from app.database import Access
from app.errors import RentalNotFound
from app.messages import repository as messages
from app.messages.schemas import Message
from app.rentals import repository as rentals
from app.tenants.scopes import Scope
from app.wiring import Services

router = APIRouter(tags=["messages"])

FEED, LIST = "sms", "sms-desc"


class MessageFeed(Feed[Message]):
    """Messages in the order of arrival; `next_cursor` is always there and goes on after the last one."""


class MessageList(Page[Message]):
    """Messages, the newest first."""


@router.get(
    "/rentals/{rental_id}/sms", summary="Read a rental's SMS", responses=problems(RentalNotFound, *UPSTREAM)
)
async def list_messages(
    rental_id: UUID,
    caller: Annotated[Caller, Depends(Require(Scope.RENTALS_READ))],
    services: Annotated[Services, Depends(services_of)],
    scope: Annotated[
        Literal["all", "rented", "other"], Query(description="For the rented services, or for others.")
    ] = "all",
    order: Annotated[Literal["asc", "desc"], Query(description="`desc` gives a list, newest first.")] = "asc",
    refresh: Annotated[
        bool, Query(description="Look at the upstream first, at most once an interval for an account.")
    ] = False,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> MessageFeed | MessageList:
    """The SMS of a rental. As a feed: keep `next_cursor`, and ask with it for what came since."""
    newest_first = order == "desc"
    place = decoded(LIST if newest_first else FEED, cursor, position)
    if refresh:
        await services.looker.refresh(caller, rental_id)
    wanted = None if scope == "all" else scope
    async with services.database.transaction(Access.tenant(caller.tenant_id)) as connection:
        if not await rentals.existing(connection, caller.tenant_id, [rental_id]):
            raise RentalNotFound
        if newest_first:
            rows = await messages.newest(
                connection, caller.tenant_id, rental_id, scope=wanted, before=place, limit=limit + 1
            )
        else:
            rows = await messages.after(
                connection, caller.tenant_id, rental_id, scope=wanted, position=place or 0, limit=limit + 1
            )
    items = [message for _, message in rows[:limit]]
    if newest_first:
        following = next_cursor(LIST, rows, limit, lambda row: row[0])
        return MessageList(items=items, next_cursor=following)
    last = rows[:limit][-1][0] if items else place or 0
    return MessageFeed(items=items, next_cursor=encoded(FEED, last), has_more=len(rows) > limit)
