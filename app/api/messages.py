"""`/rentals/{id}/sms`: the messages of a rental, from our own store."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response
from sqlalchemy.ext.asyncio import AsyncConnection

from app.api.context import Context
from app.api.guards import RentalsReader
from app.api.paging import Cursor, Feed, Limit, Page, decoded, encoded, next_cursor, position
from app.api.rendered import UNCHANGED, rendered_of
from app.api.responses import UPSTREAM, GatewayRoute, problems
from app.errors import FieldError, InvalidRequest, RentalNotFound
from app.messages import repository as messages
from app.messages.schemas import Message
from app.messages.schemas import Scope as Scopes
from app.rentals import message_reads
from app.rentals import repository as rentals

router = APIRouter(tags=["messages"], route_class=GatewayRoute)

FEED, LIST = "sms", "sms-desc"


class MessageFeed(Feed[Message]):
    """Messages in the order of arrival; `next_cursor` is always there and goes on after the last one.

    `synced_at` is when all of the rental's messages were last read at the upstream, null if they never were.
    It stands still while some of them can't be read.
    """

    synced_at: datetime | None


class MessageList(Page[Message]):
    """Messages, the newest first."""


@router.get(
    "/rentals/{rental_id}/sms",
    summary="Read a rental's SMS",
    response_model=MessageFeed | MessageList,
    responses=problems(RentalNotFound, *UPSTREAM, also=UNCHANGED),
)
async def list_messages(
    rental_id: UUID,
    context: RentalsReader,
    scope: Annotated[
        Literal["all", "rented", "other"], Query(description="For the rented services, or for others.")
    ] = "all",
    order: Annotated[Literal["asc", "desc"], Query(description="`desc` gives a list, newest first.")] = "asc",
    refresh: Annotated[
        bool, Query(description="Look at the upstream first, at most once an interval for an account.")
    ] = False,
    wait: Annotated[
        float, Query(ge=0, le=60, description="Seconds to wait for a message, if there is none yet.")
    ] = 0,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """The SMS of a rental. As a feed: keep `next_cursor`, and ask with it for what came since; with `wait`
    the answer comes as soon as there is something.
    """
    services, caller = context.services, context.caller
    newest_first = order == "desc"
    if newest_first and wait:
        raise InvalidRequest(fields=(FieldError("query.wait", "Only a feed can be waited for."),))
    place = decoded(LIST if newest_first else FEED, cursor, position)
    looked = refresh and await services.refresher.refresh(caller, rental_id)
    wanted = _Wanted(rental_id, None if scope == "all" else scope, place, limit)
    if wait:
        await _wait(context, wanted, wait)
    if refresh or wait:
        services.notifications.note(rental_id)  # what was kept is from before

    asked = f"sms {scope} {order} {limit} {cursor}"
    async with services.notifications.some_at_a_time if wait else nullcontext():
        answer = await rendered_of(context.request).answer(
            context.request,
            caller.tenant_id,
            rental_id,
            asked,
            lambda: (_list if newest_first else _feed)(context, wanted),
            resource=None if refresh or wait else "sms",
        )
    services.metrics.read("sms", looked=looked)
    return answer


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which of a rental's messages are asked for.

    Attributes:
        scope: for the rented services, or for others; None for all.
        place: what the cursor tells: the position that a feed goes on after, or that a list goes on before.
    """

    rental_id: UUID
    scope: Scopes | None
    place: int | None
    limit: int


async def _list(context: Context, wanted: _Wanted) -> MessageList:
    """A page of a rental's messages, newest first.

    Raises:
        RentalNotFound: the tenant has no such rental.
    """
    async with _reading(context, wanted) as connection:
        rows = await messages.newest(
            connection,
            context.tenant_id,
            wanted.rental_id,
            scope=wanted.scope,
            before=wanted.place,
            limit=wanted.limit + 1,
        )
    return MessageList(
        items=[message for _, message in rows[: wanted.limit]],
        next_cursor=next_cursor(LIST, rows, wanted.limit, lambda row: row[0]),
    )


async def _feed(context: Context, wanted: _Wanted) -> MessageFeed:
    """What came of a rental's messages after a position, oldest first.

    Raises:
        RentalNotFound: the tenant has no such rental.
    """
    after = wanted.place or 0
    async with _reading(context, wanted) as connection:
        state = await message_reads.messages_state(connection, context.tenant_id, wanted.rental_id)
        rows = await messages.after(
            connection,
            context.tenant_id,
            wanted.rental_id,
            scope=wanted.scope,
            position=after,
            limit=wanted.limit + 1,
        )
    shown = rows[: wanted.limit]
    return MessageFeed(
        items=[message for _, message in shown],
        next_cursor=encoded(FEED, shown[-1][0] if shown else after),
        has_more=len(rows) > wanted.limit,
        synced_at=state.synced_at,
    )


@asynccontextmanager
async def _reading(context: Context, wanted: _Wanted) -> AsyncIterator[AsyncConnection]:
    async with context.reading() as connection:
        if not await rentals.existing(connection, context.tenant_id, [wanted.rental_id]):
            raise RentalNotFound
        yield connection


async def _wait(context: Context, wanted: _Wanted, seconds: float) -> None:
    """Wait until there is a message for a feed, for so long at most.

    Raises:
        RentalNotFound: the tenant has no such rental.
    """
    services, caller = context.services, context.caller
    deadline = time.monotonic() + seconds
    some_at_a_time = services.notifications.some_at_a_time
    async with some_at_a_time:
        rental = await services.rentals.get(caller, wanted.rental_id)
    with services.notifications.subscription(rental.id) as news:
        while (left := deadline - time.monotonic()) > 0 and not services.notifications.closing:
            async with some_at_a_time:
                async with context.reading() as connection:
                    if await messages.after(
                        connection,
                        caller.tenant_id,
                        rental.id,
                        scope=wanted.scope,
                        position=wanted.place or 0,
                        limit=1,
                    ):
                        return
                await services.refresher.want(caller, rental.upstream_key_id, rental.id, left)
            await news.wait(max(0.0, deadline - time.monotonic()))
