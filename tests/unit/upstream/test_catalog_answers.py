"""What the upstream tells of its catalog: read row by row, and never made up."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.upstream.catalog_answers import countries, countries_of_service, default_services, offers
from app.upstream.emptiness import with_listed_data
from app.upstream.envelope import opened
from app.upstream.rows import Listing
from app.upstream.scalars import Unreadable
from app.upstream.set_aside import Findings
from app.upstream.stock_answers import day_choices, minimum_days, stock, stock_of_all
from app.upstream.wire import (
    Country,
    DayChoice,
    DefaultService,
    MinimumDays,
    Offer,
    ServiceCountry,
    Stock,
)
from tests.conftest import PROJECT

Reader = Callable[[Any, Findings], Any]

OFFICIAL = json.loads((PROJECT / "tests/upstream_examples/official.json").read_text())["methods"]

READERS: dict[str, Reader] = {
    "getcountries": countries,
    "getdata": offers,
    "getdataWithProviders": offers,
    "get_default_services": default_services,
    "get_country_by_service": countries_of_service,
    "getcount": stock,
    "getCountWithProviders": stock,
    "get_count_multi": stock_of_all,
    "get_min_paypal_days": minimum_days,
    "get_days_canada_paypal": day_choices,
}

ODD: list[Any] = [
    *(None, "", " ", [], {}, [{}], [None], True, False, 0, 1, -1, -0.5, 0.1, 2**31, -(2**63), 10**30),
    *("0", "1", "-1", "1e5", "NaN", "Infinity", "1,5", "abc", "***", "12 34", "\0", "\ud800", "٣", "&#49;"),
    *(1771494473, 1771494473000, "2026-01-20 09:47:53", "Россия", {"a": {"b": 1}}, ["x"], [[1]], {"0": {}}),
]


def read(reader: Reader, data: Any, method: str = "getdata") -> tuple[Any, Findings]:
    """What comes of an answer's data, after its way through JSON."""
    findings = Findings(method)
    answer = opened(json.dumps({"status": 1, "data": data}).encode())
    return reader(answer.data, findings), findings


def rows(reader: Reader, data: Any) -> tuple[Any, ...]:
    found, _ = read(reader, data)
    assert isinstance(found, Listing)
    return found.rows


def sample(shape: Any, key: str = "") -> Any:
    """A value of an official type."""
    if isinstance(shape, list):
        return [sample(inner) for inner in shape]
    if isinstance(shape, dict) and "one of" in shape:
        return sample(shape["one of"][0])
    if isinstance(shape, dict):
        return {("opt20" if name == "<key>" else name): sample(inner, name) for name, inner in shape.items()}
    codes = {"code": "KZ", "country": "KZ", "service": "opt20", "rent_avail_prolong": "1"}
    return {"integer": 12, "number": 1.5, "text": codes.get(key, "1.50")}[shape]


@pytest.mark.parametrize("method", READERS)
def test_answers_of_the_official_types_are_read_whole(method: str) -> None:
    data = sample(OFFICIAL[method]["answer"]["data"])
    found, findings = read(READERS[method], data)
    assert findings.set_aside == ()
    if isinstance(found, Listing):
        assert found.complete
        assert len(found) == 1


def test_what_the_official_types_come_to() -> None:
    data = {name: sample(OFFICIAL[name]["answer"]["data"]) for name in READERS}
    price = Decimal("1.5000")
    assert rows(countries, data["getcountries"]) == (Country("1.50", "KZ", "1.50", True),)
    assert rows(offers, data["getdata"]) == (Offer("opt20", "1.50", price, 12, None),)
    with_providers = data["getdataWithProviders"]
    assert rows(offers, with_providers) == (Offer("opt20", "1.50", price, 12, {"opt20": 12}),)
    assert rows(default_services, data["get_default_services"]) == (DefaultService("opt20", "1.50", price),)
    assert rows(countries_of_service, data["get_country_by_service"]) == (ServiceCountry("KZ", price, 12),)
    assert rows(stock, data["getcount"]) == (Stock("opt20", 12),)
    assert rows(stock, data["getCountWithProviders"]) == (Stock("opt20", 12, {"opt20": 12}),)
    assert read(stock_of_all, data["get_count_multi"])[0] == 12
    assert read(minimum_days, data["get_min_paypal_days"])[0] == MinimumDays(12, "1.50")
    assert rows(day_choices, data["get_days_canada_paypal"]) == (DayChoice(12, 12),)


GOOD: dict[str, tuple[dict[str, Any], str]] = {
    "getcountries": (
        {"name": "Kazakhstan", "code": "KZ", "rent_switch_type": "FAST", "rent_avail_prolong": "1"},
        "code",
    ),
    "getdata": ({"name": "X", "service": "opt20", "price_day": 1.5, "count": 3}, "service"),
    "get_default_services": ({"name": "X", "service": "opt20", "priceForDay": "1.5"}, "service"),
    "get_country_by_service": ({"price": "1.5", "country": "KZ", "phoneAmount": 3}, "country"),
    "getCountWithProviders": ({"service": "opt20", "Amount": {"a": 3}, "Total": 3}, "service"),
    "get_days_canada_paypal": ({"Days": 30, "Amount": 3}, "Days"),
}
"""A good row of each list, and the field that tells its rows apart."""

OTHER = {"code": "GB", "service": "opt21", "country": "GB", "Days": 60}


@pytest.mark.parametrize("method", GOOD)
@given(data=st.data())
def test_an_odd_value_takes_nothing_down_beside_it(method: str, data: st.DataObject) -> None:
    row, by = GOOD[method]
    other = {**row, by: OTHER[by]}
    field = data.draw(st.sampled_from([*row, "unheard-of"]))
    odd = {**other, field: data.draw(st.sampled_from(ODD))}
    if data.draw(st.booleans()):
        odd.pop(field)
    (alone,) = rows(READERS[method], [row])
    at = data.draw(st.integers(0, 1))
    listed = [row]
    listed.insert(at, odd)
    found, findings = read(READERS[method], listed)
    assert alone in found.rows
    assert len(found) == 2 or (not found.complete and findings.set_aside)


@pytest.mark.parametrize("method", GOOD)
@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_an_odd_row_takes_nothing_down_beside_it(method: str, odd: Any) -> None:
    row, _ = GOOD[method]
    alone = rows(READERS[method], [row])
    found, findings = read(READERS[method], [odd, row])
    assert alone[0] in found.rows
    assert found.complete is not bool(findings.set_aside)


@pytest.mark.parametrize("method", READERS)
@given(
    data=st.recursive(st.sampled_from(ODD), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
)
def test_whatever_the_data_is_nothing_but_unreadable_is_raised(method: str, data: Any) -> None:
    findings = Findings(method)
    with contextlib.suppress(Unreadable):
        READERS[method](opened(json.dumps({"status": 1, "data": data}).encode()).data, findings)


@pytest.mark.parametrize(
    "method", [m for m in READERS if m not in ("get_count_multi", "get_min_paypal_days")]
)
@pytest.mark.parametrize("nothing", [None, "", [], {}], ids=repr)
def test_no_data_is_an_empty_list(method: str, nothing: Any) -> None:
    found, findings = read(READERS[method], nothing)
    assert (found, findings.set_aside) == (Listing(()), ())


@pytest.mark.parametrize("method", [*GOOD, "getcount"])
@pytest.mark.parametrize("data", ["abc", True, [7], ["x"], {"0": "x"}], ids=repr)
def test_what_is_no_list_is_told(method: str, data: Any) -> None:
    findings = Findings(method)
    with pytest.raises(Unreadable):
        READERS[method](data, findings)
    assert findings.set_aside


@pytest.mark.parametrize("method", GOOD)
def test_a_row_that_comes_twice_is_one(method: str) -> None:
    row, _ = GOOD[method]
    found, _ = read(READERS[method], [row, row])
    assert len(found) == 1
    assert found.complete


@pytest.mark.parametrize("method", GOOD)
def test_a_list_that_php_wrote_as_an_object_is_read_as_a_list(method: str) -> None:
    row, by = GOOD[method]
    listed = [row, {**row, by: OTHER[by]}]
    found, findings = read(READERS[method], {"0": listed[0], "3": listed[1]})
    assert (found.rows, found.complete) == (rows(READERS[method], listed), True)
    assert not findings.set_aside


def test_of_two_prices_the_higher_one_counts() -> None:
    row, _ = GOOD["getdata"]
    for listed in ([row, {**row, "price_day": 2}], [{**row, "price_day": 2}, row]):
        assert [offer.price_per_day for offer in rows(offers, listed)] == [2]


@pytest.mark.parametrize(
    ("written", "told"),
    [("1", True), ("0", False), (True, True), (0, False), ("yes", True), (None, None), ("maybe", None)],
)
def test_whether_rentals_can_be_prolonged(written: Any, told: bool | None) -> None:
    (country,) = rows(countries, [{"code": "KZ", "rent_avail_prolong": written}])
    assert country.prolongable is told


@pytest.mark.parametrize(
    ("key", "row", "country"),
    [
        ("KZ", {"price": 1}, "KZ"),
        ("kz", {"price": 1, "country": "kz"}, "KZ"),
        ("US3", {"price": 1}, "US3"),
        ("KZ", {"price": 1, "country": "Kazakhstan"}, "KZ"),
        ("7", {"price": 1, "country": "KZ"}, "KZ"),
        ("7", {"price": 1, "country": "Kazakhstan "}, "Kazakhstan"),
        ("7", {"price": 1}, None),
        ("7", {"price": 1, "country": {"x": 1}}, None),
        ("KZ", {"country": "KZ"}, None),
        ("KZ", {"price": "?"}, None),
    ],
)
def test_a_services_country_is_never_made_up(key: str, row: dict[str, Any], country: str | None) -> None:
    found, findings = read(countries_of_service, {key: row, "GB": {"price": 2}})
    assert [listed.country for listed in found] == [country, "GB"] if country else ["GB"]
    assert found.complete is (country is not None)
    assert bool(findings.set_aside) is (country is None)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (12, 12),
        ("12", 12),
        (0, 0),
        ({"count": 12}, 12),
        ({"totalAmount": "12"}, 12),
        ({"opt1": 3, "total": 9}, [Stock("opt1", 3)]),
        ({"opt1": 3, "opt2": "4"}, [Stock("opt1", 3), Stock("opt2", 4)]),
        ({"opt1": None, "opt2": 4}, [Stock("opt1", None), Stock("opt2", 4)]),
        ({"opt1": "many", "opt2": 4}, [Stock("opt1", None), Stock("opt2", 4)]),
        ({"opt1": -1, "opt2": 4}, [Stock("opt1", None), Stock("opt2", 4)]),
        ({"0": 3, "opt2": 4}, [Stock("opt2", 4)]),
        ({"опт": 3, "opt2": 4}, [Stock("opt2", 4)]),
        ({"opt1": {"Amount": {"a": 1, "b": 2}, "Total": 5}}, [Stock("opt1", 5, {"a": 1, "b": 2})]),
        ({"opt1": {"Amount": {"a": 1, "b": 2}}}, [Stock("opt1", 3, {"a": 1, "b": 2})]),
        ({"opt1": {"Amount": {"a": 1, "b": "?"}}}, [Stock("opt1", None, {"a": 1})]),
        ({"opt1": {"Amount": {"a": 1, "b": "?"}, "Total": 5}}, [Stock("opt1", 5, {"a": 1})]),
        ({"opt1": {"Amount": {"a": 1}, "Total": "?"}}, [Stock("opt1", 1, {"a": 1})]),
        ({"opt1": {"Amount": [], "Total": 0}}, [Stock("opt1", 0, {})]),
        ({"opt1": {"Amount": 4}}, [Stock("opt1", 4)]),
        ({"opt1": {"Total": 4}}, [Stock("opt1", 4)]),
        ([{"service": "opt1", "Total": 4}], [Stock("opt1", 4)]),
    ],
)
def test_stock_in_all_forms(data: Any, told: Any) -> None:
    found, _ = read(stock, data)
    assert (list(found) if isinstance(found, Listing) else found) == told


def test_stock_of_unreadable_services_is_incomplete() -> None:
    found, findings = read(stock, {"0": 3, "opt2": 4})
    assert not found.complete
    assert findings.set_aside


@pytest.mark.parametrize(
    ("data", "count"), [({"count": 0}, 0), ({"count": "3"}, 3), ([{"count": 3}], 3), (3, 3)]
)
def test_how_many_can_take_all(data: Any, count: int) -> None:
    assert read(stock_of_all, data)[0] == count


@pytest.mark.parametrize(
    "data", [None, [], {}, {"count": None}, {"count": "?"}, {"count": -1}, "many", {"x": 3}]
)
def test_how_many_can_take_all_is_never_made_up(data: Any) -> None:
    with pytest.raises(Unreadable):
        read(stock_of_all, data)


@pytest.mark.parametrize(
    ("data", "days", "message"),
    [
        ({"Days": 30, "Status": 1, "Message": "30 days"}, 30, "30 days"),
        ({"Days": "30"}, 30, None),
        ([{"Days": 30}], 30, None),
        ({"Days": 0, "Status": 0, "Message": ""}, None, None),
        ({"Days": -3, "Message": " x "}, None, "x"),
        ({"Days": "soon", "Message": ["x"]}, None, None),
        ({"Days": None, "Message": ""}, None, None),
        (None, None, None),
        ([], None, None),
        ([{}], None, None),
    ],
)
def test_minimum_days(data: Any, days: int | None, message: str | None) -> None:
    assert read(minimum_days, data)[0] == MinimumDays(days, message)


@pytest.mark.parametrize("data", [7, "soon", [{"Days": 1}, {"Days": 2}], [7]], ids=repr)
def test_minimum_days_that_are_none(data: Any) -> None:
    with pytest.raises(Unreadable):
        read(minimum_days, data)


@pytest.mark.parametrize("method", ["get_country_by_service", "getcount", "getCountWithProviders"])
@pytest.mark.parametrize("message", ["No data found", "There are no numbers", "Nothing found"])
def test_words_that_say_that_there_is_nothing_are_an_empty_list(method: str, message: str) -> None:
    answer = with_listed_data(method, opened(json.dumps({"status": 0, "msg": message}).encode()))
    assert answer.succeeded
    assert READERS[method](answer.data, Findings(method)) == Listing(())
