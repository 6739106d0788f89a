"""Renting a rental's number for another service too."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit.caller import Caller
from app.database import Access
from app.errors import FieldError, InvalidRequest, OperationPending, RentalNotActive
from app.events.types import EventType
from app.idempotency.repository import Claim
from app.kinds.changes import ChangeRequest, Changes, Outcome, living, require_known_ends, step_of
from app.kinds.kind import Evidence, Kind, announce, free, may_hide
from app.kinds.prices import Quote, days_left, offered_period
from app.operations.call import Call
from app.operations.operation import Operation
from app.operations.request import Amount
from app.rentals import repository
from app.rentals.repository import Row
from app.rentals.schemas import Rental
from app.upstream.client import UpstreamClient
from app.upstream.wire import Offer, Order, PurchasedOrder
from app.values import Period, PeriodUnit

WEEK = Period(PeriodUnit.WEEK, 1)
"""The period whose price of a day is taken for a rental of which nobody knows how long it was bought for."""


class AddServiceRequest(ChangeRequest):
    """What adding a service is asked to do.

    Attributes:
        days: for how long; until the rental's end if None.
        known_orders: the orders of the number that the account showed before.
    """

    service: str
    service_name: str | None
    days: int | None = None
    phone_number: str
    country: str | None
    known_orders: tuple[str, ...]
    max_price: Amount | None = None


async def add_service(
    changes: Changes,
    caller: Caller,
    rental_id: UUID,
    service: str,
    *,
    max_price: Decimal | None,
    claim: Claim | None,
    days: int | None = None,
) -> Outcome:
    """Rent a rental's number for another service too.

    Args:
        days: for how long; until the rental's end if None.

    Raises:
        ServiceUnknown: the country has no such service.
        InvalidRequest: the rental has it already.
        RentgateError: nothing was added, and why.
    """
    rental, present = await changes.with_ends(caller, rental_id)
    end = present[0].expires_at
    offer, price = await _price(changes, caller, rental, service, days=days, end=end)
    quote = Quote((price,)).within(max_price)
    async with changes.database.transaction(Access.tenant(caller.tenant_id)) as connection:
        known = await repository.order_ids_of_number(
            connection, caller.tenant_id, rental.upstream_key_id, rental.phone_number
        )

    def request_for(rental: Row, orders: Sequence[Row]) -> AddServiceRequest:
        first = living(rental, orders)[0]
        if days is None:  # then the price hangs on the end
            require_known_ends([first])
            if first.expires_at != end:
                raise OperationPending("The rental's end has just moved, and so the price.", retry_after=1)
        return AddServiceRequest(
            orders=(step_of(first, price),),
            service=service,
            service_name=offer.name if offer else None,
            days=days,
            phone_number=_number_to_add_to(rental, service),
            country=rental.country,
            known_orders=tuple(known),
            max_price=max_price,
        )

    return await changes.run(
        caller, KIND, rental_id, request_for, claim=claim, price=quote.total, read_back=True
    )


def _number_to_add_to(rental: Row, service: str) -> str:
    """The rental's number.

    Raises:
        RentalNotActive: the upstream doesn't tell it, and what was made could not be recognized.
        InvalidRequest: the rental has the service already.
    """
    if rental.phone_number is None:
        raise RentalNotActive("The upstream doesn't tell the rental's number.")
    if any(rented["code"] == service for rented in rental.services):
        raise InvalidRequest(fields=(FieldError("body.service", "The rental has this service already."),))
    number: str = rental.phone_number
    return number


async def _price(
    changes: Changes, caller: Caller, rental: Row, service: str, *, days: int | None, end: datetime | None
) -> tuple[Offer | None, Decimal | None]:
    """A service's offer, and what so many days of it cost, or those to the end; None for what is not told. A
    day until the end costs what it does for the period that the rental was bought for.
    """
    if days is not None:
        bought = offered_period(days)
    elif rental.period_unit:
        bought = Period(PeriodUnit(rental.period_unit), rental.period_count)
    else:
        bought = WEEK
    (offer,) = await changes.offers(caller, rental, bought, [service], required=True)
    paid_days = days_left(end) if days is None and end is not None else days
    return offer, None if offer is None or paid_days is None else offer.price_per_day * paid_days


def _call(operation: Operation) -> Call:
    request = AddServiceRequest.of(operation.request)

    async def make(client: UpstreamClient, api_key: str, send_by: float) -> tuple[PurchasedOrder, ...]:
        made = await client.add_service(
            api_key,
            order_id=operation.order.id,
            service=request.service,
            phone_number=request.phone_number,
            days=request.days,
            send_by=send_by,
        )
        return () if made is None else (made,)

    return Call("add_service_to_order", make)


def _fitting(evidence: Evidence) -> list[list[Order]]:
    """By number and service: an order that the account did not show before, or one that it did and that now
    stands for the service as well. The rental did not have that before, or the call had not been made.
    """
    request = AddServiceRequest.of(evidence.operation.request)
    return [
        [order]
        for order in evidence.listed.values()
        if order.phone_number == request.phone_number
        and request.service in order.codes
        and (order.order_id not in request.known_orders or len(order.codes) > 1)
    ]


def _would_show(evidence: Evidence) -> bool:
    request = AddServiceRequest.of(evidence.operation.request)
    new = [s.order for s in evidence.strangers if s.order.order_id not in request.known_orders]
    return not any(may_hide(order, {request.service}, request.phone_number) for order in new)


async def _service_added(
    connection: AsyncConnection, operation: Operation, orders: Sequence[PurchasedOrder]
) -> None:
    """The number has another service. The order for it may not be known yet: the next list shows it."""
    request = AddServiceRequest.of(operation.request)
    for order in orders:
        if order.order_id in request.known_orders:
            continue  # it stands for the new service beside its own, as the list tells
        await repository.save_order(
            connection,
            operation.tenant_id,
            operation.upstream_key_id,
            order.order_id,
            rental_id=operation.rental_id,
            service=order.service or request.service,
            service_name=request.service_name,
            phone_number=request.phone_number,
            country=request.country,
            expires_at=order.expires_at,
        )


async def _done(connection: AsyncConnection, operation: Operation, event: EventType | None) -> Rental:
    request = AddServiceRequest.of(operation.request)
    rental = await repository.locked(connection, operation.tenant_id, operation.rental_id)
    added = {"code": request.service, "name": request.service_name}
    services = [*(s for s in rental.services if s["code"] != added["code"]), added]
    rows = await repository.orders_of(connection, operation.tenant_id, operation.rental_id)
    ends = [row.expires_at for row in rows if row.status == "listed" and row.expires_at]
    await free(connection, operation, services=services, expires_at=min(ends, default=rental.expires_at))
    return await announce(connection, operation, event or EventType.RENTAL_SERVICE_ADDED)


KIND = Kind(
    name="add_service",
    spends=True,
    status=201,
    request=AddServiceRequest,
    call=_call,
    fitting=_fitting,
    would_show=_would_show,
    step_done=_service_added,
    done=_done,
)
