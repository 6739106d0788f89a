"""Pauses grow for what stays unreadable, and have their bounds."""

from __future__ import annotations

import pytest

from app.sync.intervals import LONGEST_ARCHIVE_UNSETTLED, LONGEST_UNREADABLE, Intervals

INTERVALS = Intervals(busy=5.0, idle=30.0, reconcile=120.0)


@pytest.mark.parametrize("failures", [1, 2, 3, 4, 5])
def test_what_stays_unreadable_is_asked_for_less_and_less(failures: int) -> None:
    sooner, later = (INTERVALS.list_pause(n, unsettled=False) for n in (failures, failures + 1))
    assert 0.75 * 5 * 2**failures <= sooner < later <= LONGEST_UNREADABLE


@pytest.mark.parametrize("failures", [7, 50, 10_000])
def test_no_pause_is_longer_than_five_minutes(failures: int) -> None:
    assert 0.75 * LONGEST_UNREADABLE <= INTERVALS.list_pause(failures, unsettled=False) <= LONGEST_UNREADABLE
    assert INTERVALS.archive_pause(failures, unsettled=False) <= LONGEST_UNREADABLE


@pytest.mark.parametrize("failures", [1, 7, 10_000])
def test_while_an_outcome_is_unknown_lists_are_asked_at_the_active_interval(failures: int) -> None:
    assert INTERVALS.list_pause(failures, unsettled=True) == INTERVALS.busy
    assert INTERVALS.archive_pause(failures, unsettled=True) <= LONGEST_ARCHIVE_UNSETTLED
