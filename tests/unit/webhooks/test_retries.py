"""When a delivery is tried again."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.webhooks.retries import DELAYS, LONGEST_RETRY_AFTER, delay, retry_after_seconds

NOW = datetime(2026, 11, 23, 9, 0, 0, tzinfo=UTC)


def test_the_schedule_is_the_promised_one_and_ends() -> None:
    planned = [1, 2, 5, 10, 30, 60, 300, 1800, 7200, 18000, 36000, 86400, 86400]
    assert list(DELAYS) == planned
    for failures, seconds in enumerate(planned, 1):
        found = delay(failures)
        assert found is not None
        assert seconds <= found <= seconds * 1.1
    assert delay(len(planned) + 1) is None


@given(st.integers(1, len(DELAYS)), st.floats(0, 10**9))
def test_what_the_endpoint_asks_for_is_honoured_up_to_a_day(failures: int, asked: float) -> None:
    found = delay(failures, asked)
    assert found is not None
    assert found >= min(asked, LONGEST_RETRY_AFTER)
    assert found <= max(DELAYS[failures - 1] * 1.1, LONGEST_RETRY_AFTER)


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
