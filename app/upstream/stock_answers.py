"""Reads what the upstream answers about its stock: how many numbers there are, and for how long at least."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from app.upstream.rows import Listing, Row, each_once, entries_of, rows_of
from app.upstream.scalars import CODE, COUNT, LABEL, Unreadable
from app.upstream.set_aside import Findings, is_empty
from app.upstream.wire import DayChoice, MinimumDays, Stock

_TOTALS = frozenset({"count", "total", "totalcount", "totalamount"})
"""Members, in lower case, that count all numbers, and are no service."""


def stock(data: Any, findings: Findings) -> Listing[Stock] | int:
    """The data of `getcount` and `getCountWithProviders`: by service a count, or the `Amount` of each
    operator with their `Total`; or one number for all services.

    Raises:
        Unreadable: it is none of these.
    """
    if is_empty(data):
        return Listing(())
    if not isinstance(data, list | Mapping):
        return _count(data, findings)
    members = list(_members(data))
    totals = [value for name, value in members if name.casefold() in _TOTALS]
    if totals and len(totals) == len(members):
        return _count(totals[0], findings)
    counted = Listing(tuple(member for member in members if member[0].casefold() not in _TOTALS))
    found = each_once(counted, lambda member: _stock(*member, findings), lambda stocked: stocked.service)
    if counted.rows and not found.rows:
        raise Unreadable("data holds no stock by service")
    return found


def _members(data: list[Any] | Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What stands in an answer by the name of its service, which stands in the row or is its key."""
    members = data.items() if isinstance(data, Mapping) else (("", row) for row in data if not is_empty(row))
    for key, value in members:
        named = value.get("service") if isinstance(value, Mapping) else None
        yield (named if isinstance(named, str) and named.strip() else key), value


def _stock(name: str, value: Any, findings: Findings) -> Stock | None:
    """A service's stock; how many there are may well be unknown."""
    try:
        service = CODE.read(name)
    except Unreadable:
        service = ""
    if not service or service.isdecimal():  # a position in a list names no service
        findings.put_aside("data.*", value)
        return None
    if isinstance(value, Mapping):
        row = Row(value, "data.*", findings)
        return Stock(service, *stock_of_row(row, "Amount" if "Amount" in value else "count", "Total"))
    if is_empty(value):
        return Stock(service, None)
    findings.expect("data.*", COUNT.name, value)
    try:
        return Stock(service, COUNT.read(value))
    except Unreadable:
        findings.put_aside("data.*", value)
        return Stock(service, None)


def stock_of_row(row: Row, name: str, total_name: str) -> tuple[int | None, dict[str, int] | None]:
    """How many numbers there are: as a count, or by operator, with the total among them or beside them. If
    that is missing it is their sum, unless one of them can't be read.
    """
    value = row.values.get(name)
    told = row.read(total_name, COUNT)
    if value == []:  # an empty object, as PHP writes it
        value = {}
    if not isinstance(value, Mapping):
        counted = row.read(name, COUNT)
        return (told if counted is None else counted), None
    operators = entries_of(value, COUNT, row.findings, f"{row.path}.{name}.*")
    whole = len(operators) == sum(not is_empty(count) for count in value.values())
    inner = operators.pop(total_name, None)
    if told is None:
        told = inner
    if told is None and whole:
        told = sum(operators.values())
    return told, operators


def stock_of_all(data: Any, findings: Findings) -> int:
    """The data of `get_count_multi`: how many numbers can take all of some services.

    Raises:
        Unreadable: it can't be told.
    """
    if not isinstance(data, list | Mapping):
        return _count(data, findings)
    rows = rows_of([data] if isinstance(data, Mapping) else data, findings)
    counts = [row.need("count", COUNT) for row in rows]
    if len(counts) != 1 or not rows.complete or counts[0] is None:
        raise Unreadable("count is no number")
    return counts[0]


def minimum_days(data: Any, findings: Findings) -> MinimumDays:
    """The data of `get_min_paypal_days`; days of 0, or none, mean that there is no such limit.

    Raises:
        Unreadable: it is no such object.
    """
    rows = rows_of([data] if isinstance(data, Mapping) else data, findings)
    if len(rows) > 1 or not rows.complete:
        raise Unreadable("data is not one object")
    for row in rows:
        return MinimumDays(row.read("Days", COUNT) or None, row.read("Message", LABEL))
    return MinimumDays(None, None)


def day_choices(data: Any, findings: Findings) -> Listing[DayChoice]:
    """The data of `get_days_canada_paypal`.

    Raises:
        Unreadable: it is no list.
    """
    rows = rows_of([data] if isinstance(data, Mapping) and "Days" in data else data, findings)
    if not rows.complete and not rows.rows:
        raise Unreadable("data is no list")
    return each_once(rows, _day_choice, lambda choice: choice.days)


def _day_choice(row: Row) -> DayChoice | None:
    days, available = row.need("Days", COUNT), row.read("Amount", COUNT)
    if days == 0:
        row.put_aside("Days")
    return DayChoice(days, available) if days else None


def _count(data: Any, findings: Findings) -> int:
    findings.expect("data", COUNT.name, data)
    try:
        return COUNT.read(data)
    except Unreadable:
        findings.put_aside("data", data)
        raise Unreadable("data is no number") from None
