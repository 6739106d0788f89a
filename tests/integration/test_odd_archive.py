"""When an archive is read again of which something could not be read, and from where."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from app.sync.archive import AGAIN_SECONDS
from app.sync.intervals import LONGEST_UNREADABLE
from tests.integration.conftest import OpenHouse
from tests.integration.house import House
from tests.verbatim import Parameters, Verbatim

DAY = 86_400
HISTORY = "get_rent_history"


@pytest.fixture
def odd() -> Iterator[Verbatim]:
    """An upstream without living orders."""
    with Verbatim() as upstream:
        upstream.answers["orders"] = {"status": 1, "data": []}
        yield upstream


def row(number: int, /, **changes: Any) -> dict[str, Any]:
    now = int(time.time())
    found = {
        "orderId": 51000 + number,
        "resourceCode": "opt59",
        "number": f"7902083{number:04}",
        "country": "RU",
        "days": 7,
        "begin": now - 40 * DAY,
        "end": now - 10 * DAY,
        "closed": now - 10 * DAY + 60,
    }
    return {**found, **changes}


def serve(odd: Verbatim, rows: list[dict[str, Any]], most: int = 100) -> None:
    def page(parameters: Parameters) -> dict[str, Any]:
        skip = int(parameters["skip"])
        return {"status": 1, "data": rows[skip : skip + most]}

    odd.answers[HISTORY] = page


async def look(house: House, superuser_url: str) -> float:
    """Have the archive read; returns the seconds until it is read again. A look takes about a second, so that
    on a busy machine the next one may have to go on.
    """
    with psycopg.connect(superuser_url) as connection:
        connection.execute("update account_looks set archive_due_at = now()")
    for _ in range(10):
        await house.look()
        with psycopg.connect(superuser_url) as connection:
            (seconds,) = connection.execute(
                "select extract(epoch from archive_due_at - now())::float from account_looks"
            ).fetchone() or (0.0,)
        if seconds > 0:
            break
    return float(seconds)


def ids(superuser_url: str) -> set[str]:
    with psycopg.connect(superuser_url) as connection:
        return {found for (found,) in connection.execute("select upstream_order_id from upstream_orders")}


SOON, IN_A_DAY = pytest.approx(LONGEST_UNREADABLE, abs=5), pytest.approx(AGAIN_SECONDS, abs=5)


@pytest.mark.parametrize(
    "odd_row", [row(1, orderId="5*"), row(1, end="soon", closed=None), row(1, closed="some day", end=None)]
)
def test_an_archive_is_read_again_soon_if_this_reading_met_what_cant_be_read(
    open_house: OpenHouse, superuser_url: str, odd: Verbatim, odd_row: dict[str, Any]
) -> None:
    async def scenario() -> None:
        async with open_house(upstream_url=odd.url) as house:
            serve(odd, [odd_row, row(2)])
            assert await look(house, superuser_url) == SOON
            assert ids(superuser_url) == {"51002"}
            serve(odd, [row(1), row(2)])
            for _ in range(2):  # after three clean readings in a row it is well again
                assert await look(house, superuser_url) == SOON
                assert ids(superuser_url) == {"51001", "51002"}
            assert await look(house, superuser_url) == IN_A_DAY

    asyncio.run(scenario())


def test_an_archive_that_can_be_read_is_read_again_the_next_day(
    open_house: OpenHouse, superuser_url: str, odd: Verbatim
) -> None:
    async def scenario() -> None:
        async with open_house(upstream_url=odd.url) as house:
            serve(odd, [row(1), row(2)])
            assert await look(house, superuser_url) == IN_A_DAY
            serve(odd, [row(0, orderId=None), row(1), row(2)])
            assert await look(house, superuser_url) == SOON

    asyncio.run(scenario())


@pytest.mark.parametrize("odd_row", [row(5, orderId="5*"), row(5, end="soon", closed=0)])
def test_what_could_not_be_read_in_the_middle_of_an_archive_is_reached_again(
    open_house: OpenHouse, superuser_url: str, odd: Verbatim, odd_row: dict[str, Any]
) -> None:
    async def scenario() -> None:
        async with open_house(upstream_url=odd.url) as house:
            rows = [row(n) for n in range(10)]
            serve(odd, [*rows[:5], odd_row, *rows[6:]], most=2)
            await look(house, superuser_url)
            assert ids(superuser_url) == {str(51000 + n) for n in range(10) if n != 5}
            serve(odd, rows, most=2)
            await look(house, superuser_url)
            assert "51005" in ids(superuser_url)
            odd.calls.clear()
            await look(house, superuser_url)
            assert len(odd.of(HISTORY)) == 2  # both ends of what was read whole

    asyncio.run(scenario())


def test_a_request_that_comes_while_an_archive_is_read_is_not_lost(
    open_house: OpenHouse, superuser_url: str, odd: Verbatim
) -> None:
    async def scenario() -> None:
        async with open_house(upstream_url=odd.url) as house:

            def page(parameters: Parameters) -> dict[str, Any]:
                with psycopg.connect(superuser_url) as connection:
                    connection.execute(
                        "update account_looks"
                        " set archive_due_at = clock_timestamp(), archive_skip = 0, archive_read_at = null"
                    )
                return {"status": 1, "data": [row(1)][int(parameters["skip"]) :]}

            odd.answers[HISTORY] = page
            await house.look()
            serve(odd, [row(2), row(1)])
            with psycopg.connect(superuser_url) as connection:
                due = connection.execute(
                    "select archive_due_at <= now(), archive_skip from account_looks"
                ).fetchone()
            assert due == (True, 0)
            await look(house, superuser_url)
            assert ids(superuser_url) == {"51001", "51002"}

    asyncio.run(scenario())
