"""The forms of the answers: as the provider's page documents them, or as they were seen in the wild."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

Row = dict[str, Any]


def documented(method: str, data: Any) -> dict[str, Any]:
    """An answer as the provider's page shows it."""
    if method == "sms":
        data = data["SmsList"]
    if method == "add_service_to_order":
        return {"status": 1}
    if method == "create_multi":
        data = data[0]  # "as create", which tells of one order
    if method == "getcountries":
        data = [{"name": row["name"], "code": row["code"]} for row in data]
    return {"status": 1, "data": data}


def seen(method: str, data: Any, chance: random.Random) -> dict[str, Any]:
    """An answer in one of the forms that public clients handle."""
    status: Any = chance.choice([1, "1"])
    if method == "getcountries" and chance.random() < 0.5:
        status = chance.choice([0, "0"])  # beside a whole, valid list
    vary = _VARIATIONS.get(method)
    return {"status": status, "data": vary(data, chance) if vary else data}


def refused(message: str, chance: random.Random | None = None) -> dict[str, Any]:
    """A refusal; with a chance, in the forms that were seen."""
    return {"status": 0 if chance is None else chance.choice([0, "0"]), "msg": message}


def _purchased(data: Any, chance: random.Random) -> Any:
    rows = [_written(_number(row, chance), chance) for row in (data if isinstance(data, list) else [data])]
    return rows if isinstance(data, list) or chance.random() < 0.5 else rows[0]


def _orders(data: list[Row], chance: random.Random) -> list[Row]:
    rows = []
    for order in data:
        row = _written(_number(order, chance), chance)
        row["hasnewsms"] = chance.choice([order["hasnewsms"], int(order["hasnewsms"])])
        if chance.random() < 0.3:
            del row["lastonline"]
        rows.append(row)
    chance.shuffle(rows)
    return rows


def _number(order: Row, chance: random.Random) -> Row:
    """The number with and without its dial code, the dial code here, there and nowhere."""
    row = dict(order)
    code, national = row["ccode"], row["pnumber"]
    match chance.randrange(4):
        case 1:
            row["pnumber"] = code + national
        case 2:
            row["pnumber"] = code.lstrip("+") + national
        case 3:
            row["pnumber"], row["ccode"] = code + national, ""
    return row


def _written(row: Row, chance: random.Random) -> Row:
    """Numbers as numbers or as strings."""
    return {
        key: str(value) if type(value) is int and chance.random() < 0.5 else value
        for key, value in row.items()
    }


def _offers(data: list[Row], chance: random.Random) -> Any:
    rows: list[Row] = []
    for offer in data:
        row = _written(offer, chance)
        if isinstance(offer["count"], int) and chance.random() < 0.3:
            row["count"] = {"any": offer["count"], "totalCount": offer["count"]}
        row["price_day"] = chance.choice([offer["price_day"], float(offer["price_day"])])
        rows.append(row)
    return {"services": rows, "currency": "USD"} if chance.random() < 0.5 else rows


def _sms(data: Any, chance: random.Random) -> Any:
    if not data["SmsList"] and not data["OtherSms"]:
        return chance.choice([{}, [], {"SmsList": [], "OtherSms": []}])
    rented = [_written(item, chance) for item in data["SmsList"]]
    return {"SmsList": rented[::-1], "OtherSms": [_written(item, chance) for item in data["OtherSms"]]}


def _done(data: Row, chance: random.Random) -> Any:
    return chance.choice([data, [], {}, [data]])


def _history(data: list[Row], chance: random.Random) -> list[Row]:
    rows = []
    for entry in data:
        row = _written(entry, chance)
        if chance.random() < 0.5:
            del row["branchId"]
        row["isAvailForRestore"] = chance.choice([True, 1])
        rows.append(row)
    return rows


def _quote(data: Row, chance: random.Random) -> Row:
    return _written(data, chance)


def _countries(data: list[Row], _chance: random.Random) -> list[Row]:
    return [{key: value for key, value in row.items() if value is not None} for row in data]


_VARIATIONS: Mapping[str, Callable[[Any, random.Random], Any]] = {
    "getcountries": _countries,
    "getdata": _offers,
    "getdataWithProviders": _offers,
    "create": _purchased,
    "create_multi": _purchased,
    "orders": _orders,
    "sms": _sms,
    "activate": _done,
    "delete": _done,
    "prolong": _done,
    "prolong_max": _done,
    "get_rent_history": _history,
    "restore_user_precalc": _quote,
}
