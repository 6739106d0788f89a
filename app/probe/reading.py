"""The probe's way to the upstream: it lets nothing through but methods that neither spend nor change."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from app.upstream.envelope import opened
from app.upstream.kinds import kind_of, shown_name
from app.upstream.scalars import Unreadable
from app.upstream.set_aside import FieldSeen
from app.upstream.transport import Transport

READING = frozenset(
    {
        "getcountries",
        "get_default_services",
        "get_country_by_service",
        "getdata",
        "getdataWithProviders",
        "getcount",
        "getCountWithProviders",
        "get_count_multi",
        "get_days_canada_paypal",
        "get_min_paypal_days",
        "orders",
        "sms",
        "get_rent_history",
        "restore_user_precalc",
    }
)
"""The methods of rent.php that neither spend nor change anything. `sms` may clear an order's flag of news."""

_READ = {"status": "status: 1 or 0, number or text", "data": "data: as the method has it"}
_REASONS = dict.fromkeys(("msg", "message", "error", "error_msg"), "text")
"""Where a refusal's text was seen; the gateway reads it where there is no success."""


class NotReading(Exception):
    """A method was called that is none of those that the probe may call."""


class ReadingTransport(Transport):
    """A transport for the methods in `READING`, which also inspects what stands around the data.

    Attributes:
        envelope: the members of the last answer beside those of `data`; empty if it is no JSON object.
        size: bytes of the last answer; None if there was none.
        seconds: how long the last call took.
    """

    def __init__(self, url: str, timeout: float) -> None:
        super().__init__(url, timeout)
        self.forget()

    def forget(self) -> None:
        """Forget the last answer."""
        self.envelope: dict[str, FieldSeen] = {}
        self.size: int | None = None
        self.seconds = 0.0

    async def get(self, method: str, parameters: Mapping[str, str], *, send_by: float | None = None) -> bytes:
        """As a transport's.

        Raises:
            NotReading: the method is none that the probe may call; nothing was sent.
        """
        if method not in READING:
            raise NotReading(method)
        self.forget()
        began = time.monotonic()
        try:
            body = await super().get(method, parameters, send_by=send_by)
        finally:
            self.seconds = time.monotonic() - began
        self.size = len(body)
        self.envelope = envelope_of(body)
        return body


def envelope_of(body: bytes) -> dict[str, FieldSeen]:
    """The members of an answer by name; empty if it is no JSON object."""
    try:
        answer = json.loads(
            body.decode("utf-8-sig", "replace"), strict=False, parse_float=Decimal, parse_constant=Decimal
        )
    except (ValueError, RecursionError):
        return {}
    if not isinstance(answer, dict):
        return {}
    try:
        succeeded, readable = opened(body).succeeded, True
    except Unreadable:
        succeeded, readable = False, False
    expected = _READ if succeeded else _READ | _REASONS
    seen: dict[str, FieldSeen] = {}
    for name, value in answer.items():
        _note(seen, shown_name(name), value, expected.get(name))
    if "status" not in answer:
        _note(seen, "status", None, _READ["status"])
    if not readable:
        seen["status"].set_aside += 1
    return seen


def _note(seen: dict[str, FieldSeen], name: str, value: Any, expected: str | None) -> None:
    member = seen.setdefault(name, FieldSeen(expected))
    (member.met if expected is None else member.found)[kind_of(value)] += 1
