"""Any odd value in any field of any method: the rows beside it are read whole, and nothing is raised.

Each field of each method is given each of the odd values, in a row among good ones, in a list and in an
object with gaps in its keys. Then whole rows are odd, and whole answers.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.upstream.errors import CallFailed, Outcome
from tests.unit.upstream.canned import ORDER_ID, data, read, read_now

MISSING = object()

ODD: list[Any] = [
    MISSING,
    None,
    "",
    "   ",
    True,
    False,
    0,
    -1,
    -5.5,
    0.34999999999999998,
    1.5,
    2**31,
    2**63,
    10**30,
    "10000000000000000000000000000000000000000000",
    1e300,
    1768903921123,
    "1768903921123",
    1768903921.75,
    "1768903921.75",
    9999999999999999,
    "2026-01-20 09:47:53",
    "2026-01-20T09:47:53Z",
    "01.02.2026",
    "7909*****11",
    "79096068511, 79096068512",
    "+737067787324",
    "&#36;5 &amp; more",
    "<b>1</b>",
    "null",
    "N/A",
    "\u0667\u0668\u0669",
    "\u0000\ud800",
    "x" * 5000,
    [],
    {},
    [1],
    ["a", {"b": None}],
    {"value": 1},
    {"0": {"id": 1}},
]

RAW = [
    "1e999999999",
    "-1e999999999",
    "1" * 5000,
    "NaN",
    "Infinity",
    "1e99999999999999999999",
    "0." + "1" * 3000,
]
"""Numbers that JSON's readers take or refuse in different ways."""

ORDERS = [
    {
        "id": 40300 + n,
        "scode": f"opt{n}",
        "sname": "Instagram",
        "state": n % 3,
        "pnumber": f"909606851{n}",
        "ccode": "+7",
        "cname": "RU",
        "hasnewsms": bool(n % 2),
        "until": 1771494473 + n,
        "canprolong": True,
        "canprolongmax": 162,
        "canprolonguntil": 1771594473,
        "lastonline": 1768903921,
    }
    for n in range(4)
]
HISTORY = [
    {
        "orderId": 517017 + n,
        "resourceCode": "opt59",
        "number": f"7902083194{n}",
        "branchId": 1235,
        "haveSms": True,
        "isAvailForRestore": True,
        "days": 7,
        "country": "RU",
        "begin": 1768902473,
        "end": 1771494473,
        "closed": 1768903921,
    }
    for n in range(4)
]
OFFERS = [
    {"name": "Airbnb", "service": f"opt{n}", "price_day": 6.25, "count": 359, "img": "x.png", "procent": 10}
    for n in range(4)
]
WITH_OPERATORS = [{**row, "count": {"mts": 3, "tele2": 4}, "totalCount": 7} for row in OFFERS]
COUNTRIES = [
    {
        "name": f"N{n}",
        "code": code,
        "url_country_name": "x",
        "rent_switch_type": "FAST",
        "rent_avail_prolong": "1",
    }
    for n, code in enumerate(["RU", "UK", "US3", "LT"])
]
MESSAGES = [{"text": f"code {n}", "sender": "FACEBOOK", "date": 1586948100 + n} for n in range(4)]
DEFAULTS = [{"name": "Airbnb", "service": f"opt{n}", "priceForDay": "6.25", "img": "x"} for n in range(4)]
BY_COUNTRY = [
    {"service_name": "A", "price": "1.5", "country": code, "phoneAmount": 5}
    for code in ["RU", "UK", "US3", "LT"]
]
CHOICES = [{"Days": 30 + n, "Amount": 5} for n in range(4)]

LISTS: dict[str, list[dict[str, Any]]] = {
    "orders": ORDERS,
    "get_rent_history": HISTORY,
    "getdata": OFFERS,
    "getdataWithProviders": WITH_OPERATORS,
    "getcountries": COUNTRIES,
    "sms": MESSAGES,
    "get_default_services": DEFAULTS,
    "get_country_by_service": BY_COUNTRY,
    "get_days_canada_paypal": CHOICES,
    "create": [{key: row[key] for key in ("id", "pnumber", "ccode", "until")} for row in ORDERS],
    "create_multi": [{key: row[key] for key in ("id", "pnumber", "ccode", "until")} for row in ORDERS],
}
ONE: dict[str, dict[str, Any]] = {
    "restore_user_precalc": {
        "ccode": "RU",
        "scode": "opt59",
        "price": 2.4,
        "sname": "Avito",
        "pnumber": "79929831844",
        "outdays": 32,
        "orderid": int(ORDER_ID),
        "prolongTo": 30,
    },
    "restore_user": {"id": 5},
    "add_service_to_order": {"id": 8, "pnumber": "9096068511", "service": "opt2", "until": 1771494473},
    "activate": {"id": int(ORDER_ID)},
    "prolong": {"id": int(ORDER_ID)},
    "prolong_max": {"id": int(ORDER_ID)},
    "delete": {"id": int(ORDER_ID)},
    "get_min_paypal_days": {"Days": 30, "Status": 1, "Message": "At least 30 days"},
    "get_count_multi": {"count": 5},
}
SHARED_IDS = {"orders": "id", "get_rent_history": "orderId", "create": "id", "create_multi": "id"}
"""Methods whose rows are the same one if they have the same id."""


def rows_of(method: str, content: Any) -> list[Any]:
    """The rows that were read, of any method with a list."""
    return list(content.rented) if method == "sms" else list(content)


def put(row: dict[str, Any], field: str, value: Any) -> dict[str, Any]:
    """The row with another value in a field, or without it."""
    rest = {name: known for name, known in row.items() if name != field}
    return rest if value is MISSING else {**rest, field: value}


def as_object(rows: list[Any]) -> dict[str, Any]:
    """A list as PHP writes one whose keys have gaps."""
    return {str(2 * index): row for index, row in enumerate(rows)}


async def failure_of(method: str, body: Any) -> Outcome | None:
    """What is certain of a call that was answered so; None if it succeeded."""
    try:
        await read(method, body)
    except CallFailed as failure:
        return failure.outcome
    return None


@pytest.mark.parametrize("method", LISTS)
def test_an_odd_value_in_any_field_leaves_the_rows_beside_it_whole(method: str) -> None:
    good = [LISTS[method][index] for index in (0, 1, 3)]

    async def check() -> None:
        expected = rows_of(method, (await read(method, data(good)))[0])
        assert len(expected) == 3
        for field in LISTS[method][2]:
            for value in ODD:
                odd = put(LISTS[method][2], field, value)
                for form in ([odd, *good], as_object([good[0], odd, *good[1:]])):
                    found = rows_of(method, (await read(method, data(form)))[0])
                    assert [row for row in found if row in expected] == expected, (field, value)
                    assert len(found) in (3, 4), (field, value)

    asyncio.run(check())


@pytest.mark.parametrize("method", LISTS)
def test_numbers_that_no_reader_holds_are_set_aside_alone(method: str) -> None:
    good = [LISTS[method][index] for index in (0, 1, 3)]

    async def check() -> None:
        expected = rows_of(method, (await read(method, data(good)))[0])
        for field in LISTS[method][2]:
            for number in RAW:
                odd = put(LISTS[method][2], field, "@@")
                body = json.dumps(data([good[0], odd, *good[1:]])).replace('"@@"', number).encode()
                found = rows_of(method, (await read(method, body))[0])
                assert [row for row in found if row in expected] == expected, (field, number[:20])

    asyncio.run(check())


@pytest.mark.parametrize("method", LISTS)
@pytest.mark.parametrize(
    "odd", [None, "", " ", {}, [], 7, True, "text", [1], ["a"], {"x": 1}, {"x": {"y": 2}}]
)
def test_a_row_that_is_none_leaves_the_rows_beside_it_whole(method: str, odd: Any) -> None:
    good = LISTS[method][:3]
    expected = rows_of(method, read_now(method, data(good))[0])
    for form in ([good[0], odd, *good[1:]], as_object([good[0], odd, *good[1:]])):
        found = rows_of(method, read_now(method, data(form))[0])
        assert [row for row in found if row in expected] == expected


@pytest.mark.parametrize("method", ONE)
def test_an_odd_value_in_a_single_answer_is_read_or_makes_the_outcome_unknown(method: str) -> None:
    async def check() -> None:
        for field in ONE[method]:
            for value in ODD:
                failed = await failure_of(method, data(put(ONE[method], field, value)))
                assert failed in (None, Outcome.UNKNOWN), (field, value)

    asyncio.run(check())


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(LISTS)).flatmap(
        lambda method: st.tuples(
            st.just(method),
            st.lists(
                st.tuples(st.sampled_from(sorted(LISTS[method][0])), st.sampled_from(range(len(ODD)))),
                min_size=1,
                max_size=6,
            ),
            st.integers(0, 3),
        )
    )
)
def test_several_odd_values_in_one_row_leave_the_others_whole(
    given_case: tuple[str, list[tuple[str, int]], int],
) -> None:
    method, changes, place = given_case
    good = LISTS[method][:3]
    odd = LISTS[method][3]
    for field, index in changes:
        odd = put(odd, field, ODD[index])
    expected = rows_of(method, read_now(method, data(good))[0])
    found = rows_of(method, read_now(method, data([*good[:place], odd, *good[place:]]))[0])
    assert [row for row in found if row in expected] == expected


@pytest.mark.parametrize("method", sorted({*LISTS, *ONE, "getcount", "getCountWithProviders"}))
def test_an_answer_that_is_odd_as_a_whole_raises_nothing_but_a_failed_call(method: str) -> None:
    async def check() -> None:
        for value in ODD:
            body = {"status": 1} if value is MISSING else data(value)
            assert await failure_of(method, body) in (None, Outcome.UNKNOWN), value

    asyncio.run(check())


@pytest.mark.parametrize("id_field", sorted(set(SHARED_IDS.values())))
@pytest.mark.parametrize("value", [v for v in ODD if v not in (1768903921123, "1768903921123")])
def test_only_a_row_without_a_readable_id_makes_a_list_incomplete(id_field: str, value: Any) -> None:
    method = {"id": "orders", "orderId": "get_rent_history"}[id_field]
    for field in LISTS[method][0]:
        content, _ = read_now(method, data([put(LISTS[method][0], field, value), *LISTS[method][1:]]))
        readable = {"2147483648": 2**31, "9223372036854775808": 2**63, "9999999999999999": 9999999999999999}
        has_id = field != id_field or value in readable.values()
        assert content.complete is has_id, field
        assert len(content) == (4 if has_id else 3), field
