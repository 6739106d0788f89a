"""The envelope of every answer: `{"status": 1, "data": …}`, or `{"status": 0, "msg": "…"}`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from app.upstream.scalars import Unreadable

MESSAGE_NAMES = ("msg", "message", "error", "error_msg")
"""Where a refusal's text stands: `msg` is documented, the others were seen in public clients."""

_NAMES_INSIDE = ("message", "description", "msg")

LONGEST_INTEGER, LONGEST_DECIMAL = 64, 1024
"""How many characters of a number are read. No value of the upstream comes near them."""

LARGEST_EXPONENT = 64

NOT_A_NUMBER = Decimal("NaN")
"""What stands for a number that can't be held, or that costs too much: unreadable as a value only."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether the upstream did as it was told, the data it gave, and the message of a refusal."""

    succeeded: bool
    data: Any
    message: str

    @property
    def has_data(self) -> bool:
        """Whether the data says anything: nothing, empty rows and a list of such say nothing."""
        rows = self.data if isinstance(self.data, list) else [self.data]
        return any(bool(row) for row in rows)


def opened(body: bytes) -> Answer:
    """Read an answer of rent.php.

    Raises:
        Unreadable: it is not the promised JSON.
    """
    answer = parsed(body)
    return Answer(_succeeded(answer.get("status")), answer.get("data"), _message(answer))


def parsed(body: bytes) -> dict[str, Any]:
    """The object that a body holds; its content type is not asked, since JSON comes as text/html too.

    One odd value doesn't make the whole answer unreadable: bytes that are no UTF-8 become U+FFFD, raw control
    characters in texts are kept, and numbers that can't be held become NOT_A_NUMBER.

    Raises:
        Unreadable: it is no JSON, or no object.
    """
    try:
        answer = json.loads(
            body.decode("utf-8-sig", "replace"),
            strict=False,
            parse_int=_integer,
            parse_float=_decimal,
            parse_constant=lambda _name: NOT_A_NUMBER,
        )
    except (ValueError, RecursionError):
        raise Unreadable("the answer is not JSON") from None
    if not isinstance(answer, dict):
        raise Unreadable("the answer is no object")
    return answer


def _succeeded(status: Any) -> bool:
    written = status.strip() if isinstance(status, str) else status
    match written.casefold() if isinstance(written, str) else written:
        case 1 | "1" | "1.0" | "true":
            return True
        case 0 | "0" | "0.0" | "false":
            return False
        case _:
            raise Unreadable("status is neither 1 nor 0")


def _message(answer: Mapping[str, Any]) -> str:
    """The first text of an answer that says something; an object in its place may hold one."""
    for name in MESSAGE_NAMES:
        said = answer.get(name)
        inside = [said.get(name) for name in _NAMES_INSIDE] if isinstance(said, dict) else [said]
        for text in inside:
            if isinstance(text, str) and text.strip():
                return text
    return ""


def _integer(written: str) -> int | Decimal:
    return int(written) if len(written) <= LONGEST_INTEGER else NOT_A_NUMBER


def _decimal(written: str) -> Decimal:
    """A decimal that can be formatted and reckoned with at no great cost."""
    if len(written) > LONGEST_DECIMAL:
        return NOT_A_NUMBER
    try:
        value = Decimal(written)
    except InvalidOperation:
        return NOT_A_NUMBER
    return value if abs(value.adjusted()) <= LARGEST_EXPONENT else NOT_A_NUMBER
