"""Which orders of an account can be what an operation made. Pure: facts in, groups of orders out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.operations.operation import Operation
from app.operations.states import Kind
from app.rentals.calls import period_of
from app.upstream.wire import NumberState, Order

END_TOLERANCE = timedelta(days=2)
"""How far an order's end may lie from what was asked for: months differ in length, and clocks in time."""

_DIGITS = "0123456789"

RUNNING = frozenset({NumberState.ACTIVATING, NumberState.ACTIVE})


@dataclass(frozen=True, slots=True)
class Stranger:
    """A listed order that no rental has, and when it was first seen."""

    order: Order
    first_seen_at: datetime


def fitting(
    operation: Operation, listed: Mapping[str, Order], strangers: Sequence[Stranger]
) -> list[list[Order]]:
    """The orders that could be what the present step made, grouped by number: each group is a possibility.

    Args:
        listed: all orders of the account, by id.
        strangers: those of them that nobody has.
    """
    sent_at = operation.sent_at
    if sent_at is None:
        return []
    match operation.kind:
        case Kind.CREATE:
            groups: dict[str, list[Order]] = {}
            for stranger in strangers:
                if _is_purchase(operation, sent_at, stranger):
                    number = stranger.order.phone_number or stranger.order.order_id
                    groups.setdefault(number, []).append(stranger.order)
            return list(groups.values())
        case Kind.RESTORE:
            same = listed.get(operation.order["id"])
            if same is not None:
                return [[same]]
            return [[s.order] for s in strangers if _is_restored(operation, sent_at, s)]
        case Kind.ADD_SERVICE:
            return [[order] for order in listed.values() if _is_added(operation, order)]
        case Kind.ACTIVATE:
            order = listed.get(operation.order["id"])
            return [[order]] if order is not None and order.state in RUNNING else []
        case Kind.PROLONG:
            order = listed.get(operation.order["id"])
            return [[order]] if order is not None and _is_prolonged(operation, order) else []
        case Kind.DELETE:
            return []  # what shows it is an absence


def shows_effect(operation: Operation, listed: Mapping[str, Order], strangers: Sequence[Stranger]) -> bool:
    """Whether a complete list would show what the present step made: nothing in it that could be the effect
    has a field that can't be read and that would tell.

    Args:
        strangers: orders that nobody has.
    """
    sent_at = operation.sent_at
    match operation.kind:
        case Kind.CREATE | Kind.ADD_SERVICE | Kind.RESTORE:
            return sent_at is None or not any(_may_be_made(operation, sent_at, one) for one in strangers)
        case Kind.ACTIVATE:
            order = listed.get(operation.order["id"])
            return order is None or order.state is not None
        case Kind.PROLONG:
            order = listed.get(operation.order["id"])
            return order is None or order.expires_at is not None
        case Kind.DELETE:
            return True


def _may_be_made(operation: Operation, sent_at: datetime, stranger: Stranger) -> bool:
    """Whether an order that doesn't fit could be what a purchase, a restore or an added service made, since
    its service or its number can't be read.
    """
    request, order = operation.request, stranger.order
    match operation.kind:
        case Kind.CREATE:
            wanted, number = set(request["services"]), None
        case Kind.RESTORE:
            wanted, number = {operation.order["service"]}, request["phone_number"]
        case _:
            wanted, number = {request["service"]}, request["phone_number"]
    if operation.kind is Kind.ADD_SERVICE:
        is_new = order.order_id not in request["known_orders"]
    else:
        is_new = stranger.first_seen_at >= sent_at
    service_hidden = order.service is None
    number_hidden = number is not None and order.phone_number is None
    if not is_new or not (service_hidden or number_hidden):
        return False
    service_may_be = service_hidden or not wanted.isdisjoint(order.codes)
    return service_may_be and (number is None or number_hidden or order.phone_number == number)


def _is_purchase(operation: Operation, sent_at: datetime, stranger: Stranger) -> bool:
    """By country, service and end, and first seen since the call was sent."""
    request, order = operation.request, stranger.order
    if stranger.first_seen_at < sent_at:
        return False
    if order.codes.isdisjoint(request["services"]) or not _is_of(request["country"], order):
        return False
    if order.expires_at is None:
        return True
    return abs(order.expires_at - sent_at - timedelta(days=period_of(operation).days)) <= END_TOLERANCE


def _is_of(country: str, order: Order) -> bool:
    """Whether an order may be of a country. Those of a pool such as `US3` may well be listed as of `US`: what
    isn't known for another's must not be lost.
    """
    return order.country is None or order.country.rstrip(_DIGITS) == country.rstrip(_DIGITS)


def _is_restored(operation: Operation, sent_at: datetime, stranger: Stranger) -> bool:
    """By number and service, under a new id, and first seen since the call was sent."""
    order = stranger.order
    return (
        stranger.first_seen_at >= sent_at
        and order.phone_number is not None
        and order.phone_number == operation.request["phone_number"]
        and operation.order["service"] in order.codes
    )


def _is_added(operation: Operation, order: Order) -> bool:
    """By number and service: an order that the account did not show before, or one that it did and that now
    stands for the service as well. The rental did not have that before, or the call had not been made.
    """
    request = operation.request
    if order.phone_number != request["phone_number"] or request["service"] not in order.codes:
        return False
    return order.order_id not in request["known_orders"] or len(order.codes) > 1


def _is_prolonged(operation: Operation, order: Order) -> bool:
    """By its end, which has moved by about the period since before the call."""
    if order.expires_at is None:
        return False
    moved = order.expires_at - datetime.fromisoformat(operation.order["expires_at"])
    days = timedelta(days=period_of(operation).days)
    return moved > timedelta(0) and abs(moved - days) <= min(END_TOLERANCE, days / 2)
