"""Where an archive ends: behind its last row, however much of it can't be read, and whatever is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.sync.pages import MOST_UNREADABLE, PAGE, Ask, Walk, pages
from app.upstream import account_answers
from app.upstream.client import UpstreamClient
from app.upstream.rows import Listing
from app.upstream.set_aside import Findings
from app.upstream.wire import HistoryEntry

Page = Callable[[int, int], list[Any]]


def readable(number: int) -> dict[str, Any]:
    return {"orderId": number + 1, "end": 1_700_000_000 + number}


def odd(number: int) -> dict[str, Any]:
    return {"orderId": f"{number}*", "end": 1_700_000_000 + number}


class Asked:
    """Answers the calls of a walk, and counts them."""

    def __init__(self, page: Page) -> None:
        self.calls = 0
        self._page = page

    async def history(self, _api_key: str, *, skip: int, take: int) -> Listing[HistoryEntry]:
        self.calls += 1
        return account_answers.history(self._page(skip, take), Findings("get_rent_history"))

    @property
    def ask(self) -> Ask:
        def ask(
            _method: str, call: Callable[[UpstreamClient, str], Awaitable[Listing[HistoryEntry]]]
        ) -> Awaitable[Listing[HistoryEntry]]:
            return call(self, "key")  # type: ignore[arg-type]

        return ask


def walked(asked: Asked, walk: Walk) -> set[str]:
    """The orders that a walk to the end shows."""

    async def scenario() -> set[str]:
        return {entry.order_id async for page in pages(asked.ask, walk) for entry in page}

    return asyncio.run(scenario())


@given(st.lists(st.booleans(), max_size=40), st.integers(3, PAGE))
def test_each_row_that_can_be_read_is_met_though_others_cant(are_odd: list[bool], most: int) -> None:
    rows = [(odd if is_odd else readable)(n) for n, is_odd in enumerate(are_odd)]
    walk = Walk()
    asked = Asked(lambda skip, take: rows[skip : skip + min(most, take)])
    assert walked(asked, walk) == {str(n + 1) for n, is_odd in enumerate(are_odd) if not is_odd}
    assert (walk.skip, walk.complete) == (len(rows), not any(are_odd))


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_an_archive_that_ignores_what_is_asked_for_costs_two_calls(are_odd: list[bool]) -> None:
    rows = [(odd if is_odd else readable)(n) for n, is_odd in enumerate(are_odd)]
    asked = Asked(lambda _skip, _take: rows)
    assert len(walked(asked, Walk())) == are_odd.count(False)
    assert asked.calls == 2


def test_an_archive_of_other_odd_rows_each_time_ends() -> None:
    asked = Asked(lambda _skip, _take: [readable(0), odd(asked.calls)])
    walk = Walk()
    assert walked(asked, walk) == {"1"}
    assert asked.calls == MOST_UNREADABLE + 2
    assert not walk.complete


def test_a_walk_that_was_cut_short_goes_on_and_still_ends() -> None:
    asked, walk = Asked(lambda _skip, _take: [readable(0), odd(1)]), Walk()

    async def one_page() -> int:
        async for page in pages(asked.ask, walk):
            return page.size
        return 0

    assert [asyncio.run(one_page()) for _ in range(2)] == [2, 0]
    walk.go_on_at(walk.skip)
    assert asyncio.run(one_page()) == 0
    walk.go_on_at(0)
    assert asyncio.run(one_page()) == 2
