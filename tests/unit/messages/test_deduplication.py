"""Which messages are new: equal ones count, order and repetition don't, and nothing is lost."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.messages.deduplication import OTHER, RENTED, digest, sightings
from app.upstream.wire import Sms, SmsLists

START = datetime(2026, 11, 1, tzinfo=UTC)
MESSAGES = st.builds(
    Sms,
    text=st.sampled_from(["code 1", "code 2", ""]),
    sender=st.sampled_from([None, "", "Google"]),
    received_at=st.none() | st.integers(0, 3).map(lambda n: START + timedelta(seconds=n)),
)
LISTS = st.lists(MESSAGES, max_size=8)


def known(lists: list[SmsLists]) -> Counter[tuple[bytes, int]]:
    return Counter((found.digest, found.occurrence) for found in sightings(lists))


@given(LISTS)
def test_a_list_gives_each_of_its_messages_once(shown: list[Sms]) -> None:
    assert len(sightings([SmsLists(tuple(shown))])) == len(shown)


@given(LISTS, st.randoms())
def test_another_order_of_the_same_list_is_no_news(shown: list[Sms], chance: object) -> None:
    shuffled = list(shown)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert known([SmsLists(tuple(shown))]) == known([SmsLists(tuple(shuffled))])


@given(LISTS, MESSAGES)
def test_one_more_message_is_one_more(shown: list[Sms], another: Sms) -> None:
    before, after = known([SmsLists(tuple(shown))]), known([SmsLists((*shown, another))])
    assert sum((after - before).values()) == 1


@given(LISTS)
def test_two_orders_that_show_the_same_number_show_the_same_messages(shown: list[Sms]) -> None:
    one, two = SmsLists(tuple(shown)), SmsLists((), tuple(shown))
    found = sightings([two, one])
    assert len(found) == len(shown)
    assert {sighting.scope for sighting in found} <= {RENTED}


def test_other_scope_is_kept_where_no_order_claims_the_message() -> None:
    (found,) = sightings([SmsLists((), (Sms("x", None, None),))])
    assert found.scope == OTHER


def test_two_equal_messages_are_two() -> None:
    sms = Sms("code 1", "Google", START)
    assert [s.occurrence for s in sightings([SmsLists((sms, sms))])] == [1, 2]


def test_absence_differs_from_emptiness() -> None:
    assert digest(Sms("x", None, None)) != digest(Sms("x", "", None))
    assert digest(Sms("a", "bc", None)) != digest(Sms("ab", "c", None))


def test_arrival_is_by_date_and_undated_ones_come_last() -> None:
    late, early, undated = (
        Sms("b", None, START + timedelta(1)),
        Sms("a", None, START),
        Sms("c", None, None),
    )
    assert [s.sms.text for s in sightings([SmsLists((undated, late, early))])] == ["a", "b", "c"]
