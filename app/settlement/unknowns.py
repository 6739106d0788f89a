"""Settles operations whose outcome is unknown, from the upstream's own list of orders.

Found is proof of success. Absence is proof of failure only after the upstream had the whole of
RENTGATE_RECONCILE_SECONDS to finish late, counted in time in which its list could be read. More than one
order that fits proves nothing: a person has to look. An order that turns up after all that still finds its
operation, so that nothing that was charged stays reported as failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit.caller import background
from app.database.pipeline import Query, run
from app.kinds.kind import Stranger
from app.kinds.registry import SPENDING, kind_of
from app.operations import ledger, lookup
from app.operations.operation import Operation
from app.operations.states import State
from app.rentals import importing, repository
from app.rentals.intake import LOOKS_TO_CLOSE
from app.settlement import outcomes
from app.settlement.matching import fitting, shows_effect
from app.upstream.rows import Listing
from app.upstream.wire import Order, PurchasedOrder

_NOBODYS = """
    select upstream_order_id, first_seen_at from upstream_orders
    where tenant_id = %(tenant_id)s and upstream_key_id = %(upstream_key_id)s
        and rental_id is null and status = 'listed'
"""

LONGEST_GAP, GAP_OF_INTERVALS = 120.0, 2.0
"""Seconds between two looks, and intervals between them, that still count as time in which the list could be
read.
"""


async def settle_from_list(
    connection: AsyncConnection,
    tenant_id: UUID,
    upstream_key_id: UUID,
    orders: Listing[Order],
    looked_from: datetime,
    *,
    reconcile_seconds: float,
    interval: float,
) -> list[Operation]:
    """Settle what a fresh list of an account's orders can settle, in the transaction that took it in.

    What a list shows is there. That it lacks something proves an absence only if it is complete, and if all
    that would show the operation's effect can be read in it.

    Args:
        interval: seconds between two looks at an account where something waits to be settled.

    Returns:
        the operations that were settled.
    """
    strangers = await _strangers(connection, tenant_id, upstream_key_id, orders.rows)
    listed = {order.order_id: order for order in orders}
    settled: list[Operation | None] = []
    for operation in await lookup.of_account(
        connection, tenant_id, upstream_key_id, State.SENT, State.UNKNOWN
    ):
        possible = fitting(operation, listed, strangers)
        fits = [order for orders in possible for order in orders]
        if operation.state is State.SENT or operation.sent_at is None or operation.sent_at >= looked_from:
            # Its answer is still to come, or the list may be older than the call. What it may have made is
            # nobody else's meanwhile.
            strangers = _without(strangers, fits)
        elif kind_of(operation).by_absence and operation.order.id not in listed:
            if orders.complete:
                settled.append(await _gone(connection, operation))
        elif len(possible) == 1:
            settled.append(await outcomes.made(connection, operation, _bought(fits)))
            strangers = _without(strangers, fits)
        elif possible:
            await outcomes.to_review(connection, operation, [_candidate(order) for order in fits])
            strangers = _without(strangers, fits)
        elif orders.complete and shows_effect(operation, listed, strangers):
            gap = max(LONGEST_GAP, GAP_OF_INTERVALS * interval)
            settled.append(
                await _absent(connection, operation, looked_from, reconcile_seconds, longest_gap=gap)
            )
    settled += await _join_late_orders(connection, tenant_id, upstream_key_id, listed, strangers)
    await _import_strangers(connection, tenant_id, upstream_key_id, listed)
    return [operation for operation in settled if operation is not None]


async def _gone(connection: AsyncConnection, operation: Operation) -> Operation | None:
    """Settle what the absence of its order proves. Gone from one list is not gone yet: as with any order,
    several have to agree.
    """
    closed = await repository.is_closed(
        connection, operation.tenant_id, operation.upstream_key_id, operation.order.id, LOOKS_TO_CLOSE
    )
    return await outcomes.made(connection, operation, ()) if closed else None


async def _join_late_orders(
    connection: AsyncConnection,
    tenant_id: UUID,
    upstream_key_id: UUID,
    listed: dict[str, Order],
    strangers: Sequence[Stranger],
) -> list[Operation | None]:
    """Join orders that turned up late to the operations that failed or went to review for want of them.

    Of several that fit, the one sent last before the order was seen gets it: they asked for the same thing,
    and one of them was made. The orders of a review are not late, and a person decides about them.
    """
    joined: list[Operation | None] = []
    for operation in await lookup.given_up(connection, tenant_id, upstream_key_id, SPENDING):
        reviewed = {candidate["upstream_order_id"] for candidate in operation.candidates or ()}
        possible = fitting(operation, listed, strangers)
        late = next((orders for orders in possible if reviewed.isdisjoint(o.order_id for o in orders)), None)
        if late is not None:
            joined.append(await outcomes.made_late(connection, operation, _bought(late)))
            strangers = _without(strangers, late)
    return joined


async def _import_strangers(
    connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID, listed: dict[str, Order]
) -> None:
    """Take up the orders that nobody has, and that no open operation may still turn out to have made."""
    strangers = await _strangers(connection, tenant_id, upstream_key_id, list(listed.values()))
    if not strangers:
        return
    for operation in await lookup.of_account(
        connection, tenant_id, upstream_key_id, State.SENT, State.UNKNOWN, State.REVIEW
    ):
        if not kind_of(operation).spends or operation.sent_at is None:
            continue
        if operation.state is State.REVIEW:
            reviewed = {candidate["upstream_order_id"] for candidate in operation.candidates or ()}
            strangers = [s for s in strangers if s.order.order_id not in reviewed]
            strangers = _without(strangers, [o for os in fitting(operation, listed, strangers) for o in os])
        else:
            strangers = [s for s in strangers if s.first_seen_at < operation.sent_at]
    await importing.take_up(
        connection, background(tenant_id), upstream_key_id, [stranger.order for stranger in strangers]
    )


def _bought(orders: Sequence[Order]) -> list[PurchasedOrder]:
    return [PurchasedOrder(o.order_id, o.phone_number, o.service, o.expires_at) for o in orders]


def _without(strangers: Sequence[Stranger], orders: Sequence[Order]) -> list[Stranger]:
    taken = {order.order_id for order in orders}
    return [stranger for stranger in strangers if stranger.order.order_id not in taken]


async def _strangers(
    connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID, orders: Sequence[Order]
) -> list[Stranger]:
    given = {"tenant_id": tenant_id, "upstream_key_id": upstream_key_id}
    seen = await run(connection, Query(_NOBODYS, given, lambda answer: dict(answer.rows)))
    return [Stranger(order, seen[order.order_id]) for order in orders if order.order_id in seen]


def _candidate(order: Order) -> dict[str, Any]:
    return {
        "upstream_order_id": order.order_id,
        "phone_number": order.phone_number,
        "service": order.service,
        "country": order.country,
        "expires_at": None if order.expires_at is None else order.expires_at.isoformat(),
    }


async def _absent(
    connection: AsyncConnection,
    operation: Operation,
    looked_from: datetime,
    reconcile_seconds: float,
    *,
    longest_gap: float,
) -> Operation | None:
    since = operation.absent_seen_at
    seconds = 0.0 if since is None else (looked_from - since).total_seconds()
    counted = seconds if 0.0 < seconds <= longest_gap else 0.0
    await ledger.count_absence(connection, operation, counted)
    if operation.absent_seconds + counted < reconcile_seconds:
        return None
    return await outcomes.not_made(connection, operation)
