"""What things cost: the sum of a quote, and what adding a service for so many days is quoted by."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import PriceUnknown
from app.kinds.prices import Quote, offered_period
from app.values import LONGEST_RENTAL_DAYS, LONGEST_SERVICE_DAYS, Period, PeriodUnit


@pytest.mark.parametrize(
    ("days", "unit", "count"),
    [
        (1, PeriodUnit.WEEK, 1),
        (7, PeriodUnit.WEEK, 1),
        (13, PeriodUnit.WEEK, 1),
        (14, PeriodUnit.WEEK, 2),
        (29, PeriodUnit.WEEK, 4),
        (30, PeriodUnit.MONTH, 1),
        (34, PeriodUnit.MONTH, 1),
        (35, PeriodUnit.WEEK, 5),
        (60, PeriodUnit.MONTH, 2),
        (84, PeriodUnit.WEEK, 12),
        (90, PeriodUnit.MONTH, 3),
        (3600, PeriodUnit.MONTH, 3),
    ],
)
def test_days_are_priced_by_the_longest_period_that_is_no_longer(
    days: int, unit: PeriodUnit, count: int
) -> None:
    assert offered_period(days) == Period(unit, count)


@given(st.integers(1, LONGEST_SERVICE_DAYS))
def test_offers_can_be_asked_for_every_such_period(days: int) -> None:
    found = offered_period(days)
    assert 7 <= found.days <= LONGEST_RENTAL_DAYS
    assert found.days <= max(days, 7)


@pytest.mark.parametrize("parts", [("0",), ("0.0000",), ("2.40", "0"), ()])
def test_nothing_is_sold_for_nothing(parts: tuple[str, ...]) -> None:
    quote = Quote(tuple(Decimal(part) for part in parts))
    assert quote.total is None
    with pytest.raises(PriceUnknown):
        quote.within(Decimal(100))
