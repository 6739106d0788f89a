"""Settles operations whose outcome is unknown, from the upstream's own list of orders.

Found is proof of success. Absence is proof of failure only after the upstream had the whole of
RENTGATE_RECONCILE_SECONDS to finish late, counted in time in which its list could be read. More than one
order that fits proves nothing: a person has to look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import PurchaseNotMade
from app.events.types import EventType
from app.operations import ledger
from app.operations.ledger import Operation
from app.operations.states import Kind, State
from app.rentals import repository, settlement
from app.rentals.models import upstream_orders
from app.upstream.wire import NumberState, Order
from app.values import Period, PeriodUnit

END_TOLERANCE = timedelta(days=2)
"""How far an order's end may lie from what was asked for: months differ in length, and clocks in time."""

LONGEST_GAP = 120.0
"""Seconds between two looks that still count as time in which the list could be read."""


@dataclass(frozen=True, slots=True)
class Stranger:
    """A listed order that no rental has, and when it was first seen."""

    order: Order
    first_seen_at: datetime


async def settle_from_list(
    connection: AsyncConnection,
    tenant_id: UUID,
    upstream_key_id: UUID,
    orders: Sequence[Order],
    looked_from: datetime,
    *,
    reconcile_seconds: float,
) -> None:
    """Settle what a fresh list of an account's orders can settle, in the transaction that took it in."""
    unknown = await ledger.of_account(connection, tenant_id, upstream_key_id, State.UNKNOWN)
    if not unknown:
        return
    strangers = await _strangers(connection, tenant_id, upstream_key_id, orders)
    listed = {order.order_id: order for order in orders}
    for operation in unknown:
        if operation.sent_at is None or operation.sent_at >= looked_from:
            continue  # the list may be older than the call
        fitting = _fitting(operation, listed, strangers)
        if len(fitting) == 1:
            await _found(connection, operation, fitting[0])
            strangers = [s for s in strangers if s.order not in fitting[0]]
        elif fitting:
            await _ambiguous(connection, operation, fitting)
        else:
            await _absent(connection, operation, looked_from, reconcile_seconds)


def _fitting(
    operation: Operation, listed: dict[str, Order], strangers: Sequence[Stranger]
) -> list[list[Order]]:
    """The orders, grouped by number, each group of which could be what the operation made."""
    if operation.kind is Kind.ACTIVATE:
        order = listed.get(operation.request["upstream_order_id"])
        running = order is not None and order.state in (NumberState.ACTIVATING, NumberState.ACTIVE)
        return [[order]] if order is not None and running else []
    if operation.kind is Kind.RESTORE:
        order = listed.get(operation.request["upstream_order_id"])
        if order is not None:
            return [[order]]
        return [[stranger.order] for stranger in strangers if restore_fits(operation, stranger)]
    groups: dict[str, list[Order]] = {}
    for stranger in strangers:
        if purchase_fits(operation, stranger):
            number = stranger.order.phone_number or stranger.order.order_id
            groups.setdefault(number, []).append(stranger.order)
    return list(groups.values())


def purchase_fits(operation: Operation, stranger: Stranger) -> bool:
    """Whether an order can be what a purchase made: its country, service, end, and time of appearance."""
    request, order = operation.request, stranger.order
    if operation.sent_at is None or stranger.first_seen_at < operation.sent_at:
        return False
    if order.service not in request["services"] or order.country not in (None, request["country"]):
        return False
    if order.expires_at is None:
        return True
    period = Period(PeriodUnit(request["period"]["unit"]), request["period"]["count"])
    expected = operation.sent_at + timedelta(days=period.days)
    return abs(order.expires_at - expected) <= END_TOLERANCE


def restore_fits(operation: Operation, stranger: Stranger) -> bool:
    """Whether an order can be the restored one under a new id: the same number and service, seen since."""
    request, order = operation.request, stranger.order
    return (
        operation.sent_at is not None
        and stranger.first_seen_at >= operation.sent_at
        and order.phone_number is not None
        and order.phone_number == request["phone_number"]
        and order.service == request["service"]
    )


async def _strangers(
    connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID, orders: Sequence[Order]
) -> list[Stranger]:
    query = sa.select(upstream_orders.c.upstream_order_id, upstream_orders.c.first_seen_at).where(
        upstream_orders.c.tenant_id == tenant_id,
        upstream_orders.c.upstream_key_id == upstream_key_id,
        upstream_orders.c.rental_id.is_(None),
        upstream_orders.c.status == "listed",
    )
    seen: dict[str, datetime] = {row[0]: row[1] for row in await connection.execute(query)}
    return [Stranger(order, seen[order.order_id]) for order in orders if order.order_id in seen]


async def _found(connection: AsyncConnection, operation: Operation, orders: Sequence[Order]) -> None:
    settled = await ledger.settle(connection, operation, State.SUCCEEDED)
    if settled is None:
        return
    if settled.kind is Kind.CREATE:
        await settlement.purchased(
            connection,
            settled,
            [settlement.BoughtOrder(o.order_id, o.phone_number, o.service, o.expires_at) for o in orders],
        )
    elif settled.kind is Kind.ACTIVATE:
        await settlement.activated(connection, settled)
    else:
        await settlement.restored(connection, settled, orders[0].order_id, orders[0].expires_at)


async def _ambiguous(
    connection: AsyncConnection, operation: Operation, groups: Sequence[Sequence[Order]]
) -> None:
    candidates = [_candidate(order) for orders in groups for order in orders]
    settled = await ledger.settle(connection, operation, State.REVIEW, candidates=candidates)
    if settled is not None:
        await repository.update(connection, settled.tenant_id, settled.rental_id, status="review")
        await repository.announce(connection, settled.caller, EventType.RENTAL_REVIEW, settled.rental_id)


def _candidate(order: Order) -> dict[str, Any]:
    return {
        "upstream_order_id": order.order_id,
        "phone_number": order.phone_number,
        "service": order.service,
        "country": order.country,
        "expires_at": None if order.expires_at is None else order.expires_at.isoformat(),
    }


async def _absent(
    connection: AsyncConnection, operation: Operation, looked_from: datetime, reconcile_seconds: float
) -> None:
    since = operation.absent_seen_at
    seconds = 0.0 if since is None else (looked_from - since).total_seconds()
    counted = seconds if 0.0 < seconds <= LONGEST_GAP else 0.0
    await ledger.count_absence(connection, operation, counted)
    if operation.absent_seconds + counted >= reconcile_seconds:
        await give_up(connection, operation)


async def give_up(connection: AsyncConnection, operation: Operation) -> None:
    """Close an operation that is proven not to have been carried out."""
    error = PurchaseNotMade(operation_id=str(operation.id))
    settled = await ledger.settle(connection, operation, State.FAILED, error=error)
    if settled is None:
        return
    failed = {
        Kind.CREATE: settlement.purchase_failed,
        Kind.ACTIVATE: settlement.activation_failed,
        Kind.RESTORE: settlement.restore_failed,
    }[settled.kind]
    await failed(connection, settled, error)
