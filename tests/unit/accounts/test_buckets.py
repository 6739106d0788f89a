"""The token bucket: never more than burst + rate * time, and the background keeps its share."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from app.accounts.buckets import BACKGROUND_SHARE, Bucket, Limit

LIMITS = st.builds(Limit, rate=st.floats(0.1, 20), burst=st.integers(1, 20).map(float))
STEPS = st.lists(st.tuples(st.floats(0, 10), st.booleans()), min_size=1, max_size=60)


def full(limit: Limit, now: float) -> Bucket:
    return Bucket(limit.burst, 0.0, now, 0.0, 0.0)


@given(LIMITS, STEPS)
def test_no_more_calls_than_the_limit_allows(limit: Limit, steps: list[tuple[float, bool]]) -> None:
    bucket, now = full(limit, 0.0), 0.0
    calls: list[float] = []
    for pause, background in steps:
        now += pause
        if background:
            bucket, wait = bucket.take_spare(limit, now)
            if wait == 0.0:
                calls.append(now)
        else:
            bucket, wait = bucket.take(limit, now)
            calls.append(now + wait)
    calls.sort()
    for first in range(len(calls)):
        for last in range(first, len(calls)):
            seconds = calls[last] - calls[first]
            # Both ends may fall on a token, hence the one call of rounding.
            assert last - first + 1 <= limit.burst + limit.rate * seconds + 1.000001


def test_a_full_bucket_gives_its_burst_at_once_and_then_one_by_one() -> None:
    limit = Limit(0.5, 3)
    bucket = full(limit, 100.0)
    waits = []
    for _ in range(5):
        bucket, wait = bucket.take(limit, 100.0)
        waits.append(wait)
    assert waits == [0.0, 0.0, 0.0, 2.0, 4.0]


def test_the_background_keeps_its_share_while_callers_want_everything() -> None:
    limit = Limit(1.0, 1.0)
    bucket, now = full(limit, 0.0), 0.0
    background = 0
    for _ in range(2000):
        now += 0.1
        bucket, wait = bucket.take(limit, now)
        if wait > 20.0:  # who would wait too long is refused, and takes nothing
            bucket = _give_back(bucket)
        bucket, waited = bucket.take_spare(limit, now)
        background += waited == 0.0
    assert background >= 0.9 * BACKGROUND_SHARE * now * limit.rate


def _give_back(bucket: Bucket) -> Bucket:
    return replace(bucket, tokens=bucket.tokens + 1.0)


def test_callers_get_everything_while_the_background_sleeps() -> None:
    limit = Limit(1.0, 1.0)
    bucket = full(limit, 0.0)
    for expected in range(5):
        bucket, wait = bucket.take(limit, 0.0)
        assert wait == float(expected)
