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


def shows_effect(operation: Operation, listed: Mapping[str, Order], unreadable: Sequence[Stranger]) -> bool:
    """Whether a complete list would show what the present step made: nothing that could be it is unreadable.

    Args:
        unreadable: orders that nobody has and whose service can't be read.
    """
    match operation.kind:
        case Kind.CREATE | Kind.ADD_SERVICE | Kind.RESTORE:
            return not unreadable
        case Kind.ACTIVATE:
            order = listed.get(operation.order["id"])
            return order is None or order.state is not None
        case Kind.PROLONG:
            order = listed.get(operation.order["id"])
            return order is None or order.expires_at is not None
        case Kind.DELETE:
            return True


def _is_purchase(operation: Operation, sent_at: datetime, stranger: Stranger) -> bool:
    """By country, service and end, and first seen since the call was sent."""
    request, order = operation.request, stranger.order
    if stranger.first_seen_at < sent_at:
        return False
    if order.service not in request["services"] or not _is_of(request["country"], order):
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
        and order.service == operation.order["service"]
    )


def _is_added(operation: Operation, order: Order) -> bool:
    """By number and service, and not among the orders that the account showed before."""
    request = operation.request
    return (
        order.phone_number == request["phone_number"]
        and order.service == request["service"]
        and order.order_id not in request["known_orders"]
    )


def _is_prolonged(operation: Operation, order: Order) -> bool:
    """By its end, which has moved by about the period since before the call."""
    if order.expires_at is None:
        return False
    moved = order.expires_at - datetime.fromisoformat(operation.order["expires_at"])
    days = timedelta(days=period_of(operation).days)
    return moved > timedelta(0) and abs(moved - days) <= min(END_TOLERANCE, days / 2)
