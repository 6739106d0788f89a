"""Answers of an upstream as the provider's page writes them, for tests to make odd."""

from __future__ import annotations

import time
from typing import Any

from tests.verbatim import Body

NOW = int(time.time())
DAY = 86_400

PURCHASE = {"country": "RU", "service": "opt16", "period": {"unit": "week", "count": 1}}
COUNTRIES = {"status": 1, "data": [{"name": "Россия", "code": "RU"}]}
OFFERS = {
    "status": 1,
    "data": [{"name": "Instagram", "service": "opt16", "price_day": 0.34999999999999998, "count": 3}],
}


def order(number: int, **changes: Any) -> dict[str, Any]:
    """A living order as the provider's page writes it."""
    row = {
        "id": 40300 + number,
        "scode": "opt16",
        "sname": "Instagram",
        "state": 1,
        "pnumber": f"909606851{number}",
        "ccode": "+7",
        "cname": "RU",
        "hasnewsms": True,
        "until": NOW + 7 * DAY + number,
        "canprolong": True,
        "canprolongmax": 162,
        "canprolonguntil": NOW + 60 * DAY,
        "lastonline": NOW - 60,
    }
    return {**row, **changes}


def offering(*services: str) -> dict[str, Any]:
    """An answer of `getdata` that has these services."""
    rows = [{"name": code, "service": code, "price_day": 0.35, "count": 3} for code in services]
    return {"status": 1, "data": rows}


def listed(*rows: Any) -> dict[str, Any]:
    return {"status": 1, "data": list(rows)}


def of_order(bodies: dict[str, dict[str, Any]]) -> Body:
    """Answers `sms` by the order that it asks for."""
    return lambda parameters: bodies.get(parameters.get("id", ""), {"status": 1, "data": []})
