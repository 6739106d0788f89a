"""Reads what the upstream answers about its catalog: countries, services and their prices.

A row counts if what it is about can be read: a country's code, an offer's service and price. A list may hold
a row twice, so each thing is read once. `stock_answers` reads how many numbers there are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from app.upstream.rows import Listing, Row, each_once, keyed_rows_of, rows_of
from app.upstream.scalars import AMOUNT, CODE, COUNT, FLAG, LABEL, Unreadable
from app.upstream.set_aside import Findings
from app.upstream.stock_answers import stock_of_row
from app.upstream.wire import Country, DefaultService, Offer, ServiceCountry

_COUNTRY_CODE = re.compile(r"[A-Za-z]{2}[0-9]{0,3}")
"""The form of every country's code that is known: two letters, and pools such as `US3`."""


def countries(data: Any, findings: Findings) -> Listing[Country]:
    """The data of `getcountries`.

    Raises:
        Unreadable: it is no list.
    """
    return each_once(list_of(data, findings), _country, lambda country: country.upstream_code)


def _country(row: Row) -> Country | None:
    code = row.need("code", CODE)
    if code is None:
        return None
    name, switch_type = row.read("name", LABEL), row.read("rent_switch_type", LABEL)
    return Country(name, code.upper(), switch_type, row.read("rent_avail_prolong", FLAG))


def offers(data: Any, findings: Findings) -> Listing[Offer]:
    """The data of `getdata` and `getdataWithProviders`: a list, or one under `services`, with other members
    beside it. Of two prices for one service the higher one counts: it is what buying may cost.

    Raises:
        Unreadable: it is no list.
    """
    nested = isinstance(data, Mapping) and "services" in data
    if nested:
        findings.meet("data", data)
    rows = list_of(data["services"] if nested else data, findings, "data.services" if nested else "data")
    return each_once(rows, _offer, lambda offer: offer.service, _dearer)


def _offer(row: Row) -> Offer | None:
    service, price = row.need("service", CODE), row.need("price_day", AMOUNT)
    if service is None or price is None:
        return None
    available, operators = stock_of_row(row, "count", "totalCount")
    return Offer(service, row.read("name", LABEL) or service, price, available, operators)


def _dearer(first: Offer, again: Offer) -> Offer:
    return again if again.price_per_day > first.price_per_day else first


def default_services(data: Any, findings: Findings) -> Listing[DefaultService]:
    """The data of `get_default_services`.

    Raises:
        Unreadable: it is no list.
    """
    return each_once(list_of(data, findings), _default_service, lambda default: default.service)


def _default_service(row: Row) -> DefaultService | None:
    service = row.need("service", CODE)
    name, price = row.read("name", LABEL), row.need("priceForDay", AMOUNT)
    return None if service is None else DefaultService(service, name or service, price)


def countries_of_service(data: Any, findings: Findings) -> Listing[ServiceCountry]:
    """The data of `get_country_by_service`: an object keyed by country, or a list of its rows.

    Raises:
        Unreadable: it is neither.
    """
    keyed = keyed_rows_of(data, findings)
    if keyed and all(row is None for _, row in keyed):
        raise Unreadable("data is no list")
    return each_once(Listing(tuple(keyed)), _service_country, lambda sold: sold.country)


def _service_country(keyed: tuple[str, Row | None]) -> ServiceCountry | None:
    key, row = keyed
    if row is None:
        return None
    country, price = _country_of(key, row), row.need("price", AMOUNT)
    available = row.read("phoneAmount", COUNT)
    return None if country is None or price is None else ServiceCountry(country, price, available)


def _country_of(key: str, row: Row) -> str | None:
    """What a row calls its country: by its code, wherever that stands, else by the name beside it."""
    named = row.read("country", LABEL)
    for written in (named, key.strip()):
        if written is not None and _COUNTRY_CODE.fullmatch(written):
            return written.upper()
    if named is None:
        row.put_aside("country")
    return named


def list_of(data: Any, findings: Findings, path: str = "data") -> Listing[Row]:
    """The rows of a list of which at least one is a row.

    Raises:
        Unreadable: it is no list in any form that is known.
    """
    rows = rows_of(data, findings, path)
    if not rows.complete and not rows.rows:
        raise Unreadable(f"{path} is no list")
    return rows
