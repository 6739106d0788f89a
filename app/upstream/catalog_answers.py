"""Reads what the upstream answers about its catalog: countries, services, prices, stock and least periods.

A row counts if what it is about can be read: a country's code, an offer's service and price.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.upstream.rows import NESTED, Listing, Row, entries_of, keyed_rows_of, one_row_of, rows_of
from app.upstream.scalars import AMOUNT, CODE, COUNT, FLAG, LABEL, Unreadable
from app.upstream.set_aside import Findings, is_empty
from app.upstream.wire import (
    Country,
    DayChoice,
    DefaultService,
    MinimumDays,
    Offer,
    ServiceCountry,
    Stock,
)


def countries(data: Any, findings: Findings) -> Listing[Country]:
    """The data of `getcountries`.

    Raises:
        Unreadable: it is no list.
    """
    rows = _list(data, findings)
    found = []
    for row in rows:
        code = row.need("code", CODE)
        if code is not None:
            found.append(
                Country(
                    row.read("name", LABEL),
                    code.upper(),
                    row.read("rent_switch_type", LABEL),
                    row.read("rent_avail_prolong", FLAG),
                )
            )
    return Listing(tuple(found), rows.complete and len(found) == len(rows))


def offers(data: Any, findings: Findings) -> Listing[Offer]:
    """The data of `getdata` and `getdataWithProviders`: a list, or one under `services`, with other members
    beside it.

    Raises:
        Unreadable: it is no list.
    """
    nested = isinstance(data, Mapping) and "services" in data
    if nested:
        findings.meet("data", data)
        findings.expect("data.services", NESTED, data["services"])
    rows = _list(data["services"] if nested else data, findings, "data.services" if nested else "data")
    found = [offer for row in rows if (offer := _offer(row)) is not None]
    return Listing(tuple(found), rows.complete and len(found) == len(rows))


def _offer(row: Row) -> Offer | None:
    service, price = row.need("service", CODE), row.need("price_day", AMOUNT)
    if service is None or price is None:
        return None
    available, operators = _stock(row, "count", "totalCount")
    return Offer(service, row.read("name", LABEL), price, available, operators)


def _stock(row: Row, name: str, total_name: str) -> tuple[int | None, dict[str, int] | None]:
    """How many numbers there are: as a count, or by operator, with the total among them or beside them."""
    value = row.values.get(name)
    if value == []:  # an empty object, as PHP writes it
        value = {}
    if not isinstance(value, Mapping):
        return row.read(name, COUNT), None
    operators = entries_of(value, COUNT, row.findings, f"{row.path}.{name}.*")
    inner = operators.pop(total_name, None)
    told = row.read(total_name, COUNT)
    total = inner if told is None else told
    return (sum(operators.values()) if total is None else total), operators


def default_services(data: Any, findings: Findings) -> Listing[DefaultService]:
    """The data of `get_default_services`.

    Raises:
        Unreadable: it is no list.
    """
    rows = _list(data, findings)
    found = [
        DefaultService(service, row.read("name", LABEL), row.need("priceForDay", AMOUNT))
        for row in rows
        if (service := row.need("service", CODE)) is not None
    ]
    return Listing(tuple(found), rows.complete and len(found) == len(rows))


def countries_of_service(data: Any, findings: Findings) -> Listing[ServiceCountry]:
    """The data of `get_country_by_service`: an object keyed by country.

    Raises:
        Unreadable: it is no list.
    """
    keyed = keyed_rows_of(data, findings)
    found = []
    for key, row in keyed:
        if row is None:
            continue
        code = row.read("country", CODE) or _code_of(key)
        price = row.need("price", AMOUNT)
        if code is None:
            row.put_aside("country")
        elif price is not None:
            found.append(ServiceCountry(code.upper(), price, row.read("phoneAmount", COUNT)))
    return Listing(tuple(found), len(found) == len(keyed))


def stock(data: Any, findings: Findings) -> Listing[Stock] | int:
    """The data of `getcount`: numbers by service, or one number for all.

    Raises:
        Unreadable: it is neither.
    """
    if is_empty(data):
        return Listing(())
    if not isinstance(data, Mapping):
        return _count(data, findings)
    counts = entries_of(data, COUNT, findings, "data.*")
    return Listing(
        tuple(Stock(service, count) for service, count in counts.items()), len(counts) == len(data)
    )


def stock_by_operator(data: Any, findings: Findings) -> Listing[Stock]:
    """The data of `getCountWithProviders`: by service, the `Amount` of each operator and the `Total`.

    Raises:
        Unreadable: it is no such object.
    """
    keyed = keyed_rows_of(data, findings)
    found = [
        Stock(service, *_stock(row, "Amount", "Total"))
        for key, row in keyed
        if row is not None and (service := _code_of(key)) is not None
    ]
    return Listing(tuple(found), len(found) == len(keyed))


def stock_of_all(data: Any, findings: Findings) -> int:
    """The data of `get_count_multi`: how many numbers can take all of some services.

    Raises:
        Unreadable: it can't be told.
    """
    if isinstance(data, Mapping):
        return one_row_of(data, findings).require("count", COUNT)
    return _count(data, findings)


def minimum_days(data: Any, findings: Findings) -> MinimumDays:
    """The data of `get_min_paypal_days`; days of 0, or none, mean that there is no such limit."""
    if is_empty(data):
        return MinimumDays(None, None)
    row = one_row_of(data, findings)
    return MinimumDays(row.read("Days", COUNT) or None, row.read("Message", LABEL))


def day_choices(data: Any, findings: Findings) -> Listing[DayChoice]:
    """The data of `get_days_canada_paypal`.

    Raises:
        Unreadable: it is no list.
    """
    rows = _list(data, findings)
    found = [
        DayChoice(days, row.read("Amount", COUNT))
        for row in rows
        if (days := row.need("Days", COUNT)) is not None
    ]
    return Listing(tuple(found), rows.complete and len(found) == len(rows))


def _code_of(key: str) -> str | None:
    try:
        return CODE.read(key)
    except Unreadable:
        return None


def _count(data: Any, findings: Findings) -> int:
    findings.expect("data", COUNT.name, data)
    try:
        return COUNT.read(data)
    except Unreadable:
        findings.put_aside("data", data)
        raise Unreadable("data is no number") from None


def _list(data: Any, findings: Findings, path: str = "data") -> Listing[Row]:
    rows = rows_of(data, findings, path)
    if not rows.complete and not rows.rows:
        raise Unreadable(f"{path} is no list")
    return rows
