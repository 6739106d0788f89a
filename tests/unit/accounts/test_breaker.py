"""The breaker: opens after 20 failures in a row, tries once every 10 s, and never counts a refusal."""

from __future__ import annotations

import pytest

from app.accounts.breaker import FAILURES_TO_OPEN, SECONDS_BETWEEN_TRIES, Breaker
from app.errors import UpstreamUnavailable


class Clock:
    """A clock that is set by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock) -> Breaker:
    breaker = Breaker(clock)
    for _ in range(FAILURES_TO_OPEN):
        breaker.pass_or_refuse()
        breaker.failed()
    return breaker


def test_it_opens_and_says_when_to_come_again() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 4
    with pytest.raises(UpstreamUnavailable) as refused:
        breaker.pass_or_refuse()
    assert refused.value.retry_after == SECONDS_BETWEEN_TRIES - 4


def test_one_try_passes_every_ten_seconds() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += SECONDS_BETWEEN_TRIES
    breaker.pass_or_refuse()
    with pytest.raises(UpstreamUnavailable):
        breaker.pass_or_refuse()
    clock.now += SECONDS_BETWEEN_TRIES
    breaker.pass_or_refuse()


def test_an_answer_closes_it() -> None:
    clock = Clock()
    breaker = opened(clock)
    breaker.answered()
    breaker.pass_or_refuse()
    breaker.failed()
    breaker.pass_or_refuse()


def test_answers_between_failures_keep_it_closed() -> None:
    breaker = Breaker(Clock())
    for _ in range(5 * FAILURES_TO_OPEN):
        breaker.pass_or_refuse()
        breaker.failed()
        breaker.answered()
    breaker.pass_or_refuse()
