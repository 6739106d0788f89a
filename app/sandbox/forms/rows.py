"""Rows and lists in the forms that were seen."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

from app.sandbox.forms.variations import Variation

Row = dict[str, Any]

_TIMES = frozenset({"until", "date", "lastonline", "canprolonguntil", "begin", "end", "closed"})
_DATED = frozenset({"date", "lastonline"})
"""Times that were seen as a text, too."""


class Rows:
    """Varies rows by chance, among the variations that are allowed."""

    def __init__(self, chance: random.Random, allowed: frozenset[Variation]) -> None:
        self._chance = chance
        self._allowed = allowed

    def may(self, variation: Variation, odds: float) -> bool:
        """Whether this variation is used now."""
        return variation in self._allowed and self._chance.random() < odds

    def varied(self, row: Row) -> Row:
        """The row with its numbers, flags and times in other writings."""
        return {name: self._value(name, value) for name, value in row.items()}

    def _value(self, name: str, value: Any) -> Any:
        match value:
            case bool():
                return int(value) if self.may(Variation.FLAGS_AS_NUMBERS, 0.4) else value
            case dict():
                return self.varied(value)
            case int() | float():
                return self._number(self._time(name, value) if name in _TIMES else value)
            case _:
                return value

    def _number(self, value: Any) -> Any:
        if isinstance(value, int | float) and self.may(Variation.NUMBERS_AS_TEXT, 0.4):
            return str(value)
        return value

    def _time(self, name: str, seconds: int | float) -> Any:
        if self.may(Variation.TIME_MILLISECONDS, 0.1):
            return int(seconds * 1000)
        if self.may(Variation.TIME_FRACTION, 0.1):
            return seconds + 0.5
        if name in _DATED and self.may(Variation.DATE_TEXT, 0.1):
            return dated(seconds)
        return seconds

    def without(self, row: Row, name: str) -> Row:
        """The row, perhaps without a field."""
        if self.may(Variation.FIELDS_MISSING, 0.3):
            return {field: value for field, value in row.items() if field != name}
        return row

    def numbered(self, row: Row) -> Row:
        """The number with and without its dial code, the dial code here, there and nowhere."""
        if not self.may(Variation.DIAL_CODES, 0.75):
            return row
        code, national = row["ccode"], row["pnumber"]
        return {
            **row,
            **self._chance.choice(
                [
                    {"pnumber": code + national},
                    {"pnumber": code.lstrip("+") + national},
                    {"pnumber": code + national, "ccode": ""},
                ]
            ),
        }

    def listed(self, rows: list[Any], key: str | None = None, *, twice: bool = True) -> Any:
        """A list of rows as the upstream writes one.

        Args:
            key: the field that may stand as a row's key.
            twice: whether a row may stand there twice: two equal messages are two.
        """
        shown = list(rows)
        if shown and twice and self.may(Variation.ROWS_TWICE, 0.1):
            shown.insert(self._chance.randint(0, len(shown)), self._chance.choice(rows))
        if shown and self.may(Variation.ROWS_EMPTY, 0.15):
            shown.insert(self._chance.randint(0, len(shown)), self._chance.choice([None, "", {}, []]))
        if not shown or not self.may(Variation.LIST_AS_OBJECT, 0.15):
            return shown
        keys = [str(row[key]) for row in shown if isinstance(row, dict) and row.get(key)] if key else []
        if len(set(keys)) == len(shown) and self._chance.random() < 0.5:
            return dict(zip(keys, shown, strict=True))
        return {str(2 * position): row for position, row in enumerate(shown)}

    def message(self, row: Row) -> Any:
        """A message that came for the order's own service."""
        if self.may(Variation.SMS_STRINGS, 0.1):
            return row["text"]
        return self.varied(self.without(row, self._chance.choice(["date", "sender"])))

    def other_message(self, row: Row) -> Any:
        """A message that came for another service."""
        if self.may(Variation.OTHER_SMS_NAMES, 0.3):
            return self._chance.choice(
                [{"message": row["text"], "from": row.get("sender", "")}, {"fullText": row["text"]}]
            )
        return self.message(row)


def dated(seconds: float) -> str:
    """A time as a text whose zone nobody knows."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"
