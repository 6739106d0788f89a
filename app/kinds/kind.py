"""What a kind of operation says of itself: its request, its call, what shows its effect, and what it changes.

`operations/` and `settlement/` ask a kind for these, and name none. The functions of `Effects` run in the
settling transaction, after the operation itself was settled.
"""

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
from app.rentals import repository
from app.rentals.schemas import Rental
from app.upstream.wire import Order, PurchasedOrder

END_TOLERANCE = timedelta(days=2)
"""How far an order's end may lie from what was asked for: months differ in length, and clocks in time."""


@dataclass(frozen=True, slots=True)
class Stranger:
    """A listed order that no rental has, and when it was first seen."""

    order: Order
    first_seen_at: datetime


Listed = Mapping[str, Order]
"""All orders of an account, by id."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """How an account's list shows what a step did; pure. `datetime` is when its call was sent.

    Attributes:
        fitting: the orders that could be what the step made, grouped by number: each group is a possibility.
        would_show: whether a complete list would show what the step made: nothing in it that could be the
            effect has a field that can't be read and that would tell.
        by_absence: whether the effect is that the step's order is gone from the list.
    """

    fitting: Callable[[Operation, datetime, Listed, Sequence[Stranger]], list[list[Order]]]
    would_show: Callable[[Operation, datetime, Listed, Sequence[Stranger]], bool]
    by_absence: bool = False


async def _nothing_done(
    _connection: AsyncConnection, _operation: Operation, _orders: Sequence[PurchasedOrder]
) -> None:
    """For steps whose result only a list can tell."""


async def _free(connection: AsyncConnection, operation: Operation, _error: RentgateError) -> None:
    """The rental stays as it was, and is free for another operation."""
    await free(connection, operation)


async def _nothing_open(_connection: AsyncConnection, _operation: Operation) -> None:
    """For rentals that exist: they show since the intent that an operation on them is open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """What a kind of operation changes.

    Attributes:
        step_done: after each step; it is given the orders that the step made, as far as that is known.
        done: after the last step; it is given an event to announce instead of the usual one, or None, and
            gives the rental as it was announced, or None if there is nothing to announce of it.
        failed: when nothing was done.
        left_open: when its caller is told that the outcome is open.
        in_review: when a person has to tell the outcome.
    """

    step_done: Callable[[AsyncConnection, Operation, Sequence[PurchasedOrder]], Awaitable[None]] = (
        _nothing_done
    )
    done: Callable[[AsyncConnection, Operation, EventType | None], Awaitable[Rental | None]]
    failed: Callable[[AsyncConnection, Operation, RentgateError], Awaitable[None]] = _free
    left_open: Callable[[AsyncConnection, Operation], Awaitable[None]] = _nothing_open
    in_review: Callable[[AsyncConnection, Operation], Awaitable[None]] = _nothing_open


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of operation.

    Attributes:
        name: as rows and callers know it.
        spends: whether it costs money, and so is held against the tenant's limit.
        status: the HTTP status of its success; what answers 201 has a `Location`.
        request: what it is asked to do.
        call: the upstream call of an operation's present step.
    """

    name: str
    spends: bool
    status: int
    request: type[Request]
    call: Callable[[Operation], Call]
    evidence: Evidence
    effects: Effects


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
    return await repository.announce(connection, operation.caller, event, operation.rental_id)


async def save_order(connection: AsyncConnection, operation: Operation, **values: Any) -> None:
    """Change the row of the order that the present step was about."""
    await repository.save_order(
        connection, operation.tenant_id, operation.upstream_key_id, operation.order.id, **values
    )
