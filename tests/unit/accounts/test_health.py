"""The health of an account: what degrades it, what makes it failing, and what makes it well again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.accounts.health import (
    CLEAN_READINGS,
    FAILURES,
    LIST,
    MOST_PROBLEMS,
    Health,
    HealthStatus,
    Observation,
    combined,
)
from app.upstream.set_aside import SetAside

WELL = Health()


def odd(method: str = LIST, subject: str = "", field: str = "data[].until") -> Observation:
    return Observation(method, subject, (SetAside(method, field, "text"),))


def clean(method: str = LIST, subject: str = "") -> Observation:
    return Observation(method, subject)


def test_anything_set_aside_degrades_and_is_told_by_place() -> None:
    found = WELL.after(odd())
    assert found.status is HealthStatus.DEGRADED
    assert found.worst is not None
    assert (found.worst.method, found.worst.field) == (LIST, "data[].until")
    assert "data[].until" in found.worst.message


def test_three_clean_readings_in_a_row_make_it_well() -> None:
    found = WELL.after(odd())
    for _ in range(CLEAN_READINGS - 1):
        found = found.after(clean())
        assert found.status is HealthStatus.DEGRADED
    assert found.after(odd()).after(clean()).status is HealthStatus.DEGRADED
    assert found.after(clean()) == WELL


def test_clean_readings_of_another_method_or_order_end_no_problem() -> None:
    found = WELL.after(odd("sms", "1"))
    for other in (clean(), clean("sms", "2"), clean("sms"), clean("get_rent_history")) * CLEAN_READINGS:
        found = found.after(other)
    assert found.has("sms", "1")
    assert found.after_all([clean("sms", "1")] * CLEAN_READINGS).status is HealthStatus.DEGRADED  # one look


def test_an_order_that_is_read_no_more_takes_its_problem_along() -> None:
    found = WELL.after(odd("sms", "1")).after(odd())
    assert found.after_all([], living={"2"}) == WELL.after(odd())
    assert found.after_all([], living={"1"}) == found
    assert found.after_all([]) == found


def test_a_list_that_fails_three_times_is_failing_until_it_is_read_three_times() -> None:
    assert WELL.after_failures(FAILURES - 1, "x") == WELL
    found = WELL.after_failures(FAILURES, "The answer can't be read.")
    assert found.status is HealthStatus.FAILING
    assert found.worst is not None
    assert (found.worst.field, found.worst.message) == (None, "The answer can't be read.")
    for _ in range(CLEAN_READINGS - 1):
        found = found.after(clean())
    assert found.status is HealthStatus.FAILING
    assert found.after(clean()) == WELL


def test_an_odd_list_does_not_make_a_failing_account_look_better() -> None:
    failing = WELL.after_failures(FAILURES, "x")
    assert failing.after(odd()).status is HealthStatus.FAILING
    assert WELL.after(odd("sms", "1")).after_failures(FAILURES, "x").worst == failing.worst


def test_pages_of_one_archive_are_one_reading() -> None:
    pages = [clean("get_rent_history"), odd("get_rent_history"), clean("get_rent_history")]
    (whole,) = combined(pages)
    assert whole == odd("get_rent_history")


observations = st.builds(
    Observation,
    st.sampled_from([LIST, "sms", "get_rent_history"]),
    st.sampled_from(["", "1", "2"]),
    st.lists(st.builds(SetAside, st.just("sms"), st.sampled_from(["a", "b"]), st.just("text"))).map(tuple),
)


@given(st.lists(st.one_of(observations, st.integers(0, 5)), max_size=60))
def test_whatever_happens_it_can_be_stored_and_gets_well_in_the_end(steps: list[Observation | int]) -> None:
    found = WELL
    for step in steps:
        found = found.after_failures(step, "x") if isinstance(step, int) else found.after(step)
        assert Health.of_record(found.record()) == found
        assert len({(p.method, p.subject) for p in found.problems}) == len(found.problems) <= MOST_PROBLEMS
    for problem in found.problems:
        for _ in range(CLEAN_READINGS):
            found = found.after(clean(problem.method, problem.subject))
    assert found == WELL


def test_no_more_problems_are_kept_than_can_be_of_use() -> None:
    found = WELL.after_all([odd("sms", str(number)) for number in range(MOST_PROBLEMS * 2)])
    assert len(found.problems) == MOST_PROBLEMS
