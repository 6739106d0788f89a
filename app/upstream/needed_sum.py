"""The sum that is needed, as a refusal for want of money tells it. What can't be told apart is not told."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from app.upstream.meanings import plain

_PLACES = Decimal("0.0001")

_NUMBER = re.compile(r"[0-9]+(?:[.,][0-9]+| [0-9]{3}(?![0-9]))*")
_READABLE = re.compile(r"([0-9]{1,9}|[0-9]{1,3}(?:,[0-9]{3}){1,2})(?:[.,]([0-9]{1,20}))?")

_DOLLARS_BEFORE = re.compile(r"(?:\$|(?<![a-z])usd:?) ?[-\u2212]?$")
_DOLLARS_AFTER = re.compile(r" ?(?:\$|us ?\$|(?:usd|dollars?)\b)")
_NEGATIVE = re.compile(r"[-\u2212](?:(?:us ?)?\$|usd)? ?$(?<![-\u2212] )")
_OTHER_BEFORE = re.compile(r"[€£₽] ?$")
_OTHER_AFTER = re.compile(
    r" ?(?:[€£₽%]|(?:eur|euros?|rub|rubles?|seconds?|minutes?|hours?|days?|weeks?|months?|years?|orders?)\b)"
)
"""What is no sum of dollars: other currencies, and what is counted."""


@dataclass(frozen=True, slots=True)
class _Number:
    """A number of a text: its value if it can be a sum of dollars, and whether it says that it is one."""

    value: Decimal | None
    is_marked: bool


def needed_sum(message: str) -> Decimal | None:
    """US dollars that are needed: the number with a currency mark, or the only number there is.

    Seen: "NOBALANCE 12.50"; documented: a sentence that ends in "Today need" and the sum.
    """
    text = plain(message).casefold()
    numbers = [number for found in _NUMBER.finditer(text) if (number := _number(text, found)) is not None]
    marked = [number for number in numbers if number.is_marked]
    told = marked or numbers
    return told[0].value if len(told) == 1 else None


def _number(text: str, found: re.Match[str]) -> _Number | None:
    """One number; None if its digits are a part of a word, such as opt16."""
    before, after = text[max(0, found.start() - 8) : found.start()], text[found.end() : found.end() + 12]
    is_marked = bool(_DOLLARS_BEFORE.search(before) or _DOLLARS_AFTER.match(after))
    if before[-1:].isalpha() and not is_marked:
        return None
    is_other = (
        _NEGATIVE.search(before)
        or _OTHER_BEFORE.search(before)
        or _OTHER_AFTER.match(after)
        or (after[:1].isalpha() and not is_marked)
    )
    return _Number(None if is_other else _value(found[0]), is_marked)


def _value(written: str) -> Decimal | None:
    read = _READABLE.fullmatch(written)
    if read is None:
        return None
    whole, part = read.groups()
    if part is not None and len(part) == 3 and written == f"{whole},{part}" and "," not in whole:
        return None  # of "1,234" nobody knows what the comma is for
    return Decimal(f"{whole.replace(',', '')}.{part or 0}").quantize(_PLACES, ROUND_HALF_UP)
