"""A transport that answers what a test gives it, and a call of each of the upstream's methods."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from app.upstream.client import News, UpstreamClient
from app.upstream.set_aside import Findings, SetAside
from app.upstream.transport import Transport
from app.values import Period, PeriodUnit

WEEK = Period(PeriodUnit.WEEK, 1)
ORDER_ID = "40300"

CALLS: dict[str, Callable[[UpstreamClient], Awaitable[Any]]] = {
    "getcountries": lambda client: client.get_countries(),
    "getdata": lambda client: client.get_offers("RU", WEEK),
    "getdataWithProviders": lambda client: client.get_offers_with_operators("RU", WEEK),
    "get_default_services": lambda client: client.get_default_services(),
    "get_country_by_service": lambda client: client.get_countries_of_service("opt1", WEEK),
    "getcount": lambda client: client.get_stock("RU", WEEK),
    "getCountWithProviders": lambda client: client.get_stock_by_operator("RU", WEEK),
    "get_count_multi": lambda client: client.get_stock_of_all("RU", ["opt1", "opt2"], WEEK),
    "get_min_paypal_days": lambda client: client.get_minimum_days("CA", "opt83"),
    "get_days_canada_paypal": lambda client: client.get_day_choices(),
    "create": lambda client: client.create("key", country="RU", service="opt1", period=WEEK),
    "create_multi": lambda client: client.create_multi(
        "key", country="RU", services=["opt1", "opt2"], period=WEEK
    ),
    "orders": lambda client: client.orders("key"),
    "sms": lambda client: client.sms_if_new("key", None, order_id=ORDER_ID),
    "activate": lambda client: client.activate("key", order_id=ORDER_ID),
    "prolong": lambda client: client.prolong("key", order_id=ORDER_ID, period=WEEK),
    "prolong_max": lambda client: client.prolong_max("key", order_id=ORDER_ID, days=3),
    "add_service_to_order": lambda client: client.add_service(
        "key", order_id=ORDER_ID, service="opt2", phone_number="+79096068511"
    ),
    "delete": lambda client: client.delete("key", order_id=ORDER_ID),
    "get_rent_history": lambda client: client.history("key", skip=0, take=100),
    "restore_user_precalc": lambda client: client.restore_quote("key", order_id=ORDER_ID),
    "restore_user": lambda client: client.restore("key", order_id=ORDER_ID),
}
"""A call of each method; those about one order are about ORDER_ID."""


class CannedTransport(Transport):
    """Answers every call with one body, and has no connection to send anything by."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def get(
        self, _method: str, _parameters: Mapping[str, str], *, send_by: float | None = None
    ) -> bytes:
        return self._body


async def read(method: str, body: Any) -> tuple[Any, tuple[SetAside, ...]]:
    """What the client makes of an answer (JSON, or bytes as they come), and what it sets aside.

    Raises:
        CallFailed: the answer is a refusal, or can't be read.
    """
    found: list[Findings] = []
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    content = await CALLS[method](UpstreamClient(CannedTransport(raw), observe=found.append))
    content = content.content if isinstance(content, News) else content
    return content, tuple(finding for findings in found for finding in findings.set_aside)


def read_now(method: str, body: Any) -> tuple[Any, tuple[SetAside, ...]]:
    """As `read`, outside of an event loop."""
    return asyncio.run(read(method, body))


def data(content: Any) -> dict[str, Any]:
    """An answer that succeeded."""
    return {"status": 1, "data": content}
