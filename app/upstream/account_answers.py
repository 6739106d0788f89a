"""Reads what the upstream answers about an account's orders: the list, the archive, and what calls did.

A row of orders counts if its id can be read; nothing else about it may take it down. An answer that names
another order than the one that was asked for is none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import datetime
from typing import Any

from app.upstream.phone import e164, region_fits
from app.upstream.rows import Listing, Row, each_once, one_row_of, rows_of, rows_or_row_of
from app.upstream.scalars import (
    AMOUNT,
    CODE,
    COUNT,
    FLAG,
    ID,
    INTEGER,
    LABEL,
    TIME,
    Expected,
    Unreadable,
)
from app.upstream.set_aside import Findings, is_empty
from app.upstream.wire import (
    HistoryEntry,
    NumberState,
    Order,
    PurchasedOrder,
    Restored,
    RestoreQuote,
    Service,
)
from app.values import iso_country

_STATES = {
    0: NumberState.INACTIVE,
    1: NumberState.ACTIVE,
    2: NumberState.ACTIVATING,
    -1: NumberState.OFFLINE,
}


def orders(data: Any, findings: Findings) -> Listing[Order]:
    """The data of `orders`. What the list shows more than once is one order, with all that its rows tell.

    Raises:
        Unreadable: it is no list.
    """
    return each_once(rows_of(data, findings), _order, lambda order: order.order_id, _merged)


def _order(row: Row) -> Order | None:
    order_id = row.need("id", ID)
    country = _country(row.read("cname", CODE))
    state = row.need("state", INTEGER)
    if state is not None and state not in _STATES:
        row.put_aside("state")
    order = Order(
        order_id=order_id or "",
        service=row.need("scode", CODE),
        service_name=row.read("sname", LABEL),
        state=None if state is None else _STATES.get(state, NumberState.UNKNOWN),
        phone_number=_phone(row, "pnumber", dial_code=row.read("ccode", LABEL), country=country, needed=True),
        country=country,
        has_new_sms=row.read("hasnewsms", FLAG),
        expires_at=row.need("until", TIME),
        can_prolong=row.read("canprolong", FLAG),
        prolong_max=row.read("canprolongmax", INTEGER),
        prolong_until=row.read("canprolonguntil", TIME),
        last_online_at=row.read("lastonline", TIME),
    )
    return None if order_id is None else order


def _merged(first: Order, again: Order) -> Order:
    """An order that the same list shows again: what the first row doesn't tell, and further services."""
    known = {field.name: getattr(first, field.name) for field in fields(Order)}
    filled = {name: getattr(again, name) for name, value in known.items() if value is None}
    merged = replace(first, **filled)
    codes = {merged.service, *(service.code for service in merged.further_services)}
    if again.service is not None and again.service not in codes:
        further = (*merged.further_services, Service(again.service, again.service_name))
        merged = replace(merged, further_services=further)
    if again.has_new_sms:
        merged = replace(merged, has_new_sms=True)
    return merged


def purchased(data: Any, findings: Findings, country: str | None = None) -> tuple[PurchasedOrder, ...]:
    """The data of `create` and `create_multi`: one order, or a list of them.

    Args:
        country: the one that was asked for; it tells the number where the dial code is missing.

    Raises:
        Unreadable: no order's id can be read.
    """
    found: dict[str, PurchasedOrder] = {}
    for row in rows_or_row_of(data, findings):
        order_id = row.need("id", ID)
        if order_id is not None:
            order = PurchasedOrder(
                order_id,
                _phone(row, "pnumber", dial_code=row.read("ccode", LABEL), country=country),
                row.read("service", CODE),
                row.read("until", TIME),
            )
            found.setdefault(order_id, order)
    if not found:
        raise Unreadable("the order is missing")
    return tuple(found.values())


def added_order(data: Any, findings: Findings) -> PurchasedOrder | None:
    """The data of `add_service_to_order`: none, or the new order, which has the same number."""
    if is_empty(data) or data in (True, 1, "1", "true"):
        return None
    return purchased(data, findings)[0]


def history(data: Any, findings: Findings) -> Listing[HistoryEntry]:
    """The data of `get_rent_history`; a page that is not complete has its digest.

    Raises:
        Unreadable: it is no list.
    """
    rows = rows_of(data, findings)
    found = tuple(entry for row in rows if (entry := _history_entry(row)) is not None)
    if rows.complete and len(found) == len(rows):
        return Listing(found, size=rows.size)
    return Listing(found, complete=False, size=rows.size, digest=_digest(data))


def _digest(data: Mapping[str, Any] | list[Any]) -> bytes:
    written = sorted(_written(row) for row in (data.values() if isinstance(data, Mapping) else data))
    return hashlib.sha256("\n".join(written).encode()).digest()


def _written(row: Any) -> str:
    try:
        return json.dumps(row, sort_keys=True, default=str)
    except RecursionError:  # it was shallow enough to be read, a few frames higher
        return "nested too deep"


def _history_entry(row: Row) -> HistoryEntry | None:
    order_id = row.need("orderId", ID)
    country = _country(row.read("country", CODE))
    phone_number = _phone(row, "number", country=country, whole=True)
    closed, closed_at = _closed(row)
    entry = HistoryEntry(
        order_id=order_id or "",
        service=row.read("resourceCode", CODE),
        phone_number=phone_number,
        country=_fitting(country, phone_number),
        days=row.read("days", COUNT),
        began_at=row.read("begin", TIME),
        ended_at=row.need("end", TIME),
        closed=closed,
        closed_at=closed_at,
        restorable=row.read("isAvailForRestore", FLAG),
    )
    return None if order_id is None else entry


def _read_closed(value: Any) -> bool | datetime:
    """The page documents a time; yes and no were seen, and 0 is no."""
    try:
        return FLAG.read(value)
    except Unreadable:
        return TIME.read(value) or False


CLOSED = Expected("time or flag: a Unix time, or yes or no", _read_closed)


def _closed(row: Row) -> tuple[bool | None, datetime | None]:
    """Whether an archived order was closed, and when."""
    value = row.read("closed", CLOSED)
    return (True, value) if isinstance(value, datetime) else (value, None)


def restore_quote(data: Any, findings: Findings, order_id: str) -> RestoreQuote:
    """The data of `restore_user_precalc`; here `ccode` is the country's letters, not its dial code.

    Args:
        order_id: the order that the quote was asked for.

    Raises:
        Unreadable: its price can't be read, or it is for another order.
    """
    row = one_row_of(data, findings)
    require_same_order(row, "orderid", order_id)
    price = row.require("price", AMOUNT)
    written = row.read("ccode", LABEL) or ""
    country = _country(written) if written[:1].isalpha() else None
    dial_code = written if country is None else None
    phone_number = _phone(row, "pnumber", dial_code=dial_code, country=country, whole=True)
    return RestoreQuote(
        order_id=order_id,
        country=_fitting(country, phone_number),
        service=row.read("scode", CODE),
        service_name=row.read("sname", LABEL),
        price=price,
        phone_number=phone_number,
        days_overdue=row.read("outdays", INTEGER),
        prolonged_days=row.read("prolongTo", INTEGER),
    )


def restored(data: Any, findings: Findings) -> Restored:
    """The data of `restore_user`: `true`, or the order's id, which may be a new one.

    Raises:
        Unreadable: it is not positive; what happened then is not known.
    """
    if data is True or data in (1, "1", "true"):
        return Restored(None)
    return Restored(one_row_of(data, findings).require("id", ID))


def done(data: Any, findings: Findings, order_id: str) -> None:
    """The data of calls whose success says all there is: none, `true`, or the order's id, bare or as `{id}`,
    alone or in a list.

    Raises:
        Unreadable: it says no, is about another order, or is anything else: what happened then is not known.
    """
    for item in data if isinstance(data, list) else [data]:
        if is_empty(item) or item is True or item in (1, "1", "true"):
            continue
        if isinstance(item, Mapping):
            row = Row(item, "data", findings)
            row.require("id", ID)
            require_same_order(row, "id", order_id)
        elif ID.read(item) != order_id:
            findings.put_aside("data", item)
            raise Unreadable("the answer is about another order")


def require_same_order(row: Row, name: str, order_id: str) -> None:
    """Hold the order that an answer names against the one that was asked for.

    Raises:
        Unreadable: it is another one, or can't be read.
    """
    if is_empty(row.values.get(name)):
        return
    if row.read(name, ID) != order_id:
        row.put_aside(name)
        raise Unreadable("the answer is about another order")


def _country(code: str | None) -> str | None:
    return None if code is None else iso_country(code)


def _fitting(country: str | None, phone_number: str | None) -> str | None:
    """A country, unless the number says that it is another: the examples say `EN` beside Russian numbers."""
    if country is None or phone_number is None or region_fits(phone_number, country[:2]):
        return country
    return None


def _phone(
    row: Row,
    name: str,
    *,
    dial_code: str | None = None,
    country: str | None = None,
    whole: bool = False,
    needed: bool = False,
) -> str | None:
    written = row.need(name, LABEL) if needed else row.read(name, LABEL)
    if written is None:
        return None
    letters = iso_country(country)[:2] if country else None
    found = e164(written, dial_code=dial_code or "", country=letters, whole=whole)
    if found is None:
        row.put_aside(name)
    return found
