"""Restoring a rental after its end, for the price that the upstream quotes."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit.caller import Caller
from app.errors import OperationPending, RentalNotActive, RentgateError, RestoreNotAvailable
from app.events.types import EventType
from app.idempotency.repository import Claim
from app.kinds.changes import ChangeRequest, Changes, Outcome, step_of
from app.kinds.kind import Evidence, Kind, announce, free, may_hide, save_order
from app.kinds.prices import Quote
from app.operations.call import Call
from app.operations.operation import Operation
from app.operations.request import Amount
from app.rentals import repository
from app.rentals.repository import Row
from app.rentals.schemas import Rental
from app.upstream.client import UpstreamClient
from app.upstream.wire import NumberState, Order, PurchasedOrder, RestoreQuote


class RestoreRequest(ChangeRequest):
    """What restoring is asked to do, and how the order may be known under a new id."""

    phone_number: str | None
    max_price: Amount | None = None


async def restore_quote(changes: Changes, caller: Caller, rental_id: UUID) -> RestoreQuote:
    """What restoring a rental would cost now: all its orders, told of the first.

    Raises:
        RentgateError: the rental can't be restored, and why.
    """
    quotes = await _quotes(changes, caller, rental_id)
    return quotes[0].costing(sum((quote.price for quote in quotes), Decimal(0)))


async def _quotes(changes: Changes, caller: Caller, rental_id: UUID) -> list[RestoreQuote]:
    rental, orders = await changes.read_whole(caller, rental_id)
    return [
        await changes.calls.read(
            caller,
            rental.upstream_key_id,
            "restore_user_precalc",
            lambda client, api_key, order_id=order.upstream_order_id: client.restore_quote(  # type: ignore[misc]
                api_key, order_id=order_id
            ),
        )
        for order in _restorable(rental, orders)
    ]


async def restore(
    changes: Changes, caller: Caller, rental_id: UUID, *, max_price: Decimal | None, claim: Claim | None
) -> Outcome:
    """Restore a rental after its end, once, for the price that is quoted now.

    Raises:
        PriceAboveMax: the quote is higher than `max_price` (US dollars).
        RentgateError: nothing was restored, and why.
    """
    quotes = await _quotes(changes, caller, rental_id)
    prices = {quote.order_id: quote.price for quote in quotes}
    quote = Quote(tuple(prices.values())).within(max_price)

    def request_for(rental: Row, orders: Sequence[Row]) -> RestoreRequest:
        restored = _restorable(rental, orders)
        return RestoreRequest(
            orders=tuple(step_of(order, prices.get(order.upstream_order_id)) for order in restored),
            phone_number=rental.phone_number,
            max_price=max_price,
        )

    return await changes.run(
        caller, KIND, rental_id, request_for, claim=claim, price=quote.total, read_back=True
    )


def _restorable(rental: Row, orders: Sequence[Row]) -> list[Row]:
    """The orders that restoring is about: those that have ended; of a rental that lives, the first, so that
    the upstream says what it thinks of it.
    """
    if rental.status in ("pending", "review"):
        raise OperationPending(retry_after=5)
    if not orders:
        raise RentalNotActive("Nothing was bought for this rental, so there is nothing to restore.")
    return [order for order in orders if order.status == "expired"] or list(orders[:1])


def _call(operation: Operation) -> Call:
    async def make(client: UpstreamClient, api_key: str, send_by: float) -> tuple[PurchasedOrder, ...]:
        order_id = operation.order.id
        restored = await client.restore(api_key, order_id=order_id, send_by=send_by)
        return (PurchasedOrder(restored.order_id or order_id, None, None, None),)

    return Call("restore_user", make)


def _fitting(evidence: Evidence) -> list[list[Order]]:
    """The order itself, that is back; or what it may be under a new id, by number and service."""
    if evidence.same is not None:
        return [[evidence.same]]
    number = RestoreRequest.of(evidence.operation.request).phone_number
    service = evidence.operation.order.service
    return [[o] for o in evidence.new if number and o.phone_number == number and service in o.codes]


def _would_show(evidence: Evidence) -> bool:
    number = RestoreRequest.of(evidence.operation.request).phone_number
    return not any(may_hide(order, {evidence.operation.order.service}, number) for order in evidence.new)


async def _restored(
    connection: AsyncConnection, operation: Operation, orders: Sequence[PurchasedOrder]
) -> None:
    """An order lives again, perhaps under a new id. Its new end is read back with the next list."""
    old_id = operation.order.id
    rental = await repository.locked(connection, operation.tenant_id, operation.rental_id)
    rows = await repository.orders_of(connection, operation.tenant_id, operation.rental_id)
    old = next(row for row in rows if row.upstream_order_id == old_id)
    new = orders[0]
    if new.order_id != old_id:
        await save_order(connection, operation, status="replaced")
    await repository.save_order(
        connection,
        operation.tenant_id,
        operation.upstream_key_id,
        new.order_id,
        rental_id=operation.rental_id,
        service=old.service,
        service_name=old.service_name,
        phone_number=rental.phone_number,
        country=rental.country,
        number_state=NumberState.INACTIVE.value,
        expires_at=new.expires_at,
        missed_looks=0,
        status="listed",
    )


async def _done(connection: AsyncConnection, operation: Operation, event: EventType | None) -> Rental:
    rows = await repository.orders_of(connection, operation.tenant_id, operation.rental_id)
    await free(
        connection,
        operation,
        status="active",
        number_state=NumberState.INACTIVE.value,
        expires_at=min((row.expires_at for row in rows if row.expires_at), default=None),
        restorable=None,
        synced_at=sa.func.clock_timestamp(),
    )
    return await announce(connection, operation, event or EventType.RENTAL_RESTORED)


async def _failed(connection: AsyncConnection, operation: Operation, error: RentgateError) -> None:
    """The rental was not restored; that it never can be is remembered."""
    final = {"restorable": False} if error.code == RestoreNotAvailable.code else {}
    await free(connection, operation, **final)


KIND = Kind(
    name="restore",
    spends=True,
    status=200,
    request=RestoreRequest,
    call=_call,
    fitting=_fitting,
    would_show=_would_show,
    step_done=_restored,
    done=_done,
    failed=_failed,
)
