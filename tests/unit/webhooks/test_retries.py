"""When a delivery is tried again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.webhooks.retries import DELAYS, LONGEST_RETRY_AFTER, delay


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
