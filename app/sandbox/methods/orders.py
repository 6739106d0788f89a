"""The account's living orders: what they are, their SMS, their activation and their end."""

from __future__ import annotations

import time
from typing import Any

from app.sandbox.methods.call import Call
from app.sandbox.methods.purchases import LAST_DAYS, MOST_DAYS_AT_ONCE
from app.sandbox.shop import SERVICES
from app.sandbox.world import DAY, Arrived, Order


def orders(call: Call) -> Any:
    """All living orders of the account."""
    return [
        _row(order, service)
        for order in call.world.living.values()
        if order.account is call.account
        for service in (order.services if order.rows else order.services[:1])
    ]


def _row(order: Order, service: str) -> dict[str, Any]:
    now, number = time.time(), order.number
    return {
        "id": order.id,
        "scode": service,
        "sname": SERVICES[service],
        "state": number.state(now),
        "pnumber": number.national,
        "ccode": number.country.dial_code,
        "cname": number.country.code,
        "hasnewsms": len(number.messages) > order.seen,
        "until": int(order.until),
        "canprolong": number.country.prolongable and order.until - now < LAST_DAYS * DAY,
        "canprolongmax": MOST_DAYS_AT_ONCE,
        "canprolonguntil": int(order.until + 162 * DAY),
        "lastonline": int(number.active_from or order.begin),
    }


def sms(call: Call) -> Any:
    """All messages of an order's number: for its own services, and for other ones."""
    order = call.living()
    messages = order.number.messages
    order.seen = len(messages)
    return {
        "SmsList": [_message(message) for message in messages if message.service in order.services],
        "OtherSms": [_message(message) for message in messages if message.service not in order.services],
    }


def _message(message: Arrived) -> dict[str, Any]:
    shown: dict[str, Any] = {"text": message.text}
    if message.dated:
        if message.sender is not None:
            shown["sender"] = message.sender
        shown["date"] = int(message.at)
    return shown


def activate(call: Call) -> Any:
    """Queue an order's number for activation."""
    order = call.living()
    call.world.activate(order)
    return [{"id": order.id}]


def delete(call: Call) -> Any:
    """Give an order up: it goes to the archive, closed before its end."""
    order = call.living()
    order.closed = time.time()
    call.world.archive[order.id] = call.world.living.pop(order.id)
    return {"id": order.id}
