"""Faults do what they say, and nothing else: money, orders, status, headers and bytes."""

from __future__ import annotations

import zlib
from decimal import Decimal
from typing import Any

import pytest

from tests.unit.sandbox.conftest import KEY, Upstream

WEEK: dict[str, Any] = {"dtype": "week", "dcount": 1}
RENT: dict[str, Any] = {"country": "RU", "service": "opt1", **WEEK}
DAY = 86_400


def fault(upstream: Upstream, method: str, kind: str, **more: Any) -> None:
    upstream.control("POST", "faults", {"method": method, "kind": kind, **more})


def state(upstream: Upstream) -> list[tuple[int, float]]:
    """All orders and their ends."""
    world = upstream.world
    return [(order.id, order.until) for order in (*world.living.values(), *world.archive.values())]


def spending(upstream: Upstream) -> dict[str, dict[str, Any]]:
    """A call of each method that spends."""
    over = upstream.rent()["id"]
    upstream.world.age(8 * DAY)
    order = upstream.rent()["id"]
    upstream.world.age(DAY)
    number = upstream.world.living[order].number
    whole = number.country.dial_code.lstrip("+") + number.national
    return {
        "create": RENT,
        "create_multi": {"country": "RU", "services": "opt1,opt2", **WEEK},
        "add_service_to_order": {"id": order, "service": "opt2", "pnumber": whole},
        "prolong": {"id": order, **WEEK},
        "prolong_max": {"id": order, "dtype": "day", "dcount": 2},
        "restore_user": {"id": over},
    }


@pytest.mark.parametrize(
    "method", ["create", "create_multi", "add_service_to_order", "prolong", "prolong_max", "restore_user"]
)
def test_a_call_can_be_charged_and_make_nothing(upstream: Upstream, method: str) -> None:
    asked = spending(upstream)[method]
    before, account = state(upstream), upstream.world.accounts[KEY]
    balance, charges = account.balance, len(upstream.world.ledger)
    fault(upstream, method, "charged_not_made", message="Try again later")
    assert upstream.refused(method, **asked) == "Try again later"
    assert state(upstream) == before
    (charge,) = upstream.world.ledger[charges:]
    assert (charge["method"], charge["orders"]) == (method, [])
    assert balance - account.balance == Decimal(charge["amount"]) > 0
    upstream.data(method, **asked)
    assert upstream.world.ledger[-1]["amount"] == charge["amount"]
    assert state(upstream) != before


def test_what_would_be_refused_is_not_charged(upstream: Upstream) -> None:
    fault(upstream, "create", "charged_not_made", message="Try again later", times=2)
    assert upstream.refused("create", **{**RENT, "country": "XX"}) == "Incorrect country"
    upstream.control("POST", "accounts", {"api_key": KEY, "balance": 0})
    assert upstream.refused("create", **RENT) == "Insufficient balance"
    assert not upstream.world.ledger


def test_a_charge_can_be_answered_as_another_fault(upstream: Upstream) -> None:
    fault(upstream, "create", "charged_not_made", answered="status_500")
    assert upstream.call("create", **RENT).status_code == 500
    fault(upstream, "create", "charged_not_made", answered="empty")
    assert upstream.call("create", **RENT).content == b""
    assert [entry["method"] for entry in upstream.world.ledger] == ["create"] * 2
    assert not upstream.world.living


@pytest.mark.parametrize(("seconds", "told"), [(7, "7"), (1.2, "2"), (0, "0")])
def test_too_many_requests_say_when_to_come_again(upstream: Upstream, seconds: float, told: str) -> None:
    fault(upstream, "create", "status_429", seconds=seconds)
    answer = upstream.call("create", **RENT)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, told)
    assert not upstream.world.living


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_body_is_answered_as_it_was_given(upstream: Upstream, when: str) -> None:
    odd = '{"status": 1, "data": [{"id": 1e400}]}\n'
    fault(upstream, "create", "body", body=odd, when=when, status=203, content_type="text/plain")
    answer = upstream.call("create", **RENT)
    assert (answer.status_code, answer.text) == (203, odd)
    assert answer.headers["content-type"].startswith("text/plain")
    assert len(upstream.world.living) == (1 if when == "after" else 0)


@pytest.mark.parametrize("layers", [1, 2])
def test_an_answer_comes_packed_whatever_is_accepted(upstream: Upstream, layers: int) -> None:
    plain = upstream.call("getcountries").content
    fault(upstream, "getcountries", "compressed", layers=layers, when="after")
    answer = upstream.request(
        "GET", "/rent.php", params={"method": "getcountries"}, headers={"Accept-Encoding": "identity"}
    )
    assert answer.headers["content-encoding"] == ", ".join(["gzip"] * layers)
    assert answer.content == plain  # the client of the tests unpacks it


def test_a_small_answer_can_swell(upstream: Upstream) -> None:
    fault(upstream, "orders", "compressed", layers=2, mebibytes=64)
    answer = upstream.call("orders")
    assert int(answer.headers["content-length"]) < 2_000
    assert len(answer.content) > 64 * 2**20
    assert zlib.crc32(answer.content.rstrip()) == zlib.crc32(b'{"status":1,"data":[]}')


@pytest.mark.parametrize(
    ("kind", "status", "text"),
    [
        ("status_500", 500, "Internal Server Error"),
        ("empty", 200, ""),
        ("html", 200, "<html>"),
        ("refuse", 400, '{"statusCode":400,"error":{"type":"ERROR","description":"Oops"}}'),
        ("body", 200, '{"statusCode": 200, "data": {"balance": null}}'),
        ("cut_json", 200, '{"statusCode":200,"data":{}'),
    ],
)
def test_the_balance_has_its_own_faults(upstream: Upstream, kind: str, status: int, text: str) -> None:
    fault(upstream, "balance", kind, message="Oops", body='{"statusCode": 200, "data": {"balance": null}}')
    assert upstream.call("orders").status_code == 200
    answer = upstream.balance()
    assert (answer.status_code, answer.text[: len(text) or None]) == (status, text)
    assert upstream.balance().json()["data"]["balance"] == "1000000"


def test_a_page_that_repeats_the_request_holds_its_key(upstream: Upstream) -> None:
    fault(upstream, "*", "echo", times=2)
    assert KEY in upstream.balance().text
    assert KEY in upstream.call("orders").text
