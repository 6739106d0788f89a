"""Kinds of values and names of fields that say what stood in an answer, and nothing of what it held.

They are written into logs, problems and the report of `rentgate probe`, so both are closed: a kind is one of
`KINDS`, and a foreign name is shown only if it looks like the name of a field.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Final

MISSING: Final = "missing"
"""The kind of a value that is not there, or null."""

UNREADABLE: Final = "unreadable answer"
"""The kind of an answer that is not the promised JSON."""

KINDS: Final = {
    MISSING: "not there, or null",
    "flag": "true or false",
    "whole number": "any that is none of the following",
    "number like a time": "whole, of 10 digits, between the years 2001 and 2200",
    "number like a time in ms": "likewise, of 13 digits",
    "negative number": "whole, below 0",
    "fraction": "a number with a point or an exponent",
    "number out of bounds": "not finite, or of more than 40 digits",
    "empty text": "nothing but blanks",
    "text of digits": "Latin digits only",
    "text of digits like a time": "10 of them, or 13",
    "text like a number": "with a sign, a point, a comma or an exponent",
    "text like a date": "begins with a date, such as year, month and day, or has a clock's time",
    "text like a phone number": "a plus and digits, or groups of digits",
    "text with asterisks": "masked",
    "text": "any other",
    "empty list": "",
    "list": "",
    "empty object": "",
    "object": "",
    UNREADABLE: "nothing of it could be used: no JSON, no object, or without a readable status",
}
"""Every kind there is, and what it stands for."""

ODD_NAME: Final = "(an odd name)"
"""Stands for the name of a field that may hold something else than a name."""

_LONGEST_NAME, _MOST_DIGITS = 24, 2
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LONGEST_NUMBER = 40

_SECONDS = range(10**9, 7_258_118_400)
_MILLISECONDS = range(10**12, 7_258_118_400_000)

_LONGEST_PATTERN = 64
_TEXTS = (
    (re.compile(r"[0-9]+"), "text of digits"),
    (
        re.compile(
            r"([0-9]{4}|[0-9]{1,2})[-./][0-9]{1,2}[-./]([0-9]{4}|[0-9]{1,2})\b.*|[0-9]{1,2}:[0-9]{2}\b.*"
        ),
        "text like a date",
    ),
    (re.compile(r"\+?\(?[0-9]([ ()-]*[0-9]){6,}"), "text like a phone number"),
    (re.compile(r"[+-]?([0-9]+([.,][0-9]*)?|[.,][0-9]+)([eE][+-]?[0-9]{1,3})?"), "text like a number"),
    (re.compile(r".*\*.*"), "text with asterisks"),
)
"""The first that fits a whole text tells its kind."""


def kind_of(value: Any) -> str:
    """The kind of a value of an answer: one of `KINDS`."""
    match value:
        case None:
            return MISSING
        case bool():
            return "flag"
        case int():
            return _kind_of_whole(value)
        case Decimal():
            return "fraction" if value.is_finite() else "number out of bounds"
        case str():
            return _kind_of_text(value.strip())
        case list():
            return "list" if value else "empty list"
        case _:
            return "object" if value else "empty object"


def _kind_of_whole(number: int) -> str:
    if abs(number) >= 10**_LONGEST_NUMBER:
        return "number out of bounds"
    if number in _SECONDS:
        return "number like a time"
    if number in _MILLISECONDS:
        return "number like a time in ms"
    return "negative number" if number < 0 else "whole number"


def _kind_of_text(text: str) -> str:
    if not text:
        return "empty text"
    if len(text) > _LONGEST_PATTERN:
        return "text"
    kind = next((kind for pattern, kind in _TEXTS if pattern.fullmatch(text)), "text")
    if kind == "text of digits" and (int(text) in _SECONDS or int(text) in _MILLISECONDS):
        return "text of digits like a time"
    return kind


def shown_name(name: Any) -> str:
    """The name of a foreign field, if it is a plain one: Latin letters and underscores, two digits at most,
    24 characters at most. A number, an id, a key or a text may stand where a name is expected.
    """
    plain = isinstance(name, str) and len(name) <= _LONGEST_NAME and _PLAIN_NAME.fullmatch(name)
    return name if plain and sum(char.isdigit() for char in name) <= _MOST_DIGITS else ODD_NAME
