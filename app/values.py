"""The small values that every part speaks of: periods, money, countries, the clock's reading, and waits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final

CURRENCY: Final = "USD"
"""The upstream's only currency."""

SHORTEST_RENTAL_DAYS, LONGEST_RENTAL_DAYS = 7, 90

LONGEST_PROLONGING_BY_DAYS = 6
"""More is prolonged by weeks or months (seen in public clients of `prolong_max`)."""

LONGEST_PROLONGING = 120
"""Weeks or months. The upstream's own limits are not known, but no end lies beyond what a date can hold."""

LONGEST_SERVICE_DAYS = 30 * LONGEST_PROLONGING
"""For how long a service is added at most: no rental can be prolonged by more at once."""


ENDED_AT_ONCE: Final = (AttributeError, RuntimeError)
"""What anyio and redis raise on uvloop, untranslated, where the other side ends a connection as soon as it is
made, or just before it is written to: they ask a socket that is gone.
"""


class PeriodUnit(StrEnum):
    """How the upstream counts time (its `dtype`)."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"

    @property
    def days(self) -> int:
        """Days in one unit; a month counts as 30, as the upstream prices it."""
        return {PeriodUnit.DAY: 1, PeriodUnit.WEEK: 7, PeriodUnit.MONTH: 30}[self]


@dataclass(frozen=True, slots=True)
class Period:
    """A time to rent or to prolong by: so many weeks, months or days."""

    unit: PeriodUnit
    count: int

    @property
    def days(self) -> int:
        """The period's length in days."""
        return self.unit.days * self.count


def iso_country(upstream_code: str) -> str:
    """The code we show for a country of the upstream: ISO 3166-1 alpha-2 where there is one, else its own.

    The upstream's letters are ISO but for `UK`; pools such as `US3` have no ISO code and stay as they are.
    """
    code = upstream_code.strip().upper()
    return "GB" if code == "UK" else code


def amount_text(amount: Decimal) -> str:
    """Money as text: two decimals, more only where they count (`42` -> `42.00`, `0.345` -> `0.345`)."""
    exact = amount.normalize()
    exponent = exact.as_tuple().exponent
    places = max(2, -exponent if isinstance(exponent, int) else 2)
    return f"{amount:.{places}f}"


def utc_now() -> datetime:
    """This machine's clock, in UTC."""
    return datetime.now(UTC)


def retry_after_seconds(header: str | None, now: datetime) -> float | None:
    """What a `Retry-After` header asks for: seconds, or an HTTP date; None if it is neither."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())
