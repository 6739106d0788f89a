"""Which orders of an account can be what an operation made. Pure: facts in, groups of orders out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.operations.ledger import Operation
from app.operations.states import Kind
from app.upstream.wire import NumberState, Order
from app.values import Period, PeriodUnit

END_TOLERANCE = timedelta(days=2)
"""How far an order's end may lie from what was asked for: months differ in length, and clocks in time."""

RUNNING = frozenset({NumberState.ACTIVATING, NumberState.ACTIVE})


@dataclass(frozen=True, slots=True)
class Stranger:
    """A listed order that no rental has, and when it was first seen."""

    order: Order
    first_seen_at: datetime


def fitting(
    operation: Operation, listed: Mapping[str, Order], strangers: Sequence[Stranger]
) -> list[list[Order]]:
    """The orders that could be what the operation made, grouped by number: each group is one possibility.

    Args:
        listed: all orders of the account, by id.
        strangers: those of them that nobody has.
    """
    if operation.sent_at is None:
        return []
    if operation.kind is Kind.CREATE:
        groups: dict[str, list[Order]] = {}
        for stranger in strangers:
            if _is_purchase(operation, operation.sent_at, stranger):
                number = stranger.order.phone_number or stranger.order.order_id
                groups.setdefault(number, []).append(stranger.order)
        return list(groups.values())
    order = listed.get(operation.request["upstream_order_id"])
    if operation.kind is Kind.ACTIVATE:
        return [[order]] if order is not None and order.state in RUNNING else []
    if order is not None:
        return [[order]]
    return [[s.order] for s in strangers if _is_restored(operation, operation.sent_at, s)]


def _is_purchase(operation: Operation, sent_at: datetime, stranger: Stranger) -> bool:
    """By country, service and end, and first seen since the call was sent."""
    request, order = operation.request, stranger.order
    if stranger.first_seen_at < sent_at:
        return False
    if order.service not in request["services"] or order.country not in (None, request["country"]):
        return False
    if order.expires_at is None:
        return True
    period = Period(PeriodUnit(request["period"]["unit"]), request["period"]["count"])
    return abs(order.expires_at - sent_at - timedelta(days=period.days)) <= END_TOLERANCE


def _is_restored(operation: Operation, sent_at: datetime, stranger: Stranger) -> bool:
    """By number and service, under a new id, and first seen since the call was sent."""
    request, order = operation.request, stranger.order
    return (
        stranger.first_seen_at >= sent_at
        and order.phone_number is not None
        and order.phone_number == request["phone_number"]
        and order.service == request["service"]
    )
