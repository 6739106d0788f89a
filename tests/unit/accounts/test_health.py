"""The health of an account: what degrades it, what makes it failing, and what makes it well again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.accounts.health import (
    CLEAN_READINGS,
    FAILURES,
    LASTS,
    LIST,
    MOST_PROBLEMS,
    POLLED,
    Health,
    HealthStatus,
    Observation,
    combined,
)
from app.accounts.health_records import KeptHealth
from app.upstream.set_aside import SetAside

WELL = Health()
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
QUOTE = "restore_user_precalc"


def odd(method: str = LIST, subject: str = "", field: str = "data[].until") -> Observation:
    return Observation(method, subject, (SetAside(method, field, "text"),))


def clean(method: str = LIST, subject: str = "") -> Observation:
    return Observation(method, subject)


def test_anything_set_aside_degrades_and_is_told_by_place() -> None:
    found = WELL.after(odd(), NOW)
    assert found.status is HealthStatus.DEGRADED
    assert found.worst is not None
    assert (found.worst.method, found.worst.field) == (LIST, "data[].until")
    assert "data[].until" in found.worst.message


def test_three_clean_readings_in_a_row_make_it_well() -> None:
    found = WELL.after(odd(), NOW)
    for _ in range(CLEAN_READINGS - 1):
        found = found.after(clean(), NOW)
        assert found.status is HealthStatus.DEGRADED
    assert found.after(odd(), NOW).after(clean(), NOW).status is HealthStatus.DEGRADED
    assert found.after(clean(), NOW) == WELL


def test_clean_readings_of_another_method_or_order_end_no_problem() -> None:
    found = WELL.after(odd("sms", "1"), NOW)
    for other in (clean(), clean("sms", "2"), clean("sms"), clean("get_rent_history")) * CLEAN_READINGS:
        found = found.after(other, NOW)
    assert found.has("sms", "1")
    assert (
        found.after_all([clean("sms", "1")] * CLEAN_READINGS, NOW).status is HealthStatus.DEGRADED
    )  # one look


def test_an_order_that_is_read_no_more_takes_its_problem_along() -> None:
    found = WELL.after(odd("sms", "1"), NOW).after(odd(), NOW)
    assert found.after_all([], NOW, living={"2"}) == WELL.after(odd(), NOW)
    assert found.after_all([], NOW, living={"1"}) == found
    assert found.after_all([], NOW) == found


def test_a_list_that_fails_three_times_is_failing_until_it_is_read_three_times() -> None:
    assert WELL.after_failures(FAILURES - 1, "x") == WELL
    found = WELL.after_failures(FAILURES, "The answer can't be read.")
    assert found.status is HealthStatus.FAILING
    assert found.worst is not None
    assert (found.worst.field, found.worst.message) == (None, "The answer can't be read.")
    for _ in range(CLEAN_READINGS - 1):
        found = found.after(clean(), NOW)
    assert found.status is HealthStatus.FAILING
    assert found.after(clean(), NOW) == WELL


def test_an_odd_list_does_not_make_a_failing_account_look_better() -> None:
    failing = WELL.after_failures(FAILURES, "x")
    assert failing.after(odd(), NOW).status is HealthStatus.FAILING
    assert WELL.after(odd("sms", "1"), NOW).after_failures(FAILURES, "x").worst == failing.worst


def test_pages_of_one_archive_are_one_reading() -> None:
    pages = [clean("get_rent_history"), odd("get_rent_history"), clean("get_rent_history")]
    (whole,) = combined(pages)
    assert whole == odd("get_rent_history")


observations = st.builds(
    Observation,
    st.sampled_from([LIST, "sms", "get_rent_history", QUOTE, "activate"]),
    st.sampled_from(["", "1", "2"]),
    st.lists(st.builds(SetAside, st.just("sms"), st.sampled_from(["a", "b"]), st.just("text"))).map(tuple),
)


@given(st.lists(st.one_of(observations, st.integers(0, 5)), max_size=60))
def test_whatever_happens_it_can_be_stored_and_gets_well_in_the_end(steps: list[Observation | int]) -> None:
    found = WELL
    for step in steps:
        found = found.after_failures(step, "x") if isinstance(step, int) else found.after(step, NOW)
        assert Health.of_record(found.record()) == found
        assert len({(p.method, p.subject) for p in found.problems}) == len(found.problems)
        assert found.at(NOW) == found
        assert {problem.method for problem in found.at(NOW + LASTS).problems} <= POLLED
    for problem in found.problems:
        for _ in range(CLEAN_READINGS):
            found = found.after(clean(problem.method, problem.subject), NOW)
    assert found == WELL


ORDERS = [odd("sms", str(number)) for number in range(MOST_PROBLEMS * 2)]


def test_no_more_problems_of_orders_are_kept_than_can_be_of_use() -> None:
    found = WELL.after_all(ORDERS, NOW)
    assert len(found.problems) == MOST_PROBLEMS
    assert found.status is HealthStatus.DEGRADED


@pytest.mark.parametrize("method", [LIST, "get_rent_history", "balance", QUOTE, "create"])
def test_problems_of_many_orders_hide_none_of_the_accounts_own(method: str) -> None:
    found = WELL.after_all([*ORDERS, odd(method)], NOW)
    assert found.has(method)
    for _ in range(CLEAN_READINGS):
        found = found.after_all([clean("sms", one.subject) for one in ORDERS], NOW)
    assert [problem.method for problem in found.problems] == [method]


def test_problems_of_many_orders_hide_no_list_that_cant_be_read() -> None:
    found = WELL.after_all(ORDERS, NOW).after_failures(FAILURES, "x")
    assert found.status is HealthStatus.FAILING
    assert found.worst is not None
    assert (found.worst.method, found.worst.message) == (LIST, "x")


def test_the_worst_problem_is_told_of_and_of_several_as_bad_the_oldest() -> None:
    found, told = WELL, []
    for reading in (odd(QUOTE), odd("create"), odd("sms", "1"), odd("sms", "2"), odd(), odd("balance")):
        found = found.after(reading, NOW)
        told.append(found.worst and (found.worst.method, found.worst.subject))
    sms = ("sms", "1")
    assert told == [(QUOTE, ""), (QUOTE, ""), sms, sms, (LIST, ""), (LIST, "")]
    assert (worst := found.after_failures(FAILURES, "x").worst) is not None
    assert worst.failing


def test_a_problem_of_a_method_that_nobody_calls_again_ends_by_itself() -> None:
    found = WELL.after(odd(QUOTE), NOW).after(odd("activate"), NOW + timedelta(hours=1))
    before = NOW + LASTS - timedelta(microseconds=1)
    assert found.at(before) == found
    assert [problem.method for problem in found.at(NOW + LASTS).problems] == ["activate"]
    assert found.at(NOW + LASTS + timedelta(hours=1)) == WELL
    again = found.after(odd(QUOTE), before)
    assert again.at(NOW + LASTS).has(QUOTE)
    assert found.after_all([], NOW + LASTS * 2) == WELL


@pytest.mark.parametrize("method", sorted(POLLED))
def test_a_problem_of_a_method_that_is_polled_lasts_until_it_is_clean(method: str) -> None:
    found = WELL.after(odd(method), NOW)
    assert found.at(NOW + LASTS * 1000) == found


def test_a_failing_account_gets_well_by_no_time() -> None:
    found = WELL.after_failures(FAILURES, "x")
    assert found.at(NOW + LASTS * 1000) == found


def test_what_was_stored_before_problems_ended_by_themselves_can_be_read() -> None:
    (stored,) = WELL.after(odd(), NOW).record()
    del stored["ends_at"]
    assert Health.of_record([stored]) == WELL.after(odd(), NOW)


def test_a_status_that_ended_by_itself_is_told_since_then() -> None:
    kept = KeptHealth(WELL.after(odd(QUOTE), NOW).after(odd("create"), NOW + timedelta(hours=1)), NOW)
    still = kept.at(NOW + LASTS)
    assert (still.health.status, still.since) == (HealthStatus.DEGRADED, NOW)
    ended = kept.at(NOW + LASTS * 3).shown(NOW - LASTS)
    assert (ended.status, ended.problem) == ("ok", None)
    assert ended.since == NOW + LASTS + timedelta(hours=1)


def test_statuses_are_ordered_from_the_best_to_the_worst() -> None:
    ok, degraded, failing = HealthStatus
    assert failing.is_worse_than(degraded)
    assert degraded.is_worse_than(ok)
    assert not ok.is_worse_than(ok)
    assert not degraded.is_worse_than(failing)
