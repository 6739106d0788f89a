"""Reads an order's messages. One counts if its text can be read; the date and the sender may be unknown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.upstream.rows import NESTED, Listing, Row, rows_of
from app.upstream.scalars import LABEL, TEXT, TIME, Unreadable
from app.upstream.set_aside import Findings
from app.upstream.wire import Sms, SmsLists


def sms_lists(data: Any, findings: Findings) -> SmsLists:
    """The data of `sms`: a list, or `SmsList` and `OtherSms`; items are objects or bare texts.

    Raises:
        Unreadable: there is no list of messages in it.
    """
    if isinstance(data, Mapping) and {"SmsList", "OtherSms"} & data.keys():
        findings.meet("data", data)
        for name in ("SmsList", "OtherSms"):
            findings.expect(f"data.{name}", NESTED, data.get(name))
        rented = _messages(data.get("SmsList"), findings, "data.SmsList")
        other = _messages(data.get("OtherSms"), findings, "data.OtherSms")
        if not (rented.rows or other.rows) and not (rented.complete and other.complete):
            raise Unreadable("none of the messages can be read")
        return SmsLists(rented.rows, other.rows, rented.complete and other.complete)
    messages = _messages(data, findings, "data")
    if not messages.rows and not messages.complete:
        raise Unreadable("none of the messages can be read")
    return SmsLists(messages.rows, (), messages.complete)


def _messages(items: Any, findings: Findings, path: str) -> Listing[Sms]:
    if isinstance(items, Mapping) and all(str(key).isdecimal() for key in items):
        items = list(items.values())
    if isinstance(items, list):
        items = [{"text": item} if isinstance(item, str) and item.strip() else item for item in items]
    try:
        rows = rows_of(items, findings, path)
    except Unreadable:
        return Listing((), complete=False)
    found = [sms for row in rows if (sms := _message(row)) is not None]
    return Listing(tuple(found), rows.complete and len(found) == len(rows))


def _message(row: Row) -> Sms | None:
    text = row.need("text", TEXT, "message", "fullText")
    sender, received_at = row.read("sender", LABEL, "from"), row.read("date", TIME)
    return None if text is None else Sms(text, sender, received_at)
