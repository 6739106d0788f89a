"""The running gateway against an archive that answers oddly: nothing behind what can't be read is lost, and
nothing is closed by what was not seen.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.conftest import Gateway
from tests.acceptance.tenant import eventually
from tests.acceptance.verbatim import Caller, serving, verbatim_gateway
from tests.conftest import MakeDatabase
from tests.verbatim import Body, Parameters, Verbatim

NOW = int(time.time())
DAY = 86_400
HISTORY = "get_rent_history"
HELD_SECONDS = 5


def order(number: int) -> dict[str, Any]:
    """A living order as the provider's page writes it."""
    return {
        "id": 40300 + number,
        "scode": "opt16",
        "sname": "Instagram",
        "state": 1,
        "pnumber": f"909606851{number}",
        "ccode": "+7",
        "cname": "RU",
        "hasnewsms": False,
        "until": NOW + 7 * DAY,
        "canprolong": True,
        "canprolongmax": 162,
        "canprolonguntil": NOW + 60 * DAY,
        "lastonline": NOW - 60,
    }


def archived(number: int, /, **changes: Any) -> dict[str, Any]:
    """An archived order as the provider's page writes it."""
    row = {
        "orderId": 51000 + number,
        "resourceCode": "opt59",
        "number": f"7902083{number:04}",
        "branchId": 1235,
        "haveSms": True,
        "days": 7,
        "country": "RU",
        "begin": NOW - 40 * DAY,
        "end": NOW - 10 * DAY,
        "closed": NOW - 10 * DAY + 60,
    }
    return {**row, **changes}


def odd_row(number: int) -> dict[str, Any]:
    return archived(number, orderId={"value": number})


def listed(*rows: Any) -> dict[str, Any]:
    return {"status": 1, "data": list(rows)}


def paged(*rows: Any, most: int = 100) -> Body:
    """An archive that honours `skip` and `take`, but shows no more than `most` rows at once."""

    def page(parameters: Parameters) -> dict[str, Any]:
        skip, take = int(parameters["skip"]), min(most, int(parameters["take"]))
        return listed(*rows[skip : skip + take])

    return page


def without_take(*rows: Any) -> Body:
    """One that shows all that is behind `skip`."""
    return lambda parameters: listed(*rows[int(parameters["skip"]) :])


@pytest.fixture(scope="module")
def odd() -> Iterator[Verbatim]:
    """The upstream of this module's tests, one after the other."""
    with Verbatim() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def odd_gateway(
    odd: Verbatim, make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway in front of it that holds what it can't tell for long enough to be seen."""
    log = tmp_path_factory.mktemp("odd") / "log.jsonl"
    held = {"RENTGATE_RECONCILE_SECONDS": str(HELD_SECONDS)}
    with verbatim_gateway(odd, make_database().app, log, **held) as gateway:
        yield gateway


@pytest.fixture
def caller(odd_gateway: Gateway, odd: Verbatim) -> Iterator[Caller]:
    """A tenant with two healthy orders, whose archive, empty unless the test says otherwise, was read."""
    answers: dict[str, Body] = {
        "orders": listed(order(0), order(1)),
        "sms": listed(),
        HISTORY: listed(),
    }
    with serving(odd_gateway, odd, answers) as found:
        found.until_rentals(2, status="active")
        eventually(lambda: len(odd.of(HISTORY)), lambda calls: calls > 0)
        found.polls(2)
        yield found


SHOWING: dict[str, tuple[Body, int]] = {
    "a page of odd rows": (paged(*map(odd_row, range(100)), archived(100)), 100),
    "pages of odd rows": (paged(*map(odd_row, range(300)), archived(300)), 300),
    "short pages of odd rows": (paged(*map(odd_row, range(9)), archived(9), most=3), 9),
    "a page of what is no row": (paged(*["a row"] * 100, archived(100)), 100),
    "a page half odd": (paged(*map(odd_row, range(50)), *map(archived, range(50, 101))), 100),
    "known rows beside an odd one": (
        paged(archived(1), archived(2), archived(2), odd_row(3), archived(4), most=2),
        4,
    ),
    "all that is left, whatever is asked for": (without_take(*map(odd_row, range(250)), archived(250)), 250),
}
"""Archives with an order behind what can't be read, and its number."""


@pytest.mark.parametrize(("archive", "last"), SHOWING.values(), ids=SHOWING)
def test_what_stands_behind_odd_rows_of_the_archive_is_imported(
    caller: Caller, odd: Verbatim, archive: Body, last: int
) -> None:
    odd.answers[HISTORY] = archive
    caller.import_again()
    (found,) = eventually(
        lambda: caller.rentals(upstream_order_id=str(51000 + last)), lambda found: len(found) == 1
    )
    assert found["status"] == "expired"
    assert caller.until_health("degraded")["problem"]["method"] == HISTORY


def shuffled(*rows: Any) -> Body:
    """The same rows in another order each time."""
    orders = itertools.cycle(itertools.permutations(rows))
    return lambda _parameters: listed(*next(orders))


def alternating(*bodies: dict[str, Any]) -> Body:
    """One after the other, for ever."""
    turns = itertools.cycle(bodies)
    return lambda _parameters: next(turns)


def ticking(*rows: Any) -> Body:
    """The same rows and one that can't be read, which differs each time."""
    ticks = itertools.count()
    return lambda _parameters: listed(*rows, odd_row(next(ticks)))


IGNORING: dict[str, tuple[Body, int]] = {
    "only an odd row": (listed(odd_row(1)), 2),
    "an odd row beside others": (listed(archived(1), odd_row(2), archived(3)), 2),
    "a full page, half odd": (listed(*map(odd_row, range(50)), *map(archived, range(50, 100))), 2),
    "more than was asked for": (listed(*map(odd_row, range(150)), archived(150)), 2),
    "keyed rows": ({"status": 1, "data": {"51001": archived(1), "51002": odd_row(2)}}, 2),
    "in another order each time": (shuffled(archived(1), odd_row(2), odd_row(3)), 2),
    "two answers in turn": (alternating(listed(odd_row(1)), listed(odd_row(2))), 3),
    "other odd rows each time": (ticking(), 25),
    "other odd rows each time, beside others": (ticking(archived(1), archived(2)), 25),
}
"""Archives that ignore `skip`, and how many calls may go into one."""


@pytest.mark.parametrize(("archive", "most"), IGNORING.values(), ids=IGNORING)
def test_an_odd_archive_that_ignores_what_is_asked_for_is_not_read_for_ever(
    caller: Caller, odd: Verbatim, archive: Body, most: int
) -> None:
    odd.answers[HISTORY] = archive
    odd.calls.clear()
    caller.import_again()
    caller.until_health("degraded")
    caller.polls(8)
    assert 2 <= len(odd.of(HISTORY)) <= most


OF_THE_ORDER = {"orderId": 40301, "resourceCode": "opt16", "number": "79096068511", "end": NOW - 5}
"""The archive's row of an order that has expired, as it can be read."""

UNTOLD: list[dict[str, Any] | str] = [
    {"orderId": "40*01"},
    {"orderId": None},
    {"end": "soon"},
    {"end": {"at": NOW}},
    {"end": None},
    "a row",
]
"""What of that row can't be read; or what stands in its place."""


def hiding(untold: dict[str, Any] | str) -> dict[str, Any]:
    """An archive that may tell how the order ended, but can't be read there."""
    return listed(archived(1), {**OF_THE_ORDER, **untold} if isinstance(untold, dict) else untold)


@pytest.mark.parametrize("untold", UNTOLD)
def test_an_order_is_not_closed_by_an_archive_that_cant_be_read_where_it_may_be(
    caller: Caller, odd: Verbatim, untold: dict[str, Any] | str
) -> None:
    odd.answers[HISTORY] = hiding(untold)
    odd.answers["orders"] = listed(order(0))
    odd.calls.clear()
    caller.polls(8)
    assert odd.of(HISTORY)
    assert len(caller.rentals(status="active")) == 2
    odd.answers[HISTORY] = listed(archived(1), OF_THE_ORDER)
    gone = eventually(
        lambda: caller.rentals(upstream_order_id="40301")[0], lambda one: one["status"] != "active"
    )
    assert gone["status"] == "expired"
    assert not caller.events("rental.deleted")
    assert len(caller.events("rental.expired")) == 1


@pytest.mark.parametrize("untold", [{"orderId": "40*01"}, {"end": "soon"}])
def test_an_archive_that_stays_odd_holds_up_a_closing_for_no_longer_than_proving_an_absence(
    caller: Caller, odd: Verbatim, untold: dict[str, Any]
) -> None:
    odd.answers[HISTORY] = hiding(untold)
    odd.answers["orders"] = listed(order(0))
    odd.calls.clear()
    since = time.monotonic()
    (gone,) = caller.until_rentals(1, status="deleted")
    assert gone["upstream_order_id"] == "40301"
    assert HELD_SECONDS < time.monotonic() - since < HELD_SECONDS + 3
    at = [call.at for call in odd.of(HISTORY)]
    assert 2 <= len(at) <= 14


def test_odd_rows_hold_up_no_order_that_the_archive_tells_of(caller: Caller, odd: Verbatim) -> None:
    odd.answers[HISTORY] = listed(
        archived(1, orderId="4*"),
        {**OF_THE_ORDER, "closed": "some day", "number": "7909***8511"},
        archived(2, end="soon"),
    )
    odd.answers["orders"] = listed(order(0), order(2))
    since = time.monotonic()
    (gone,) = caller.until_rentals(1, status="expired")
    assert gone["upstream_order_id"] == "40301"
    assert time.monotonic() - since < HELD_SECONDS
    odd.answers["orders"] = listed(order(2))
    caller.polls(8)
    assert caller.rentals(upstream_order_id="40300")[0]["status"] == "active"


def test_odd_rows_of_other_orders_hold_up_no_closing_if_their_ids_can_be_read(
    caller: Caller, odd: Verbatim
) -> None:
    odd.answers[HISTORY] = listed(archived(1, end="soon", closed="some day"), archived(2, number="7***"))
    odd.answers["orders"] = listed(order(0))
    since = time.monotonic()
    caller.until_rentals(1, status="deleted")
    assert time.monotonic() - since < HELD_SECONDS
