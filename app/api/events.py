"""`/events`: what happened to a tenant's rentals, as a feed and as a stream; and one rental's history."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Query, Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from app.api.auth import reauthenticate
from app.api.context import Context
from app.api.fields import FilterText
from app.api.guards import RentalsReader
from app.api.paging import (
    Cursor,
    Feed,
    Limit,
    Page,
    Paging,
    decoded,
    encoded,
    paged,
    position,
)
from app.api.responses import GatewayRoute, problems
from app.errors import CursorExpired, FieldError, InvalidRequest, RateLimited, RentalNotFound, RentgateError
from app.events import repository as events
from app.events.repository import Row
from app.events.types import EventType
from app.rentals import repository as rentals
from app.schemas import View

router = APIRouter(tags=["events"], route_class=GatewayRoute)

FEED = "feed"
STREAM = "text/event-stream"
STREAMS_PER_TENANT = 50
"""Streams that one process keeps open for a tenant."""

HEARTBEAT_SECONDS = 15
PIECE = 100
"""Events that a stream reads at once."""


class Event(View):
    """Something that happened; `data` is the rental, or the message for `sms.received`."""

    id: UUID
    type: EventType
    timestamp: datetime
    rental_id: UUID | None
    actor: str
    data: dict[str, Any]


class EventList(Page[Event]):
    """A page of events."""


class EventFeed(Feed[Event]):
    """Events in the order of their commit; `next_cursor` is always there and goes on after the last one."""


@router.get(
    "/events",
    summary="Follow events",
    response_model=EventFeed,
    responses={
        200: {
            "content": {
                STREAM: {
                    "schema": {"type": "string"},
                    "example": 'id: ZmVlZDox\nevent: sms.received\ndata: {"type": "sms.received", …}\n\n',
                }
            }
        },
        **problems(CursorExpired),
    },
)
async def list_events(
    context: RentalsReader,
    types: Annotated[
        FilterText | None, Query(description="Only these types, with commas in between.")
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
    last_event_id: Annotated[
        str | None,
        Header(max_length=200, description="Where a stream goes on: the `id` of the last event it gave."),
    ] = None,
) -> Response | EventFeed:
    """The tenant's events, each once and none left out, in the order of their commit. As a feed: keep
    `next_cursor`, and ask with it for what came since. With `Accept: text/event-stream` as a stream: each
    event's `id` is a cursor, `Last-Event-ID` goes on after it, and without one the stream starts now.
    """
    wanted = _types(types)
    kept = timedelta(days=context.services.settings.events_kept_days)
    streaming = accept is not None and STREAM in accept.lower()
    place = decoded(FEED, last_event_id or cursor if streaming else cursor, position)
    async with context.reading() as connection:
        if place is not None:
            await events.check_position(connection, context.tenant_id, place, kept)
        elif streaming:
            place = await events.newest_position(connection, context.tenant_id)
        else:
            place = await events.position_before_kept(connection, context.tenant_id, kept)
        if not streaming:
            rows = await events.after(connection, context.tenant_id, place, types=wanted, limit=limit + 1)
    if streaming:
        return _stream(context, place, wanted)
    items = [Event.model_validate(row) for row in rows[:limit]]
    context.services.notifications.note(*{item.rental_id for item in items if item.rental_id is not None})
    last = rows[:limit][-1].position if items else place
    return EventFeed(items=items, next_cursor=encoded(FEED, last), has_more=len(rows) > limit)


def _types(text: str | None) -> frozenset[EventType] | None:
    if text is None:
        return None
    try:
        return frozenset(EventType(name.strip()) for name in text.split(","))
    except ValueError:
        known = ", ".join(sorted(EventType))
        raise InvalidRequest(fields=(FieldError("query.types", f"The types are {known}."),)) from None


def _stream(context: Context, place: int, types: frozenset[EventType] | None) -> Response:
    """A stream from a position on, until its caller goes, or may not read any more.

    Raises:
        RateLimited: the tenant has too many of them.
    """
    tenant_id, notifications = context.tenant_id, context.services.notifications
    open_streams: Counter[UUID] = context.request.app.state.streams
    if open_streams[tenant_id] >= STREAMS_PER_TENANT:
        raise RateLimited("The tenant has too many streams open.", retry_after=HEARTBEAT_SECONDS)

    async def read(after: int) -> tuple[Sequence[Row], int]:
        """What comes next, and the place behind it; events of other types are not looked through again."""
        async with notifications.some_at_a_time, context.reading() as connection:
            newest = await events.newest_position(connection, tenant_id)
            rows = await events.after(connection, tenant_id, after, types=types, limit=PIECE)
        return rows, rows[-1].position if rows else max(after, newest)

    async def told(after: int) -> AsyncIterator[ServerSentEvent]:
        open_streams[tenant_id] += 1
        try:
            with notifications.subscription(tenant_id) as news:
                while not notifications.closing:
                    await reauthenticate(context.request)
                    rows, after = await read(after)
                    notifications.note(*{row.rental_id for row in rows if row.rental_id is not None})
                    for row in rows:
                        yield ServerSentEvent(
                            data=Event.model_validate(row).model_dump_json(),
                            event=row.type,
                            id=encoded(FEED, row.position),
                        )
                    if not rows:
                        await news.wait(HEARTBEAT_SECONDS)
        except RentgateError:
            return  # the caller comes again with its Last-Event-ID, and is told what is wrong
        finally:
            open_streams[tenant_id] -= 1

    return EventSourceResponse(told(place), ping=HEARTBEAT_SECONDS, headers={"Cache-Control": "no-store"})


@router.get(
    "/rentals/{rental_id}/events", summary="Read a rental's history", responses=problems(RentalNotFound)
)
async def list_rental_events(
    rental_id: UUID, context: RentalsReader, paging: Annotated[Paging, paged("events")]
) -> EventList:
    """What happened to a rental, when, and by whom; newest first."""
    async with context.reading() as connection:
        if not await rentals.existing(connection, context.tenant_id, [rental_id]):
            raise RentalNotFound
        rows = await events.of_rental(
            connection, context.tenant_id, rental_id, limit=paging.fetch, before=paging.before
        )
    context.services.notifications.note(rental_id)
    return paging.page(EventList, rows)
