"""The calls that spend on a living number: renting, one service more, and prolonging."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

from app.sandbox.methods.call import Call, Purchase, check_length, price_of, whole_number
from app.sandbox.options import MultiForm
from app.sandbox.refusals import Refusal
from app.sandbox.shop import COUNTRIES
from app.sandbox.world import DAY, Order

LAST_DAYS, MOST_DAYS_AT_ONCE = 7, 6
"""Prolonging is possible in the last days before the end; `prolong_max` takes so many at once."""


def create(call: Call) -> Purchase:
    """Rent a number for a service."""
    return _rental(call, (call.text("service"),), MultiForm.ORDERS)


def create_multi(call: Call) -> Purchase:
    """Rent one number for several services; the data is a row for each order."""
    return _rental(call, tuple(dict.fromkeys(call.text("services").split(","))), call.habits.multi)


def _rental(call: Call, services: tuple[str, ...], form: MultiForm) -> Purchase:
    world, account = call.world, call.own
    country, days = call.country(), call.days()
    check_length(country, call.known(services), days)
    operator = world.stock.operator_for(country, services, call.text("provider") or None)

    def make() -> list[Order]:
        number = world.new_number(COUNTRIES[country], operator)
        world.stock.take(country, services, operator)
        if form is MultiForm.ORDERS:
            return [world.new_order(account, number, service, days) for service in services]
        order = world.new_order(account, number, services[0], days, services[1:])
        order.rows = form is MultiForm.ROWS
        return [order]

    return Purchase(price_of(world, country, services, days), make, _rented)


def _rented(orders: Sequence[Order]) -> Any:
    return [
        {
            "id": order.id,
            "pnumber": order.number.national,
            "ccode": order.number.country.dial_code,
            "service": order.service,
            "until": str(int(order.until)),
        }
        for order in orders
    ]


def add_service(call: Call) -> Purchase:
    """Rent an order's number for another service: for `rent_days`, else to the order's end."""
    world, account, order = call.world, call.own, call.living()
    country, service, wanted = order.number.country.code, call.text("service"), call.text("rent_days")
    if call.text("pnumber") != whole_number(order):
        raise Refusal("Incorrect pnumber")
    call.known((service,))
    days = math.ceil((order.until - time.time()) / DAY)
    if wanted:
        days = int(wanted) if wanted.isdecimal() and len(wanted) < 5 else 0
        check_length(country, (service,), days)

    def make() -> list[Order]:
        child = world.new_order(account, order.number, service, days)
        if not wanted:
            child.until = order.until
        return [child]

    def told(orders: list[Order]) -> Any:
        (child,) = orders
        return {
            "id": child.id,
            "pnumber": whole_number(child),
            "service": child.service,
            "until": int(child.until),
        }

    return Purchase(price_of(world, country, (service,), days), make, told)


def prolong(call: Call) -> Purchase:
    """Prolong an order by weeks or months, in its last days."""
    order, days = call.living(), call.days()
    if order.until - time.time() > LAST_DAYS * DAY:
        raise Refusal("You can prolong number only if before expiring date left less 7 days")
    return _prolonging(call, order, days)


def prolong_max(call: Call) -> Purchase:
    """Prolong an order by some days, at any time."""
    order, days = call.living(), call.days()
    if call.text("dtype") != "day" or not 1 <= days <= MOST_DAYS_AT_ONCE:
        raise Refusal("Incorrect dtype or dcount")
    return _prolonging(call, order, days)


def _prolonging(call: Call, order: Order, days: int) -> Purchase:
    country = order.number.country
    if not country.prolongable:
        raise Refusal("Incorrect order")

    def make() -> list[Order]:
        order.until += days * DAY
        return [order]

    price = price_of(call.world, country.code, order.services, days)
    return Purchase(price, make, lambda orders: {"id": orders[0].id})
