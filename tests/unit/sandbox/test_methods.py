"""What the methods do: stock by operator, least numbers of days, added services, the archive, money."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from app.sandbox.options import Habits, HistoryForm, MultiForm
from app.sandbox.shop import COUNTRIES, SERVICES
from tests.unit.sandbox.conftest import KEY, Upstream

WEEK: dict[str, Any] = {"dtype": "week", "dcount": 1}
MONTH: dict[str, Any] = {"dtype": "month", "dcount": 1}
DAY = 86_400


def stock(upstream: Upstream, country: str, service: str) -> dict[str, int]:
    """The stock by operator, after all methods that tell of it were found to agree."""
    offers = upstream.data("getdata", country=country)
    detailed = upstream.data("getdataWithProviders", country=country)
    counts = upstream.data("getCountWithProviders", country=country)
    total = upstream.data("getcount", country=country)[service]
    (offer,) = [row for row in offers["services"] if row["service"] == service]
    (by_operator,) = [row for row in detailed["services"] if row["service"] == service]
    where = upstream.data("get_country_by_service", service=service, **WEEK)
    assert offers["totalAmount"] == detailed["totalAmount"] == sum(row["count"] for row in offers["services"])
    assert {*by_operator["count"]} == {*detailed["allOperators"]} == {*COUNTRIES[country].operators}
    assert counts[service] == {"Amount": by_operator["count"], "Total": total}
    assert offer["count"] == by_operator["totalCount"] == where[country]["phoneAmount"] == total
    assert sum(by_operator["count"].values()) == total
    assert upstream.data("get_count_multi", country=country, services=service, **WEEK) == {"count": total}
    return dict(by_operator["count"])


def test_stock_is_the_same_wherever_it_is_told(upstream: Upstream) -> None:
    upstream.control("PUT", "stock", {"country": "US", "service": "opt20", "count": 4})
    assert stock(upstream, "US", "opt20") == {"T-Mobile": 2, "Verizon": 1, "vodafone": 1}
    upstream.rent("US", "opt20", provider="Verizon")
    assert stock(upstream, "US", "opt20") == {"T-Mobile": 2, "Verizon": 0, "vodafone": 1}
    for provider in ("Verizon", "nobody"):
        refused = upstream.refused("create", country="US", service="opt20", provider=provider, **WEEK)
        assert refused == "No numbers available"
    upstream.rent("US", "opt20")
    upstream.rent("US", "opt20")
    upstream.rent("US", "opt20")
    assert not any(stock(upstream, "US", "opt20").values())
    assert upstream.refused("create", country="US", service="opt20", **WEEK) == "No numbers available"


def test_a_country_without_a_number_is_told_as_one_number(upstream: Upstream) -> None:
    for service in SERVICES:
        upstream.world.stock["ES", service] = 0
    assert upstream.data("getcount", country="ES") == 0


def test_a_number_for_several_services_is_of_one_operator(upstream: Upstream) -> None:
    upstream.world.stock["UK", "opt1"], upstream.world.stock["UK", "opt2"] = 3, 2
    several = {"country": "UK", "services": "opt1,opt2", **WEEK}
    assert upstream.data("get_count_multi", **several) == {"count": 2}
    upstream.rent("UK", "opt1", provider="orange")
    upstream.rent("UK", "opt2", provider="vodafone")
    assert upstream.data("get_count_multi", **several) == {"count": 0}
    assert upstream.refused("create_multi", **several) == "No numbers available"
    odd = upstream.data("get_count_multi", country="UK", services="opt1,opt2")
    assert odd == {"count": 2}  # without its period the upstream counts wrongly


def test_paypal_in_canada_is_rented_for_a_month_at_least(upstream: Upstream) -> None:
    asked: dict[str, Any] = {"country": "CA", "service": "opt83"}
    rule = upstream.data("get_min_paypal_days", **asked)
    assert (rule["Days"], rule["Status"]) == (30, 1)
    assert upstream.data("get_min_paypal_days", country="UK", service="opt83")["Days"] == 0
    refused = "Incorrect duration count. Min 30 days. Max 90 days."
    assert upstream.refused("create", **asked, **WEEK) == refused
    assert upstream.refused("create_multi", country="CA", services="opt1,opt83", **WEEK) == refused
    upstream.rent(**asked, **MONTH)
    choices = upstream.data("get_days_canada_paypal")
    left = upstream.data("getcount", country="CA")["opt83"]
    assert choices == [{"Days": days, "Amount": left} for days in (30, 60, 90)]
    usual = upstream.refused("create", country="CA", service="opt1", dtype="month", dcount=4)
    assert usual == "Incorrect duration count. Min 7 days. Max 90 days."


def number_of(upstream: Upstream, order: int) -> str:
    number = upstream.world.living[order].number
    return f"{number.country.dial_code}{number.national}".lstrip("+")


def test_a_service_is_added_for_some_days_or_to_the_end(upstream: Upstream) -> None:
    order = upstream.rent(**MONTH)["id"]
    asked = {"id": order, "pnumber": number_of(upstream, order)}
    child = upstream.data("add_service_to_order", service="opt2", **asked)
    until = {row["id"]: row["until"] for row in upstream.data("orders")}
    assert child["until"] == until[child["id"]] == until[order]
    shorter = upstream.data("add_service_to_order", service="opt16", rent_days=10, **asked)
    assert shorter["pnumber"] == asked["pnumber"]
    assert abs(until[order] - shorter["until"] - 20 * DAY) <= 1
    charged = Decimal(upstream.world.ledger[-1]["amount"])
    assert charged == upstream.world.price_of_day("RU", "opt16", 10) * 10
    for days in (6, 91, "x", -7):
        refused = upstream.refused("add_service_to_order", service="opt29", rent_days=days, **asked)
        assert refused == "Incorrect duration count. Min 7 days. Max 90 days."


@pytest.mark.parametrize(("form", "rows"), [(MultiForm.ORDERS, 2), (MultiForm.ROWS, 2), (MultiForm.ROW, 1)])
def test_what_several_services_become(upstream: Upstream, form: MultiForm, rows: int) -> None:
    upstream.control("PUT", "habits", {"multi": form.value})
    made = upstream.data("create_multi", country="RU", services="opt1,opt2", **WEEK)
    shown = upstream.data("orders")
    assert made["id"] in {row["id"] for row in shown}
    assert len({row["id"] for row in shown}) == (2 if form is MultiForm.ORDERS else 1)
    assert [row["scode"] for row in shown] == ["opt1", "opt2"][:rows]
    upstream.control("POST", "sms", {"order_id": made["id"], "service": "opt2", "text": "code"})
    lists = upstream.data("sms", id=made["id"])
    assert len(lists["OtherSms" if form is MultiForm.ORDERS else "SmsList"]) == 1
    expected = sum(upstream.world.price_of_day("RU", service, 7) * 7 for service in ("opt1", "opt2"))
    assert Decimal(upstream.world.ledger[-1]["amount"]) == expected


def test_where_a_rental_can_not_be_prolonged(upstream: Upstream) -> None:
    (country,) = [row for row in upstream.data("getcountries") if row["rent_avail_prolong"] == "0"]
    order = upstream.rent(country["code"])["id"]
    upstream.world.age(DAY)
    assert [row["canprolong"] for row in upstream.data("orders")] == [False]
    assert upstream.refused("prolong", id=order, **WEEK) == "Incorrect order"


def archived(upstream: Upstream, count: int) -> list[int]:
    ids = [upstream.rent()["id"] for _ in range(count)]
    upstream.world.age(8 * DAY)
    return ids


def pages(upstream: Upstream) -> list[list[int]]:
    return [
        [row["orderId"] for row in upstream.data("get_rent_history", skip=skip, take=2)] for skip in (0, 2, 4)
    ]


def test_the_archive_is_read_in_pages(upstream: Upstream) -> None:
    first, second, third = archived(upstream, 3)
    assert pages(upstream) == [[third, second], [first], []]
    upstream.sandbox.habits = Habits(history=HistoryForm.OLDEST_FIRST)
    assert pages(upstream) == [[first, second], [third], []]
    upstream.sandbox.habits = Habits(history=HistoryForm.SKIP_IGNORED)
    assert pages(upstream) == [[third, second]] * 3


def test_what_can_be_restored_is_told_by_the_archive(upstream: Upstream) -> None:
    (over,) = archived(upstream, 1)
    given_up = upstream.rent()["id"]
    upstream.data("delete", id=given_up)
    told = {row["orderId"]: row for row in upstream.data("get_rent_history")}
    assert told[over]["isAvailForRestore"] is True
    assert told[given_up]["isAvailForRestore"] is False
    assert told[over]["closed"] > told[over]["end"]
    assert told[given_up]["closed"] < told[given_up]["end"]
    assert upstream.data("restore_user", id=over) == {"id": over}
    assert [row["id"] for row in upstream.data("orders")] == [over]


def test_an_order_can_be_restored_under_a_new_id(upstream: Upstream) -> None:
    (over,) = archived(upstream, 1)
    upstream.control("PUT", "habits", {"restore_new_id": True})
    number = upstream.data("restore_user_precalc", id=over)["pnumber"]
    new = upstream.data("restore_user", id=over)["id"]
    assert new != over
    (row,) = upstream.data("orders")
    assert (row["id"], row["ccode"].lstrip("+") + row["pnumber"]) == (new, number)
    assert upstream.refused("restore_user", id=over).startswith("NOREMOTEDATA")
    assert [row["isAvailForRestore"] for row in upstream.data("get_rent_history")] == [False]


def balance(upstream: Upstream) -> Decimal:
    body: Any = upstream.balance().json()
    assert body["statusCode"] == 200
    assert isinstance(body["data"]["balance"], str)
    return Decimal(body["data"]["balance"])


def test_the_balance_falls_by_what_is_charged(upstream: Upstream) -> None:
    before = balance(upstream)
    order = upstream.rent()["id"]
    upstream.data("prolong_max", id=order, dtype="day", dcount=2)
    charged = sum(Decimal(entry["amount"]) for entry in upstream.world.ledger)
    assert charged > 0
    assert balance(upstream) == before - charged
    upstream.control("POST", "accounts", {"api_key": KEY, "balance": "10.50"})
    assert upstream.balance().text == '{"statusCode":200,"data":{"balance":"10.5"}}'
    assert upstream.balance("userinfo").json()["data"]["balance"] == "10.5"
    assert [call["account"] for call in upstream.sandbox.calls[-2:]] == [KEY[-4:]] * 2


@pytest.mark.parametrize("key", [None, "", "unknown"])
def test_nobody_is_told_the_balance_without_an_account(upstream: Upstream, key: str | None) -> None:
    answer = upstream.balance(key=key)
    assert answer.status_code == answer.json()["statusCode"] == 401
    assert set(answer.json()["error"]) == {"type", "description"}


def test_a_period_is_a_week_where_none_is_told(upstream: Upstream) -> None:
    for method in ("getdata", "getdataWithProviders", "getcount", "getCountWithProviders"):
        assert upstream.data(method, country="RU") == upstream.data(method, country="RU", **WEEK)
        assert upstream.refused(method, country="RU", dtype="year") == "Incorrect dtype or dcount"
        assert upstream.refused(method, country="XX") == "Incorrect country"
    assert upstream.refused("create", country="RU", service="opt1") == "Incorrect dtype or dcount"
    assert upstream.refused("get_country_by_service", service="opt999", **WEEK) == "Service not found"
    assert upstream.refused("nothing") == "Incorrect method"
    assert upstream.refused("orders", key="unknown") == "Invalid apikey"
