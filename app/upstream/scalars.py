"""Reading single values of the upstream's JSON, which writes the same thing as number, text or flag.

Each kind of value is an `Expected`: what it is called, and the function that reads it or raises `Unreadable`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_NUMBER = re.compile(r"[+-]?(\d{1,40}(\.\d{0,60})?|\.\d{1,60})([eE][+-]?\d{1,2})?")
_ID = re.compile(r"[0-9]{1,20}")
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_LARGEST_INTEGER = 2**31 - 1
_LARGEST_EXPONENT = 40
_LARGEST_AMOUNT = Decimal(1_000_000)
"""US dollars. The database holds ten thousand times as much, so that sums and products of amounts fit too."""

_LARGEST_SUM = Decimal("9999999999.9999")
"""What the database holds of an amount: NUMERIC(14, 4)."""

_PLACES = Decimal("0.0001")
_EARLIEST, _LATEST = 946_684_800, 7_258_118_400
"""The years 2000 and 2200 in Unix seconds: outside of them, a number is no time."""


class Unreadable(Exception):
    """A value, or a whole answer, that is not what the upstream promises; the text names the place."""


@dataclass(frozen=True, slots=True)
class Expected(Generic[T]):
    """A kind of value: its name for people, and how it is read."""

    name: str
    read: Callable[[Any], T]


def _number(value: Any) -> Decimal:
    """A finite number of a sensible size; digits are Latin ones."""
    if isinstance(value, str) and value.isascii() and _NUMBER.fullmatch(value.strip()):
        value = Decimal(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise Unreadable("no number")
    number = Decimal(value)
    if not number.is_finite() or abs(number.adjusted()) > _LARGEST_EXPONENT:
        raise Unreadable("no number of a sensible size")
    return number


def _integral(value: Any) -> int:
    number = _number(value)
    if number != number.to_integral_value():
        raise Unreadable("no whole number")
    return int(number)


def _text(value: Any) -> str:
    """A text, which may be written as a number; freed of what no database takes."""
    if isinstance(value, int | Decimal):
        return f"{_number(value):f}"
    if not isinstance(value, str):
        raise Unreadable("no text")
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _label(value: Any) -> str:
    return _text(value).strip()


def _identifier(value: Any) -> str:
    written = value.strip() if isinstance(value, str) else str(_integral(value))
    if not _ID.fullmatch(written) or not written.strip("0"):
        raise Unreadable("no id")
    return written


def _code(value: Any) -> str:
    written = _label(value)
    if not _CODE.fullmatch(written):
        raise Unreadable("no code")
    return written


def _integer(value: Any) -> int:
    """A whole number that fits into the database's integers."""
    number = _integral(value)
    if abs(number) > _LARGEST_INTEGER:
        raise Unreadable("no number of a sensible size")
    return number


def _count(value: Any) -> int:
    number = _integer(value)
    if number < 0:
        raise Unreadable("no count")
    return number


def _amount(value: Any) -> Decimal:
    number = _number(value)
    if not 0 <= number <= _LARGEST_AMOUNT:
        raise Unreadable("no price")
    return number.quantize(_PLACES, ROUND_HALF_UP)


def _signed_amount(value: Any) -> Decimal:
    number = _number(value)
    if abs(number) >= _LARGEST_SUM + _PLACES / 2:
        raise Unreadable("no amount of a sensible size")
    rounded = number.quantize(_PLACES, ROUND_HALF_UP)
    return rounded or abs(rounded)  # of "-0" only the amount counts


def _flag(value: Any) -> bool:
    match value.strip().casefold() if isinstance(value, str) else value:
        case "0" | "false" | "no" | "off":
            return False
        case "1" | "true" | "yes" | "on":
            return True
        case bool() | int() | Decimal() as written if written in (0, 1):
            return bool(written)
        case _:
            raise Unreadable("neither yes nor no")


def _unix_time(value: Any) -> datetime | None:
    """A time in whole seconds; 0 stands for none."""
    number = _number(value)
    if not number:
        return None
    if _EARLIEST * 1000 <= number < _LATEST * 1000:
        number /= 1000
    if not _EARLIEST <= number < _LATEST:
        raise Unreadable("no time")
    return datetime.fromtimestamp(int(number), UTC)


TEXT = Expected("text", _text)
LABEL = Expected("text", _label)
"""A name: a text without the blanks around it."""

ID = Expected("id: a positive number, or its digits as text", _identifier)
CODE = Expected("code: Latin letters and digits", _code)
INTEGER = Expected("whole number", _integer)
COUNT = Expected("count: a whole number, not negative", _count)
AMOUNT = Expected("amount: US dollars, number or text", _amount)
"""US dollars, rounded half up to the four decimals that the database holds."""

SIGNED_AMOUNT = Expected("amount of money, perhaps below 0, number or text", _signed_amount)
FLAG = Expected("yes or no: flag, 0 or 1", _flag)
TIME = Expected("Unix time: number or text, seconds or milliseconds", _unix_time)
