"""Cursors: they come back as they were given, and nothing else is taken for one."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.paging import decoded, encoded, next_cursor, position
from app.errors import InvalidRequest


def test_a_cursor_points_to_where_it_was_made() -> None:
    place = uuid4()
    assert decoded("rentals", encoded("rentals", place), UUID) == place
    assert decoded("rentals", None, UUID) is None


def test_a_cursor_of_another_list_is_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        decoded("rentals", encoded("events", uuid4()), UUID)
    assert refused.value.fields[0].location == "query.cursor"


@given(st.text(max_size=200))
def test_garbage_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        decoded("rentals", text, UUID)


@pytest.mark.parametrize("place", ["-1", "1.5", "01", "9" * 30, "x", ""])
def test_positions_that_are_none(place: str) -> None:
    with pytest.raises(InvalidRequest):
        decoded("sms", encoded("sms", place), position)


def test_the_last_page_has_no_cursor() -> None:
    assert next_cursor("x", [1, 2], 2, lambda n: n) is None
    assert next_cursor("x", [1, 2, 3], 2, lambda n: n) == encoded("x", 2)
