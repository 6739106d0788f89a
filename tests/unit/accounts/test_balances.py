"""When a balance crosses its mark, and how long a reading that failed is waited for."""

from __future__ import annotations

import itertools
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.accounts.balances import AccountBalance, crosses, is_low
from app.errors import UpstreamBusy, UpstreamUnavailable
from app.sync.balances import BalanceTimes

AMOUNTS = st.decimals(-5, 5, places=1)


@pytest.mark.parametrize(
    ("amount", "mark", "low"),
    [
        ("9.99", "10", True),
        ("10", "10.0000", False),
        ("-1", "0", True),
        (None, "10", False),
        ("1", None, False),
    ],
)
def test_low_is_below_the_mark_and_not_at_it(amount: str | None, mark: str | None, low: bool) -> None:
    def number(text: str | None) -> Decimal | None:
        return None if text is None else Decimal(text)

    assert is_low(number(amount), number(mark)) is low


@given(st.lists(st.tuples(st.sampled_from(["reading", "mark"]), AMOUNTS | st.none()), max_size=40))
def test_it_is_told_once_until_the_balance_was_at_its_mark_or_above(
    steps: list[tuple[str, Decimal | None]],
) -> None:
    amount: Decimal | None = None
    mark: Decimal | None = None
    was_low, armed = False, True
    for kind, value in steps:
        if kind == "mark":
            mark = value
        elif value is not None:
            amount = value
        found = AccountBalance(amount, None, mark)
        told, was_low = crosses(found, was_low=was_low), is_low(amount, mark)
        below = amount is not None and mark is not None and amount < mark
        assert told == (below and armed)
        armed = not below


def test_pauses_grow_up_to_the_interval() -> None:
    times = BalanceTimes(interval=3600, retry=10)
    away = UpstreamUnavailable()
    pauses = [times.pause(away, failures) for failures in range(12)]
    assert 10 <= pauses[0] <= 12.5
    assert all(later > earlier or later == 600 for earlier, later in itertools.pairwise(pauses))
    assert pauses[6:] == [600] * 6
    assert times.pause(UpstreamBusy(retry_after=90), 0) == 90
    assert times.pause(UpstreamBusy(retry_after=86_400), 0) == 600
    assert BalanceTimes(interval=60).pause(away, 9) == 60
