"""Reading single values of the upstream's JSON, which writes the same thing as number, string or flag."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

_INTEGER = re.compile(r"[+-]?\d{1,18}")
_DECIMAL = re.compile(r"\d{1,9}(\.\d{1,9})?")
_EARLIEST, _LATEST = 946_684_800, 7_258_118_400
"""The years 2000 and 2200 in Unix seconds: outside of them, a number is no time."""


class Unreadable(Exception):
    """A value, or a whole answer, that is not what the upstream promises; the text names the place."""


def text(value: Any, name: str) -> str:
    """A text that may be written as a number; freed of what no database takes."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise Unreadable(f"{name} is no text")
    return str(value).replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def optional_text(value: Any, name: str) -> str | None:
    """Likewise; missing and empty are None."""
    if value is None:
        return None
    return text(value, name).strip() or None


def identifier(value: Any, name: str) -> str:
    """An id as a string, however it is written."""
    found = optional_text(value, name)
    if found is None or len(found) > 64 or not found.isprintable():
        raise Unreadable(f"{name} is no id")
    return found


def integer(value: Any, name: str) -> int:
    """A whole number."""
    if isinstance(value, bool):
        return int(value)
    written = str(value).strip() if isinstance(value, str | int | Decimal) else ""
    if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
        written = f"{value:.0f}"
    if not _INTEGER.fullmatch(written):
        raise Unreadable(f"{name} is no whole number")
    return int(written)


def optional_integer(value: Any, name: str) -> int | None:
    """Likewise; missing and empty are None."""
    return None if value in (None, "") else integer(value, name)


def amount(value: Any, name: str) -> Decimal:
    """A sum of money, not below 0."""
    written = format(value, "f") if isinstance(value, Decimal) and value.is_finite() else str(value).strip()
    if isinstance(value, bool) or not _DECIMAL.fullmatch(written):
        raise Unreadable(f"{name} is no amount")
    return Decimal(written)


def flag(value: Any, name: str) -> bool:
    """Yes or no, written as such, as 0 and 1, or as text; missing is no."""
    match value:
        case None | "" | False | 0 | "0" | "false":
            return False
        case True | 1 | "1" | "true":
            return True
        case _:
            raise Unreadable(f"{name} is neither yes nor no")


def optional_flag(value: Any, name: str) -> bool | None:
    """Likewise; missing is None."""
    return None if value is None else flag(value, name)


def unix_time(value: Any, name: str) -> datetime | None:
    """A time in Unix seconds; missing and 0 are None."""
    seconds = optional_integer(value, name)
    if not seconds:
        return None
    if not _EARLIEST <= seconds < _LATEST:
        raise Unreadable(f"{name} is no time")
    return datetime.fromtimestamp(seconds, UTC)
