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
from app.kinds.kind import END_TOLERANCE, Evidence, Kind, free
from app.kinds.prices import Quote
from app.operations.call import Call
from app.operations.operation import Operation
from app.operations.request import Amount
from app.rentals import auto_prolong, repository
from app.rentals.repository import Row
from app.upstream.wire import Order
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
    quote = Quote.of(offers, period).within(max_price)
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
    order_id, period = operation.order.id, ProlongRequest.of(operation.request).period
    if period.unit is PeriodUnit.DAY:
        days = period.count
        return Call(
            "prolong_max",
            lambda client, key, by: client.prolong_max(key, order_id=order_id, days=days, send_by=by),
        )
    return Call(
        "prolong", lambda client, key, by: client.prolong(key, order_id=order_id, period=period, send_by=by)
    )


def _fitting(evidence: Evidence) -> list[list[Order]]:
    """By its end, which has moved by about the period since before the call."""
    order, before = evidence.same, evidence.operation.order.expires_at
    if order is None or order.expires_at is None or before is None:
        return []
    moved = order.expires_at - before
    days = timedelta(days=ProlongRequest.of(evidence.operation.request).period.days)
    is_prolonged = moved > timedelta(0) and abs(moved - days) <= min(END_TOLERANCE, days / 2)
    return [[order]] if is_prolonged else []


def _would_show(evidence: Evidence) -> bool:
    return evidence.same is None or evidence.same.expires_at is not None


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
    fitting=_fitting,
    would_show=_would_show,
    done=_done,
    failed=_failed,
)
