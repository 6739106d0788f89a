"""The upstream's payloads as dataclasses; every variation that was seen parses, and nothing is guessed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from app.upstream.phone import e164
from app.upstream.scalars import (
    Unreadable,
    amount,
    flag,
    identifier,
    integer,
    optional_flag,
    optional_integer,
    optional_text,
    text,
    unix_time,
)
from app.values import iso_country


class NumberState(StrEnum):
    """Whether a number can receive now; `offline` is what the upstream calls not in the system."""

    INACTIVE = "inactive"
    ACTIVATING = "activating"
    ACTIVE = "active"
    OFFLINE = "offline"
    UNKNOWN = "unknown"


_STATES = {
    0: NumberState.INACTIVE,
    1: NumberState.ACTIVE,
    2: NumberState.ACTIVATING,
    -1: NumberState.OFFLINE,
}


@dataclass(frozen=True, slots=True)
class Country:
    """A row of `getcountries`."""

    name: str
    upstream_code: str
    switch_type: str | None


@dataclass(frozen=True, slots=True)
class Offer:
    """A row of `getdata`; the price is that of one day, in US dollars, for the period asked for."""

    service: str
    name: str
    price_per_day: Decimal
    available: int
    operators: dict[str, int] | None


@dataclass(frozen=True, slots=True)
class PurchasedOrder:
    """What `create` made."""

    order_id: str
    phone_number: str | None
    service: str | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Order:
    """A row of `orders`."""

    order_id: str
    service: str | None
    service_name: str | None
    state: NumberState
    phone_number: str | None
    country: str | None
    has_new_sms: bool
    expires_at: datetime | None
    can_prolong: bool | None
    prolong_max: int | None
    prolong_until: datetime | None
    last_online_at: datetime | None


@dataclass(frozen=True, slots=True)
class Sms:
    """One message; none has an id."""

    text: str
    sender: str | None
    received_at: datetime | None


@dataclass(frozen=True, slots=True)
class SmsLists:
    """All messages of an order: for its own service, and those that came for other ones."""

    rented: tuple[Sms, ...]
    other: tuple[Sms, ...] = ()


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """A row of `get_rent_history`."""

    order_id: str
    service: str | None
    phone_number: str | None
    country: str | None
    days: int | None
    began_at: datetime | None
    ended_at: datetime | None
    closed: bool
    restorable: bool | None


@dataclass(frozen=True, slots=True)
class RestoreQuote:
    """What restoring an order would cost now, in US dollars."""

    order_id: str
    country: str | None
    service: str | None
    service_name: str | None
    price: Decimal
    phone_number: str | None
    days_overdue: int | None
    prolonged_days: int | None

    def costing(self, price: Decimal) -> RestoreQuote:
        """The same quote with another price."""
        return replace(self, price=price)


@dataclass(frozen=True, slots=True)
class Restored:
    """What `restore_user` did; the order may live on under a new id."""

    order_id: str | None


def countries(data: Any) -> tuple[Country, ...]:
    """The data of `getcountries`."""
    return tuple(
        Country(
            text(row.get("name"), "name").strip(),
            identifier(row.get("code"), "code").upper(),
            optional_text(row.get("rent_switch_type"), "rent_switch_type"),
        )
        for row in _rows(data)
    )


def offers(data: Any) -> tuple[Offer, ...]:
    """The data of `getdata` and `getdataWithProviders`; seen as a list, and nested as `services`."""
    return tuple(_offer(row) for row in _rows(data.get("services") if isinstance(data, dict) else data))


def _offer(row: Mapping[str, Any]) -> Offer:
    service = identifier(row.get("service"), "service")
    name = optional_text(row.get("name"), "name") or service
    price = amount(row.get("price_day"), "price_day")
    count = row.get("count")
    if not isinstance(count, dict):
        return Offer(service, name, price, max(0, integer(count, "count")), None)
    operators = {
        text(operator, "operator"): max(0, integer(number, f"count.{operator}"))
        for operator, number in count.items()
        if operator != "totalCount"
    }
    total = optional_integer(count.get("totalCount"), "totalCount")
    return Offer(service, name, price, max(0, sum(operators.values()) if total is None else total), operators)


def purchased(data: Any, country: str | None = None) -> tuple[PurchasedOrder, ...]:
    """The data of `create` and `create_multi`: one order, or a list of them.

    Args:
        country: the one that was asked for; it tells the number where the dial code is missing.
    """
    rows = _rows(data if isinstance(data, list) else [data])
    if not rows:
        raise Unreadable("the order is missing")
    return tuple(
        PurchasedOrder(
            identifier(row.get("id"), "id"),
            _phone(row.get("pnumber"), row.get("ccode"), country),
            optional_text(row.get("service"), "service"),
            unix_time(row.get("until"), "until"),
        )
        for row in rows
    )


def orders(data: Any) -> tuple[Order, ...]:
    """The data of `orders`."""
    return tuple(_order(row) for row in _rows(data))


def _order(row: Mapping[str, Any]) -> Order:
    country = optional_text(row.get("cname"), "cname")
    return Order(
        order_id=identifier(row.get("id"), "id"),
        service=optional_text(row.get("scode"), "scode"),
        service_name=optional_text(row.get("sname"), "sname"),
        state=_STATES.get(integer(row.get("state"), "state"), NumberState.UNKNOWN),
        phone_number=_phone(row.get("pnumber"), row.get("ccode"), country),
        country=None if country is None else iso_country(country),
        has_new_sms=flag(row.get("hasnewsms"), "hasnewsms"),
        expires_at=unix_time(row.get("until"), "until"),
        can_prolong=optional_flag(row.get("canprolong"), "canprolong"),
        prolong_max=optional_integer(row.get("canprolongmax"), "canprolongmax"),
        prolong_until=_prolong_until(row.get("canprolonguntil")),
        last_online_at=unix_time(row.get("lastonline"), "lastonline"),
    )


def _prolong_until(value: Any) -> datetime | None:
    """What `canprolonguntil` tells if it is a time. The page doesn't explain it: nothing hangs on it but what
    is shown, so what is no time is none rather than a list that can't be read.
    """
    try:
        return unix_time(value, "canprolonguntil")
    except Unreadable:
        return None


def sms_lists(data: Any) -> SmsLists:
    """The data of `sms`: a list, or `SmsList` and `OtherSms`; items are objects or bare strings."""
    if isinstance(data, dict):
        if data and not {"SmsList", "OtherSms"} & data.keys():
            raise Unreadable("data holds no list of messages")
        return SmsLists(_messages(data.get("SmsList")), _messages(data.get("OtherSms")))
    if not isinstance(data, list):
        raise Unreadable("data is no list of messages")
    return SmsLists(_messages(data))


def _messages(items: Any) -> tuple[Sms, ...]:
    if items in (None, {}):
        return ()
    if not isinstance(items, list):
        raise Unreadable("the messages are no list")
    return tuple(_message(item) for item in items)


def _message(item: Any) -> Sms:
    if not isinstance(item, dict):
        return Sms(text(item, "message"), None, None)
    return Sms(
        text(item.get("text"), "text"),
        optional_text(item.get("sender"), "sender"),
        unix_time(item.get("date"), "date"),
    )


def history(data: Any) -> tuple[HistoryEntry, ...]:
    """The data of `get_rent_history`."""
    return tuple(_history_entry(row) for row in _rows(data))


def _history_entry(row: Mapping[str, Any]) -> HistoryEntry:
    country = optional_text(row.get("country"), "country")
    return HistoryEntry(
        order_id=identifier(row.get("orderId"), "orderId"),
        service=optional_text(row.get("resourceCode"), "resourceCode"),
        phone_number=_phone(row.get("number"), None, country),
        country=None if country is None else iso_country(country),
        days=optional_integer(row.get("days"), "days"),
        began_at=unix_time(row.get("begin"), "begin"),
        ended_at=unix_time(row.get("end"), "end"),
        closed=_closed(row.get("closed")),
        restorable=optional_flag(row.get("isAvailForRestore"), "isAvailForRestore"),
    )


def _closed(value: Any) -> bool:
    """Whether an order is closed: the page documents the time of it, and public clients met a flag."""
    return flag(value, "closed") if value in ("true", "false") else bool(optional_integer(value, "closed"))


def restore_quote(data: Any) -> RestoreQuote:
    """The data of `restore_user_precalc`; here `ccode` is the country's letters, not its dial code."""
    row = _row(data)
    country = optional_text(row.get("ccode"), "ccode")
    letters = country if country and country[:1].isalpha() else None
    return RestoreQuote(
        order_id=identifier(row.get("orderid"), "orderid"),
        country=None if letters is None else iso_country(letters),
        service=optional_text(row.get("scode"), "scode"),
        service_name=optional_text(row.get("sname"), "sname"),
        price=amount(row.get("price"), "price"),
        phone_number=_phone(row.get("pnumber"), None if letters else country, letters),
        days_overdue=optional_integer(row.get("outdays"), "outdays"),
        prolonged_days=optional_integer(row.get("prolongTo"), "prolongTo"),
    )


def restored(data: Any) -> Restored:
    """The data of `restore_user`: `true`, or the order's id, which may be a new one."""
    if data in (True, "true", "1", [], {}):
        return Restored(None)
    row = _row(data)
    return Restored(None if row.get("id") is None else identifier(row["id"], "id"))


def added_order(data: Any) -> PurchasedOrder | None:
    """The data of `add_service_to_order`: none, or the new child order."""
    return None if data in (None, True, "", [], {}) else purchased(data)[0]


def _row(data: Any) -> Mapping[str, Any]:
    rows = _rows(data if isinstance(data, list) else [data])
    if len(rows) != 1:
        raise Unreadable("data is not one object")
    return rows[0]


def _rows(data: Any) -> Sequence[Mapping[str, Any]]:
    if not isinstance(data, list) or not all(isinstance(row, dict) for row in data):
        raise Unreadable("data is no list of objects")
    return data


def _phone(number: Any, dial_code: Any, country: str | None) -> str | None:
    written = optional_text(number, "number")
    if written is None:
        return None
    letters = iso_country(country)[:2] if country else None
    return e164(written, dial_code=optional_text(dial_code, "ccode") or "", country=letters)
