"""The sum that a refusal says is needed."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.upstream.needed_sum import needed_sum

SENTENCE = "NOBALANCE: Your balance is not enough for restoring rental order. Today need"


@pytest.mark.parametrize(
    ("message", "needed"),
    [
        ("NOBALANCE 12.50", "12.50"),
        (f"{SENTENCE} 13.2", "13.2"),
        (f"{SENTENCE} $2.40 for 30 days", "2.40"),
        (f"{SENTENCE} 2.40$ for 30 days", "2.40"),
        (f"{SENTENCE} 2.40 USD for 30 days", "2.40"),
        (f"{SENTENCE}: USD 2.40, restoring 2 orders for 30 days.", "2.40"),
        ("For 30 days you need 2.40 dollars", "2.40"),
        ("NOBALANCE: you need 7,5 USD", "7.5"),
        ("NOBALANCE: <b>&#36;&nbsp;7.5</b>", "7.5"),
        ("NOBALANCE 12.340000000000002", "12.34"),
        ("NOBALANCE 0.00005", "0.0001"),
        ("NOBALANCE 1,234.50", "1234.50"),
        ("NOBALANCE 1,234,567.5", "1234567.5"),
        ("NOBALANCE - 2.40", "2.40"),
        ("NOBALANCE 42", "42"),
        ("Not enough money for opt16: 42", "42"),
    ],
)
def test_the_sum_is_read(message: str, needed: str) -> None:
    assert needed_sum(message) == Decimal(needed)


@pytest.mark.parametrize(
    "message",
    [
        "NOBALANCE",
        "NOBALANCE 1,234",
        "NOBALANCE $1,234",
        "NOBALANCE 1.234,50",
        "NOBALANCE $1 234.50",
        "NOBALANCE -2.40",
        "NOBALANCE -$2.40",
        "NOBALANCE $-2.40",
        "NOBALANCE \u22122.40",
        f"{SENTENCE} 2.40 for 30 days",
        "Your balance is $1.00, you need $2.40",
        "Balance is not enough. Top up within 24 hours",
        "Not enough money for opt16",
        "NOBALANCE 5 €",
        "NOBALANCE 1e9",
        "NOBALANCE " + "9" * 10,
        "NOBALANCE " + "9" * 1_000_000,
        "NOBALANCE 0." + "1" * 1000,
    ],
)
def test_what_can_not_be_told_apart_is_not_told(message: str) -> None:
    assert needed_sum(message) is None


SUMS = st.decimals(0, 999_999, places=2)


@given(SUMS, st.integers(1, 999), st.sampled_from(["${}", "$ {}", "{}$", "{} USD", "usd {}", "US${}"]))
def test_the_currency_decides(needed: Decimal, days: int, form: str) -> None:
    written = form.format(f"{needed:f}")
    assert needed_sum(f"Today need {written} for {days} days") == needed
    assert needed_sum(f"For {days} days, today need {written}.") == needed


@given(SUMS, SUMS)
def test_two_sums_tell_none(first: Decimal, second: Decimal) -> None:
    assert needed_sum(f"need {first:f} or {second:f}") is None
    assert needed_sum(f"have ${first:f}, need ${second:f}") is None


@given(st.text(), st.decimals(allow_nan=False, allow_infinity=False))
def test_a_sum_is_small_and_not_negative_whatever_is_said(text: str, number: Decimal) -> None:
    for message in (text, f"{text} {number}", f"{text} ${number:f}"):
        found = needed_sum(message)
        assert found is None or 0 <= found < 10**10


@given(st.decimals(max_value=-1, places=2, allow_nan=False, allow_infinity=False))
def test_a_negative_sum_is_none(number: Decimal) -> None:
    assume(number > -(10**9))
    assert needed_sum(f"need {number:f}") is None
