"""The archive: orders that have ended or were given up, and how some of them come back."""

from __future__ import annotations

import math
import time
from decimal import Decimal
from typing import Any

from app.sandbox.methods.call import Call, Purchase, whole_number
from app.sandbox.methods.catalog import number
from app.sandbox.options import HistoryForm
from app.sandbox.refusals import Refusal, documented
from app.sandbox.shop import SERVICES
from app.sandbox.world import DAY, Order, World

LONGEST_OVERDUE, DOWN_PAYMENT_DAYS = 30, 30
PAGE = 10


def history(call: Call) -> Any:
    """A page of the archive."""
    skip, take = call.text("skip") or "0", call.text("take") or str(PAGE)
    if not all(written.isdecimal() and len(written) < 10 for written in (skip, take)):
        raise Refusal("Incorrect skip or take")
    rows = [order for order in call.world.archive.values() if order.account is call.account]
    newest_first = call.habits.history is not HistoryForm.OLDEST_FIRST
    rows.sort(key=lambda order: (order.until, order.id), reverse=newest_first)
    first = 0 if call.habits.history is HistoryForm.SKIP_IGNORED else int(skip)
    return [_entry(order) for order in rows[first : first + int(take)]]


def _entry(order: Order) -> dict[str, Any]:
    return {
        "orderId": order.id,
        "resourceCode": order.service,
        "number": whole_number(order),
        "branchId": 1,
        "haveSms": bool(order.number.messages),
        "isAvailForRestore": _hindrance(order) is None,
        "days": round((order.until - order.begin) / DAY),
        "country": order.number.country.code,
        "begin": int(order.begin),
        "end": int(order.until),
        "closed": int(order.closed or order.until),
    }


def restore_quote(call: Call) -> Any:
    """What restoring an order would cost now."""
    order = _restorable(call)
    return {
        "ccode": order.number.country.code,
        "scode": order.service,
        "price": number(_price(call.world, order)),
        "sname": SERVICES[order.service],
        "pnumber": whole_number(order),
        "outdays": _overdue_days(order),
        "orderid": order.id,
        "prolongTo": DOWN_PAYMENT_DAYS,
    }


def restore(call: Call) -> Purchase:
    """Restore an order from the archive; its number sleeps."""
    world, order = call.world, _restorable(call)

    def make() -> list[Order]:
        order.number.active_from = None
        if call.habits.restore_new_id:
            days = DOWN_PAYMENT_DAYS
            order.restored = True
            return [world.new_order(order.account, order.number, order.service, days, order.also)]
        order.until, order.closed = time.time() + DOWN_PAYMENT_DAYS * DAY, None
        world.living[order.id] = world.archive.pop(order.id)
        return [order]

    price = _price(world, order)
    return Purchase(price, make, lambda orders: {"id": orders[0].id}, documented("NOBALANCE", str(price)))


def _restorable(call: Call) -> Order:
    order_id, world = call.order_id(), call.world
    order = world.living.get(order_id) or world.archive.get(order_id)
    if order is None:
        raise Refusal(documented("NOREMOTEDATA"))
    if order.account is not call.account:
        raise Refusal(documented("NOTOWNER"))
    hindrance = _hindrance(order)
    if hindrance is not None:
        raise Refusal(documented(hindrance))
    return order


def _hindrance(order: Order) -> str | None:
    """Why an order can't be restored; None if it can."""
    if order.given_up or order.restored:
        return "NOREMOTEDATA"
    if order.restore_error is not None:
        return order.restore_error
    if order.closed is None:
        return "DATEDIFFINVERT"
    return "NOAVAILDAYS" if _overdue_days(order) > LONGEST_OVERDUE else None


def _overdue_days(order: Order) -> int:
    return math.ceil((time.time() - order.until) / DAY)


def _price(world: World, order: Order) -> Decimal:
    """Overdue days without discount, and a down payment from 30 days."""
    days = _overdue_days(order) + DOWN_PAYMENT_DAYS
    a_day = (world.price_of_day(order.number.country.code, service, 1) for service in order.services)
    return sum(a_day, Decimal(0)) * days
