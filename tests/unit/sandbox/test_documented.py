"""The documented form answers in the very fields and types of the examples on the provider's page."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pytest

from app.sandbox.options import Shape
from app.sandbox.refusals import DOCUMENTED
from tests.conftest import PROJECT
from tests.unit.sandbox.conftest import KEY, MakeUpstream, Upstream

EXAMPLES: dict[str, Any] = json.loads((PROJECT / "tests/upstream_examples/documented.json").read_text())
REFUSALS: list[str] = json.loads((PROJECT / "tests/upstream_examples/documented_refusals.json").read_text())

WEEK = {"dtype": "week", "dcount": 1}
DAY = 86_400


@pytest.fixture
def page(make_upstream: MakeUpstream) -> Upstream:
    """A sandbox as the page describes the upstream; its prices have the decimals of the page's."""
    upstream = make_upstream(Shape.DOCUMENTED)
    for service in ("opt16", "opt46"):
        upstream.world.prices["RU", service] = Decimal(6)
    return upstream


def types(value: Any) -> Any:
    """A value's type; of an object and of a list, that of all they hold."""
    if isinstance(value, dict):
        return {name: types(member) for name, member in value.items()}
    if isinstance(value, list):
        assert value
        found = [types(item) for item in value]
        assert all(item == found[0] for item in found)
        return [found[0]]
    return type(value).__name__


def order_id(page: Upstream) -> int:
    found: int = page.rent(service="opt16")["id"]
    return found


def whole_number(page: Upstream, order: int) -> str:
    rented = page.world.living[order].number
    return f"{rented.country.dial_code}{rented.national}".lstrip("+")


def ended(page: Upstream) -> int:
    page.world.prices["RU", "opt59"] = Decimal("0.61")
    order = page.rent(service="opt59")["id"]
    page.world.age(9 * DAY)
    return int(order)


def with_sms(page: Upstream) -> int:
    order = order_id(page)
    page.control("POST", "sms", {"order_id": order})
    page.control("POST", "sms", {"order_id": order, "service": "opt2"})
    return order


def in_its_last_week(page: Upstream) -> int:
    order = order_id(page)
    page.world.age(DAY)
    return order


def offers(page: Upstream) -> Any:
    for service in ("opt1", "opt2", "opt6", "opt16", "opt19", "opt20", "opt29", "opt44", "opt45", "opt59"):
        page.world.prices["RU", service] = Decimal(2)
    page.world.prices["RU", "opt83"] = Decimal(1)
    return page.body("getdata", country="RU", **WEEK)


def added(page: Upstream) -> Any:
    order = order_id(page)
    return page.body("add_service_to_order", id=order, service="opt2", pnumber=whole_number(page, order))


def orders(page: Upstream) -> Any:
    order_id(page)
    return page.body("orders")


def history(page: Upstream) -> Any:
    ended(page)
    return page.body("get_rent_history", skip=0, take=10)


ANSWERS: Mapping[str, Callable[[Upstream], Any]] = {
    "getcountries": lambda page: page.body("getcountries", key=None),
    "getdata": offers,
    "create": lambda page: page.body("create", country="RU", service="opt6", **WEEK),
    "orders": orders,
    "add_service_to_order": added,
    "sms": lambda page: page.body("sms", id=with_sms(page)),
    "prolong": lambda page: page.body("prolong", id=in_its_last_week(page), **WEEK),
    "activate": lambda page: page.body("activate", id=order_id(page)),
    "delete": lambda page: page.body("delete", id=order_id(page)),
    "get_rent_history": history,
    "restore_user_precalc": lambda page: page.body("restore_user_precalc", id=ended(page)),
    "restore_user": lambda page: page.body("restore_user", id=ended(page)),
}


def test_every_documented_method_is_compared() -> None:
    assert set(ANSWERS) == set(EXAMPLES)


@pytest.mark.parametrize("method", EXAMPLES)
def test_an_answer_has_the_fields_and_types_of_the_page(page: Upstream, method: str) -> None:
    assert types(ANSWERS[method](page)) == types(EXAMPLES[method])


def test_the_archive_tells_when_an_order_was_closed(page: Upstream) -> None:
    given_up, over = order_id(page), ended(page)
    (expired, deleted) = sorted(page.data("get_rent_history"), key=lambda row: row["orderId"] != over)
    assert expired["closed"] > expired["end"]
    assert deleted["orderId"] == given_up
    assert deleted["closed"] > deleted["end"]
    again = order_id(page)
    page.body("delete", id=again)
    row = next(row for row in page.data("get_rent_history") if row["orderId"] == again)
    assert row["begin"] <= row["closed"] < row["end"]


def test_the_sandbox_knows_the_messages_of_the_page_word_for_word() -> None:
    assert sorted(DOCUMENTED) == sorted(REFUSALS)


@pytest.mark.parametrize("message", [text for text in REFUSALS if not text.startswith("NOBALANCE")])
def test_each_documented_refusal_can_be_met(page: Upstream, message: str) -> None:
    order = ended(page)
    page.control("PATCH", f"orders/{order}", {"restore_error": message.partition(":")[0]})
    for method in ("restore_user_precalc", "restore_user"):
        assert page.body(method, id=order) == {"status": 0, "msg": message}


def refusal_of(beginning: str) -> str:
    return next(text for text in REFUSALS if text.startswith(beginning))


def test_restoring_is_refused_as_the_page_says(page: Upstream) -> None:
    living = order_id(page)
    assert page.refused("restore_user", id=living) == refusal_of("DATEDIFFINVERT")
    page.body("delete", id=living)
    assert page.refused("restore_user", id=living) == refusal_of("NOREMOTEDATA")
    assert page.refused("restore_user_precalc", id=1) == refusal_of("NOREMOTEDATA")
    order = ended(page)
    page.control("POST", "accounts", {"api_key": "another", "balance": "5"})
    assert page.refused("restore_user", key="another", id=order) == refusal_of("NOTOWNER")
    price = page.data("restore_user_precalc", id=order)["price"]
    page.control("POST", "accounts", {"api_key": KEY, "balance": "0.01"})
    needed = page.refused("restore_user", id=order)
    assert needed.startswith(refusal_of("NOBALANCE") + " ")
    assert Decimal(needed.rsplit(" ", 1)[1]) == Decimal(str(price))
    page.world.age(31 * DAY)
    assert page.refused("restore_user", id=order) == refusal_of("NOAVAILDAYS")
