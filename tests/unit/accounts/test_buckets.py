"""The token bucket: never more than burst + rate * time, and the background keeps its share."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.accounts.buckets import BACKGROUND_SHARE, Bucket, Limit

LIMITS = st.builds(Limit, rate=st.floats(0.1, 20), burst=st.integers(1, 20).map(float))
STEPS = st.lists(
    st.tuples(st.floats(0, 10), st.sampled_from(["caller", "background", "reserve"]), st.floats(0, 7)),
    min_size=1,
    max_size=60,
)


def full(limit: Limit, now: float) -> Bucket:
    return Bucket(limit.burst, 0.0, now, 0.0, 0.0)


@settings(max_examples=1000)
@given(LIMITS, STEPS)
def test_no_more_calls_than_the_limit_allows(limit: Limit, steps: list[tuple[float, str, float]]) -> None:
    """Whoever makes them; reserved turns may be used at any moment before they lapse."""
    bucket, now = full(limit, 0.0), 0.0
    calls: list[float] = []
    reserved: list[float] = []
    for pause, who, later in steps:
        now += pause
        if who == "reserve":
            left = sum(used_at > now for used_at in reserved)
            bucket, count = reserve(bucket, limit, now, "a", left=left, wanted=3)
            calls += [now + later] * count
            reserved += [now + later] * count
        elif who == "background":
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


def reserve(
    bucket: Bucket, limit: Limit, now: float, holder: str, *, left: int, wanted: int
) -> tuple[Bucket, int]:
    return bucket.reserve(limit, now, holder, left=left, wanted=wanted, seconds=8.0)


def test_half_of_the_burst_is_reserved_at_most_and_nothing_that_somebody_waits_for() -> None:
    limit = Limit(0.25, 5)
    bucket, count = reserve(full(limit, 0.0), limit, 0.0, "a", left=0, wanted=9)
    assert (count, bucket.tokens, bucket.out) == (2, 3.0, 2)
    assert reserve(bucket, limit, 1.0, "b", left=0, wanted=1)[1] == 0
    assert reserve(bucket, limit, 1.0, "a", left=1, wanted=1)[1] == 1  # it has used the other one
    assert reserve(bucket, limit, 8.0, "b", left=0, wanted=1)[1] == 1  # by now they have lapsed
    for _ in range(5):
        bucket, _ = bucket.take(limit, 0.0)
    assert reserve(bucket, limit, 8.0, "b", left=0, wanted=1)[1] == 0


def test_the_bucket_is_not_full_while_reserved_tokens_are_out() -> None:
    limit = Limit(1.0, 4)
    bucket, _ = reserve(full(limit, 0.0), limit, 0.0, "a", left=0, wanted=2)
    assert bucket.refilled(limit, 7.0).tokens == 2.0
    assert bucket.refilled(limit, 9.0).tokens == 3.0
    assert bucket.refilled(limit, 10.0).tokens == 4.0


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


@settings(max_examples=1000)
@given(LIMITS, STEPS, st.floats(1, 300), STEPS)
def test_no_turn_is_given_before_the_upstream_wants_one(
    limit: Limit,
    before: list[tuple[float, str, float]],
    seconds: float,
    after: list[tuple[float, str, float]],
) -> None:
    bucket, now = full(limit, 0.0), 0.0
    until = None
    for pause, who, _ in [*before, (0.0, "held off", 0.0), *after]:
        now += pause
        wait, given = 0.0, 1
        if who == "held off":
            bucket, until, given = bucket.held_off(limit, now, seconds), now + seconds, 0
        elif who == "caller":
            bucket, wait = bucket.take(limit, now)
        elif who == "background":
            bucket, wait = bucket.take_spare(limit, now)
            given = 0 if wait else 1
        else:
            bucket, given = reserve(bucket, limit, now, "a", left=0, wanted=3)
        if given and until is not None:
            assert now + wait >= until - 1e-6


def test_the_first_turn_after_a_hold_off_comes_when_it_ends() -> None:
    limit = Limit(0.25, 5)
    bucket = full(limit, 100.0).held_off(limit, 100.0, 60.0)
    assert bucket.take(limit, 110.0)[1] == 50.0
    assert bucket.take_spare(limit, 110.0)[1] == 50.0
    assert bucket.take(limit, 160.0)[1] == 0.0


def test_where_no_caller_comes_the_background_gets_every_token_in_its_time() -> None:
    limit = Limit(0.1, 1.0)
    bucket, wait = full(limit, 0.0).take_spare(limit, 0.0)
    assert wait == 0.0
    now, calls = 0.0, []
    for _ in range(5):
        now += 3.0  # it asks too early, and is told when to come
        bucket, wait = bucket.take_spare(limit, now)
        now += wait + 1e-6
        bucket, wait = bucket.take_spare(limit, now)
        assert wait == 0.0
        calls.append(now)
    assert calls == pytest.approx([10, 20, 30, 40, 50], abs=0.01)
