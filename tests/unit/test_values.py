"""Periods, money and countries as the whole gateway speaks of them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from app.catalog.service import rentable
from app.errors import PeriodInvalid
from app.schemas import Money
from app.values import Period, PeriodUnit, amount_text, iso_country, retry_after_seconds

NOW = datetime(2026, 11, 23, 9, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("amount", "text"),
    [("42", "42.00"), ("0.345", "0.345"), ("7.7000", "7.70"), ("0", "0.00"), ("1E+3", "1000.00")],
)
def test_money_is_written_with_two_decimals_and_more_where_they_count(amount: str, text: str) -> None:
    assert amount_text(Decimal(amount)) == text


def test_no_amount_stays_none() -> None:
    assert Money.of(None) is None


@pytest.mark.parametrize(("code", "shown"), [("UK", "GB"), ("uk ", "GB"), ("RU", "RU"), ("US3", "US3")])
def test_countries(code: str, shown: str) -> None:
    assert iso_country(code) == shown


@pytest.mark.parametrize(("unit", "count"), [("week", 1), ("week", 12), ("month", 1), ("month", 3)])
def test_what_can_be_rented(unit: str, count: int) -> None:
    assert rentable(Period(PeriodUnit(unit), count)).days in range(7, 91)


@pytest.mark.parametrize(
    ("unit", "count"), [("week", 0), ("week", 13), ("month", 4), ("week", -1), ("day", 6)]
)
def test_what_can_not(unit: str, count: int) -> None:
    with pytest.raises(PeriodInvalid):
        rentable(Period(PeriodUnit(unit), count))


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("Mon, 23 Nov 2026 09:01:30 GMT", 90.0),
        ("Mon, 23 Nov 2026 08:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("", None),
        ("Mon, 01 Jan 99999999999999 00:00:00 GMT", None),
        ("9" * 400, 999_999_999.0),
    ],
)
def test_retry_after_is_read_in_both_forms(header: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(header, NOW) == seconds
