"""What a kind of operation says of itself. `operations/` and `settlement/` ask it, and name none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import RentgateError
from app.events.types import EventType
from app.operations.call import Call
from app.operations.operation import Operation
from app.operations.request import Request
from app.rentals import repository, views
from app.rentals.schemas import Rental
from app.upstream.wire import Order, PurchasedOrder

END_TOLERANCE = timedelta(days=2)
"""How far an order's end may lie from what was asked for: months differ in length, and clocks in time."""


@dataclass(frozen=True, slots=True)
class Stranger:
    """A listed order that no rental has, and when it was first seen."""

    order: Order
    first_seen_at: datetime


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of an operation's present step, whose call was sent.

    Attributes:
        listed: all orders of the account, by id.
        strangers: those of them that nobody has.
    """

    operation: Operation
    sent_at: datetime
    listed: Mapping[str, Order]
    strangers: Sequence[Stranger]

    @property
    def same(self) -> Order | None:
        """The order that the step is about, as it is listed."""
        return self.listed.get(self.operation.order.id)

    @property
    def new(self) -> list[Order]:
        """The orders that nobody has, and that were first seen since the call was sent."""
        return [one.order for one in self.strangers if one.first_seen_at >= self.sent_at]


def _nothing_fits(_evidence: Evidence) -> list[list[Order]]:
    """For steps that make and move no order."""
    return []


def _always_shows(_evidence: Evidence) -> bool:
    """For steps whose effect no field has to tell."""
    return True


async def _nothing_done(
    _c: AsyncConnection, _operation: Operation, _orders: Sequence[PurchasedOrder]
) -> None:
    """For steps whose result only a list can tell."""


async def _nothing_open(_c: AsyncConnection, _operation: Operation) -> None:
    """For rentals that exist: they show since the intent that an operation on them is open."""


async def _free(connection: AsyncConnection, operation: Operation, _error: RentgateError) -> None:
    """The rental stays as it was, and is free for another operation."""
    await free(connection, operation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of operation. What it changes is written by the settling transaction, after the operation.

    Attributes:
        name: as rows and callers know it.
        spends: whether it costs money, and so is held against the tenant's limit.
        status: the HTTP status of its success; what answers 201 has a `Location`.
        request: what it is asked to do, and what callers are shown of that.
        call: the upstream call of an operation's present step.
        fitting: the orders that could be what the step made, grouped by number: each group is a possibility.
        would_show: whether a complete list would show what the step made: nothing in it that could be the
            effect has a field that can't be read and that would tell.
        by_absence: whether what shows the effect is that the step's order is gone from the list.
        step_done: after each step; it is given the orders that the step made, as far as that is known.
        done: after the last step; it is given an event to announce instead of the usual one, or None, and
            gives the rental as it was announced, or None if there is nothing to announce of it.
        failed: when nothing was done.
        left_open: when its caller is told that the outcome is open.
        in_review: when a person has to tell the outcome.
    """

    name: str
    spends: bool
    status: int
    request: type[Request]
    call: Callable[[Operation], Call]
    fitting: Callable[[Evidence], list[list[Order]]] = _nothing_fits
    would_show: Callable[[Evidence], bool] = _always_shows
    by_absence: bool = False
    step_done: Callable[[AsyncConnection, Operation, Sequence[PurchasedOrder]], Awaitable[None]] = (
        _nothing_done
    )
    done: Callable[[AsyncConnection, Operation, EventType | None], Awaitable[Rental | None]]
    failed: Callable[[AsyncConnection, Operation, RentgateError], Awaitable[None]] = _free
    left_open: Callable[[AsyncConnection, Operation], Awaitable[None]] = _nothing_open
    in_review: Callable[[AsyncConnection, Operation], Awaitable[None]] = _nothing_open


def may_hide(order: Order, services: Set[str | None], number: str | None) -> bool:
    """Whether an order that doesn't fit could be of one of these services and of this number, if any, since
    its own service or number can't be read.
    """
    service_hidden = order.service is None
    number_hidden = number is not None and order.phone_number is None
    if not (service_hidden or number_hidden):
        return False
    service_may_be = service_hidden or not services.isdisjoint(order.codes)
    return service_may_be and (number is None or number_hidden or order.phone_number == number)


async def free(connection: AsyncConnection, operation: Operation, **values: Any) -> None:
    """The rental is free for another operation, and has these values from now on."""
    await repository.update(
        connection, operation.tenant_id, operation.rental_id, pending_operation_id=None, **values
    )


async def announce(connection: AsyncConnection, operation: Operation, event: EventType) -> Rental:
    """Write an event about the rental, which it shows as it is now; returns that."""
    return await views.announce(connection, operation.caller, event, operation.rental_id)


async def save_order(connection: AsyncConnection, operation: Operation, **values: Any) -> None:
    """Change the row of the order that the present step was about."""
    await repository.save_order(
        connection, operation.tenant_id, operation.upstream_key_id, operation.order.id, **values
    )
