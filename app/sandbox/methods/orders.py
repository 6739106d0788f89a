"""The upstream's methods, each on the sandbox's world; a refusal carries the upstream's own words."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from app.sandbox.shop import COUNTRIES, SERVICES
from app.sandbox.world import DAY, Account, Arrived, Order, Refusal, World

Parameters = Mapping[str, str]

UNIT_DAYS = {"day": 1, "week": 7, "month": 30}
LAST_DAYS, LONGEST_OVERDUE, DOWN_PAYMENT_DAYS = 7, 30, 30


def perform(world: World, method: str, parameters: Parameters) -> Any:
    """Do what a call asks for and return its `data`.

    Raises:
        Refusal: with the message that the upstream would give.
    """
    world.settle()
    if method in KEYLESS:
        return KEYLESS[method](world, parameters)
    if method not in KEYED:
        raise Refusal("Incorrect method")
    account = world.accounts.get(parameters.get("apikey", ""))
    if account is None:
        raise Refusal("Invalid apikey")
    return KEYED[method](world, account, parameters)


def _countries(_world: World, _parameters: Parameters) -> Any:
    return [
        {"name": country.name, "code": country.code, "rent_switch_type": country.switch_type}
        for country in COUNTRIES.values()
    ]


def _offers(world: World, parameters: Parameters) -> Any:
    country, days = _country(parameters), _days(parameters)
    return [
        {
            "name": name,
            "service": service,
            "price_day": str(world.price_of_day(country, service, days)),
            "count": world.in_stock(country, service),
        }
        for service, name in SERVICES.items()
    ]


def _offers_with_operators(world: World, parameters: Parameters) -> Any:
    rows = _offers(world, parameters)
    for row in rows:
        total = row["count"]
        row["count"] = {"any": total - total // 2, "vodafone": total // 2, "totalCount": total}
    return rows


def _create(world: World, account: Account, parameters: Parameters) -> Any:
    return _rent(world, account, "create", parameters, [parameters.get("service", "")])[0]


def _create_multi(world: World, account: Account, parameters: Parameters) -> Any:
    return _rent(world, account, "create_multi", parameters, parameters.get("services", "").split(","))


def _rent(
    world: World, account: Account, method: str, parameters: Parameters, services: list[str]
) -> list[dict[str, Any]]:
    country, days = _country(parameters), _days(parameters)
    if not 7 <= days <= 90:
        raise Refusal("Incorrect duration count. Min 7 days. Max 90 days.")
    if not all(service in SERVICES for service in services):
        raise Refusal("Service not found")
    if any(world.in_stock(country, service) < 1 for service in services):
        raise Refusal("No numbers available")
    price = sum((world.price_of_day(country, service, days) * days for service in services), Decimal(0))
    first = world.next_id
    world.charge(account, method, price, list(range(first, first + len(services))))
    number = world.new_number(COUNTRIES[country])
    made = []
    for service in services:
        world.stock[country, service] = world.in_stock(country, service) - 1
        made.append(_purchased(world.new_order(account, number, service, days)))
    return made


def _purchased(order: Order) -> dict[str, Any]:
    return {
        "id": order.id,
        "pnumber": order.number.national,
        "ccode": order.number.country.dial_code,
        "service": order.service,
        "until": int(order.until),
    }


def _orders(world: World, account: Account, _parameters: Parameters) -> Any:
    now = time.time()
    return [
        {
            "id": order.id,
            "scode": order.service,
            "sname": SERVICES[order.service],
            "state": order.number.state(now),
            "pnumber": order.number.national,
            "ccode": order.number.country.dial_code,
            "cname": order.number.country.code,
            "hasnewsms": len(order.number.messages) > order.seen,
            "until": int(order.until),
            "canprolong": order.until - now < LAST_DAYS * DAY,
            "canprolongmax": 6,
            "canprolonguntil": int(order.until + 162 * DAY),
            "lastonline": int(order.number.active_from or order.begin),
        }
        for order in world.living.values()
        if order.account is account
    ]


def _sms(world: World, account: Account, parameters: Parameters) -> Any:
    order = _living(world, account, parameters)
    order.seen = len(order.number.messages)

    def shown(messages: list[Arrived]) -> list[dict[str, Any]]:
        return [
            {"text": message.text, "sender": message.sender, "date": int(message.at)}
            if message.dated
            else {"text": message.text}
            for message in messages
        ]

    messages = order.number.messages
    return {
        "SmsList": shown([message for message in messages if message.service == order.service]),
        "OtherSms": shown([message for message in messages if message.service != order.service]),
    }


def _activate(world: World, account: Account, parameters: Parameters) -> Any:
    order = _living(world, account, parameters)
    world.activate(order)
    return {"id": order.id}


def _delete(world: World, account: Account, parameters: Parameters) -> Any:
    order = _living(world, account, parameters)
    order.closed = True
    world.archive[order.id] = world.living.pop(order.id)
    return {"id": order.id}


def _prolong(world: World, account: Account, parameters: Parameters) -> Any:
    order, days = _living(world, account, parameters), _days(parameters)
    if order.until - time.time() > LAST_DAYS * DAY:
        raise Refusal("You can prolong number only if before expiring date left less 7 days")
    return _prolonged(world, order, "prolong", days)


def _prolong_max(world: World, account: Account, parameters: Parameters) -> Any:
    order, days = _living(world, account, parameters), _days(parameters)
    if parameters.get("dtype") != "day" or not 1 <= days <= 6:
        raise Refusal("Incorrect dtype or dcount")
    return _prolonged(world, order, "prolong_max", days)


def _prolonged(world: World, order: Order, method: str, days: int) -> dict[str, Any]:
    price = world.price_of_day(order.number.country.code, order.service, days) * days
    world.charge(order.account, method, price, [order.id])
    order.until += days * DAY
    return {"id": order.id}


def _add_service(world: World, account: Account, parameters: Parameters) -> Any:
    order = _living(world, account, parameters)
    country, service = order.number.country, parameters.get("service", "")
    if parameters.get("pnumber") != country.dial_code.lstrip("+") + order.number.national:
        raise Refusal("Incorrect pnumber")
    if service not in SERVICES:
        raise Refusal("Service not found")
    days = math.ceil((order.until - time.time()) / DAY)
    price = world.price_of_day(country.code, service, days) * days
    world.charge(account, "add_service_to_order", price, [world.next_id])
    child = world.new_order(account, order.number, service, days)
    child.until = order.until
    return _purchased(child)


def _history(world: World, account: Account, parameters: Parameters) -> Any:
    try:
        skip, take = int(parameters.get("skip", "0")), int(parameters.get("take", "20"))
    except ValueError:
        raise Refusal("Incorrect skip or take") from None
    rows = [order for order in world.archive.values() if order.account is account]
    rows.sort(key=lambda order: (order.until, order.id), reverse=True)
    return [_entry(order) for order in rows[skip : skip + take]]


def _entry(order: Order) -> dict[str, Any]:
    country = order.number.country
    return {
        "orderId": order.id,
        "resourceCode": order.service,
        "number": country.dial_code.lstrip("+") + order.number.national,
        "branchId": 1,
        "haveSms": bool(order.number.messages),
        "days": round((order.until - order.begin) / DAY),
        "country": country.code,
        "begin": int(order.begin),
        "end": int(order.until),
        "closed": order.closed,
    }


def _restore_precalc(world: World, account: Account, parameters: Parameters) -> Any:
    order = _archived(world, account, parameters)
    country = order.number.country
    overdue = _overdue_days(order)
    return {
        "ccode": country.code,
        "scode": order.service,
        "price": str(_restore_price(world, order)),
        "sname": SERVICES[order.service],
        "pnumber": country.dial_code.lstrip("+") + order.number.national,
        "outdays": overdue,
        "orderid": order.id,
        "prolongTo": DOWN_PAYMENT_DAYS,
    }


def _restore(world: World, account: Account, parameters: Parameters) -> Any:
    order = _archived(world, account, parameters)
    price = _restore_price(world, order)
    if account.balance < price:
        raise Refusal(f"NOBALANCE {price}")
    world.charge(account, "restore_user", price, [order.id])
    order.until = time.time() + DOWN_PAYMENT_DAYS * DAY
    order.number.active_from = None
    world.living[order.id] = world.archive.pop(order.id)
    return True


def _overdue_days(order: Order) -> int:
    return math.ceil((time.time() - order.until) / DAY)


def _restore_price(world: World, order: Order) -> Decimal:
    """Overdue days without discount, and a down payment from 30 days."""
    return world.price_of_day(order.number.country.code, order.service, 1) * (
        _overdue_days(order) + DOWN_PAYMENT_DAYS
    )


def _living(world: World, account: Account, parameters: Parameters) -> Order:
    order = world.living.get(_id(parameters))
    if order is None or order.account is not account:
        raise Refusal("order not found")
    return order


def _archived(world: World, account: Account, parameters: Parameters) -> Order:
    order_id = _id(parameters)
    order = world.living.get(order_id) or world.archive.get(order_id)
    if order is None or order.closed:
        raise Refusal("NOREMOTEDATA")
    if order.account is not account:
        raise Refusal("NOTOWNER")
    if order.restore_error is not None:
        raise Refusal(order.restore_error)
    if order_id in world.living:
        raise Refusal("DATEDIFFINVERT")
    if _overdue_days(order) > LONGEST_OVERDUE:
        raise Refusal("NOAVAILDAYS")
    return order


def _id(parameters: Parameters) -> int:
    written = parameters.get("id", "")
    if not written.isdecimal() or len(written) > 18:
        raise Refusal("incorrect order id")
    return int(written)


def _country(parameters: Parameters) -> str:
    country = parameters.get("country", "")
    if country not in COUNTRIES:
        raise Refusal("Incorrect country")
    return country


def _days(parameters: Parameters) -> int:
    unit, count = parameters.get("dtype", ""), parameters.get("dcount", "")
    if unit not in UNIT_DAYS or not count.isdecimal() or not 1 <= int(count[:4]) <= 365:
        raise Refusal("Incorrect dtype or dcount")
    return UNIT_DAYS[unit] * int(count)


KEYLESS: Mapping[str, Callable[[World, Parameters], Any]] = {
    "getcountries": _countries,
    "getdata": _offers,
    "getdataWithProviders": _offers_with_operators,
}

KEYED: Mapping[str, Callable[[World, Account, Parameters], Any]] = {
    "create": _create,
    "create_multi": _create_multi,
    "orders": _orders,
    "sms": _sms,
    "activate": _activate,
    "delete": _delete,
    "prolong": _prolong,
    "prolong_max": _prolong_max,
    "add_service_to_order": _add_service,
    "get_rent_history": _history,
    "restore_user_precalc": _restore_precalc,
    "restore_user": _restore,
}
