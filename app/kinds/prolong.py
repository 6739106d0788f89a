"""Prolonging a rental, by hand or by its own plan: each of its orders by the same period."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit.caller import Caller
from app.database import Access
from app.errors import RentgateError, UpstreamBadResponse
from app.events.types import EventType
from app.idempotency.repository import Claim
from app.kinds.changes import ChangeRequest, Changes, Outcome, living, require_known_ends, step_of
from app.kinds.kind import END_TOLERANCE, Effects, Evidence, Kind, Listed, Stranger, free
from app.kinds.prices import Quote
from app.operations.call import Call
from app.operations.operation import Operation
from app.operations.request import Amount
from app.rentals import auto_prolong, repository
from app.rentals.repository import Row
from app.upstream.client import UpstreamClient
from app.upstream.wire import Order, PurchasedOrder
from app.values import Period, PeriodUnit


class ProlongRequest(ChangeRequest):
    """What prolonging is asked to do; `automatic` tells whether by the rental's own plan."""

    period: Period
    max_price: Amount | None = None
    automatic: bool = False


async def prolong(
    changes: Changes,
    caller: Caller,
    rental_id: UUID,
    period: Period,
    *,
    max_price: Decimal | None,
    claim: Claim | None,
    automatic_for: datetime | None = None,
) -> Outcome:
    """Prolong a rental; whether it can be is the upstream's to say.

    Args:
        automatic_for: by its own plan, for this end, once.

    Raises:
        PriceAboveMax: it would cost more than `max_price` (US dollars).
        RentgateError: nothing was prolonged, and why.
    """
    rental, present = await changes.with_ends(caller, rental_id)
    offers = await changes.offers(caller, rental, period, [order.service for order in present])
    quote = Quote.of(offers).within(max_price)
    prices = dict(zip((order.upstream_order_id for order in present), quote.parts, strict=True))

    def request_for(rental: Row, orders: Sequence[Row]) -> ProlongRequest:
        prolonged = living(rental, orders)
        if any(order.expires_at is None for order in prolonged):
            raise UpstreamBadResponse("The upstream doesn't tell when the rental ends. Nothing was sent.")
        require_known_ends(prolonged)  # which are what will tell whether the call was made
        return ProlongRequest(
            orders=tuple(step_of(order, prices.get(order.upstream_order_id)) for order in prolonged),
            period=period,
            max_price=max_price,
            automatic=automatic_for is not None,
        )

    return await changes.run(
        caller,
        KIND,
        rental_id,
        request_for,
        claim=claim,
        price=quote.total,
        read_back=True,
        noting=None if automatic_for is None else partial(auto_prolong.tried, end=automatic_for),
    )


async def prolong_by_plan(changes: Changes, caller: Caller, rental_id: UUID) -> None:
    """Prolong a rental that ends soon as its tenant wants it to be, unless somebody did so meanwhile."""
    access = Access.tenant(caller.tenant_id)
    async with changes.database.transaction(access) as connection:
        rental = await repository.locked(connection, caller.tenant_id, rental_id)
    plan, end = auto_prolong.plan_of(rental), rental.expires_at
    if plan is None:
        return
    try:
        await prolong(
            changes,
            caller,
            rental_id,
            plan.period,
            max_price=plan.max_price,
            claim=None,
            automatic_for=end,
        )
    except RentgateError as error:
        async with changes.database.transaction(access) as connection:
            rental = await repository.locked(connection, caller.tenant_id, rental_id)
            if auto_prolong.plan_of(rental) is not None:  # else what became of the operation was told
                await auto_prolong.failed(connection, caller, rental_id, error, end=end)


def _call(operation: Operation) -> Call:
    """`prolong_max` for days, `prolong` for weeks and months."""
    period = ProlongRequest.of(operation.request).period

    async def by_days(client: UpstreamClient, api_key: str, send_by: float) -> tuple[PurchasedOrder, ...]:
        order_id = operation.order.id
        await client.prolong_max(api_key, order_id=order_id, days=period.count, send_by=send_by)
        return ()

    async def by_more(client: UpstreamClient, api_key: str, send_by: float) -> tuple[PurchasedOrder, ...]:
        await client.prolong(api_key, order_id=operation.order.id, period=period, send_by=send_by)
        return ()

    return Call("prolong_max", by_days) if period.unit is PeriodUnit.DAY else Call("prolong", by_more)


def _fitting(
    operation: Operation, _sent_at: datetime, listed: Listed, _strangers: Sequence[Stranger]
) -> list[list[Order]]:
    order = listed.get(operation.order.id)
    return [[order]] if order is not None and _is_prolonged(operation, order) else []


def _is_prolonged(operation: Operation, order: Order) -> bool:
    """By its end, which has moved by about the period since before the call."""
    before = operation.order.expires_at
    if order.expires_at is None or before is None:
        return False
    moved = order.expires_at - before
    days = timedelta(days=ProlongRequest.of(operation.request).period.days)
    return moved > timedelta(0) and abs(moved - days) <= min(END_TOLERANCE, days / 2)


def _would_show(
    operation: Operation, _sent_at: datetime, listed: Listed, _strangers: Sequence[Stranger]
) -> bool:
    order = listed.get(operation.order.id)
    return order is None or order.expires_at is not None


async def _done(connection: AsyncConnection, operation: Operation, _event: EventType | None) -> None:
    """The new end is read back with the next list, which also announces it: it is never computed."""
    await repository.outdate_ends(connection, operation.tenant_id, operation.rental_id)
    await free(connection, operation)


async def _failed(connection: AsyncConnection, operation: Operation, error: RentgateError) -> None:
    """The upstream may still finish it late: what the end was before has to be seen anew."""
    await repository.outdate_ends(connection, operation.tenant_id, operation.rental_id)
    await free(connection, operation)
    if ProlongRequest.of(operation.request).automatic:
        never_sent = operation.sent_at is None
        await auto_prolong.failed(
            connection, operation.caller, operation.rental_id, error, never_sent=never_sent
        )


KIND = Kind(
    name="prolong",
    spends=True,
    status=200,
    request=ProlongRequest,
    call=_call,
    evidence=Evidence(_fitting, _would_show),
    effects=Effects(done=_done, failed=_failed),
)
