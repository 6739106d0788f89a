"""Every example of the provider's page and of public code, answered verbatim: what a caller sees of it.

Only ids are changed, where an example is about another order than the one that the gateway asks for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import Gateway
from tests.acceptance.tenant import eventually, ok, problem
from tests.acceptance.verbatim import Caller, serving, verbatim_gateway
from tests.conftest import MakeDatabase
from tests.verbatim import Verbatim

EXAMPLES = Path(__file__).parents[1] / "upstream_examples"
DOCUMENTED: dict[str, Any] = json.loads((EXAMPLES / "documented.json").read_text())
SEEN: dict[str, dict[str, Any]] = {
    example["why"]: example for example in json.loads((EXAMPLES / "seen.json").read_text())
}

LISTED, BOUGHT, ARCHIVED = "40300", "40370", "517017"
"""The orders of the examples of `orders`, `create` and `get_rent_history`."""


def about(order_id: str, body: Any) -> Any:
    """An example that names the order of another one, about this order."""
    written = json.dumps(body).replace("317017", order_id).replace('"id": 123', f'"id": {order_id}')
    return json.loads(written)


def seen(why: str) -> Any:
    """The answer of public code that this is said of."""
    (example,) = [example for text, example in SEEN.items() if text.startswith(why)]
    return example["raw"].encode() if "raw" in example else example["body"]


def at(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture(scope="module")
def upstream() -> Iterator[Verbatim]:
    """Answers just what the examples say."""
    with Verbatim() as served:
        yield served


@pytest.fixture(scope="module")
def examples_gateway(
    upstream: Verbatim, make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway in front of it."""
    log = tmp_path_factory.mktemp("examples") / "log.jsonl"
    with verbatim_gateway(upstream, make_database().app, log) as gateway:
        yield gateway


@pytest.fixture
def caller(examples_gateway: Gateway, upstream: Verbatim) -> Iterator[Caller]:
    """A tenant whose upstream answers as the provider's page says."""
    with serving(examples_gateway, upstream, DOCUMENTED) as found:
        yield found


def rental_of(caller: Caller, order_id: str) -> dict[str, Any]:
    """The rental of an order, once the gateway shows it."""
    (found,) = eventually(lambda: caller.rentals(upstream_order_id=order_id), lambda found: len(found) == 1)
    rental: dict[str, Any] = found
    return rental


def test_countries_and_offers_as_documented(caller: Caller) -> None:
    (country,) = ok(caller.http.get("/countries"))["items"]
    assert country == {
        "code": "RU",
        "name": "Россия",
        "upstream_code": "RU",
        "switch_type": None,
        "prolongable": None,
    }
    (offer,) = ok(caller.http.get("/countries/RU/services"))["items"]
    assert offer == {
        "service": "opt46",
        "name": "Airbnb",
        "price_per_day": {"amount": "6.00", "currency": "USD"},
        "total_price": {"amount": "42.00", "currency": "USD"},
        "available": 359,
        "operators": None,
    }


def test_an_order_and_its_message_as_documented(caller: Caller) -> None:
    rental = rental_of(caller, LISTED)
    assert (rental["status"], rental["number_state"]) == ("active", "inactive")
    assert (rental["phone_number"], rental["country"]) == ("+79096068511", "RU")
    assert rental["services"] == [{"code": "opt16", "name": "Instagram"}]
    assert rental["expires_at"] == at(1587552240)
    assert rental["prolongation"] == {"available": True, "max_days": 162, "until": at(1634883780)}
    assert (rental["last_online_at"], rental["has_new_sms"]) == (at(1586947920), False)
    (message,) = ok(caller.http.get(f"/rentals/{rental['id']}/sms", params={"refresh": "true"}))["items"]
    assert (message["text"], message["sender"]) == ("Code Instagram: 671 094.", "FACEBOOK")
    assert (message["scope"], message["received_at"]) == ("rented", at(1586948100))
    assert caller.health["status"] == "ok"


def test_an_archived_order_as_documented(caller: Caller) -> None:
    rental = rental_of(caller, ARCHIVED)
    assert (rental["status"], rental["source"], rental["phone_number"]) == (
        "expired",
        "imported",
        "+79020831944",
    )
    assert (rental["country"], rental["restorable"], rental["expires_at"]) == (None, None, at(1611111931))
    assert [service["code"] for service in rental["services"]] == ["opt59"]
    assert caller.health["status"] == "ok"


def test_a_purchase_as_documented(caller: Caller) -> None:
    body = {"country": "RU", "service": "opt46", "period": {"unit": "week", "count": 1}, "max_price": "42"}
    rental = ok(caller.http.post("/rentals", json=body), 201)
    assert (rental["upstream_order_id"], rental["phone_number"]) == (BOUGHT, "+79096037108")
    assert (rental["expires_at"], rental["price"]["amount"]) == (at(1587633960), "42.00")


def test_an_activation_as_documented(caller: Caller, upstream: Verbatim) -> None:
    rental = rental_of(caller, LISTED)
    upstream.answers["activate"] = about(LISTED, DOCUMENTED["activate"])
    assert ok(caller.http.post(f"/rentals/{rental['id']}/activate"), 202)["number_state"] == "activating"


def test_a_deletion_as_documented(caller: Caller, upstream: Verbatim) -> None:
    rental = rental_of(caller, LISTED)
    upstream.answers["delete"] = about(LISTED, DOCUMENTED["delete"])
    upstream.answers["orders"] = {"status": 1, "data": []}
    assert caller.http.delete(f"/rentals/{rental['id']}").status_code == 204


def test_a_prolonging_as_documented(caller: Caller, upstream: Verbatim) -> None:
    rental = rental_of(caller, LISTED)
    upstream.answers["prolong"] = about(LISTED, DOCUMENTED["prolong"])
    later = json.loads(json.dumps(DOCUMENTED["orders"]))
    later["data"][0]["until"] += 7 * 86_400
    upstream.answers["prolong"], prolong = (
        (lambda _: prolonged(upstream, later, prolong)),
        upstream.answers["prolong"],
    )
    body = {"period": {"unit": "week", "count": 1}}
    found = ok(caller.http.post(f"/rentals/{rental['id']}/prolong", json=body))
    assert found["expires_at"] == at(1587552240 + 7 * 86_400)


def prolonged(upstream: Verbatim, later: Any, answer: Any) -> Any:
    """The answer to a prolonging, after which the list shows the later end."""
    upstream.answers["orders"] = later
    return answer


def test_an_added_service_as_documented(caller: Caller, upstream: Verbatim) -> None:
    rental = rental_of(caller, LISTED)
    found = ok(
        caller.http.post(f"/rentals/{rental['id']}/services", json={"service": "opt46", "days": 7}), 201
    )
    assert [service["code"] for service in found["services"]] == ["opt16", "opt46"]
    (call,) = upstream.of("add_service_to_order")
    assert call.parameters["pnumber"] == "79096068511"
    assert call.parameters["rent_days"] == "7"


def test_restoring_as_documented(caller: Caller, upstream: Verbatim) -> None:
    rental = rental_of(caller, ARCHIVED)
    upstream.answers["restore_user_precalc"] = about(ARCHIVED, DOCUMENTED["restore_user_precalc"])
    quote = ok(caller.http.get(f"/rentals/{rental['id']}/restore-quote"))
    assert quote == {
        "price": {"amount": "2.40", "currency": "USD"},
        "days_overdue": 32,
        "prolonged_days": 30,
        "phone_number": "+79929831844",
        "service": "opt59",
        "country": None,
        "upstream_order_id": ARCHIVED,
    }
    restored = ok(caller.http.post(f"/rentals/{rental['id']}/restore", json={"max_price": "2.40"}))
    assert restored["status"] == "active"
    assert len(upstream.of("restore_user")) == 1


def test_an_order_that_was_given_up_is_imported(caller: Caller, upstream: Verbatim) -> None:
    upstream.answers["get_rent_history"] = seen("closed is a time")
    caller.import_again()
    rental = rental_of(caller, "857191")
    assert (rental["status"], rental["phone_number"], rental["country"]) == ("expired", "+37067787324", "LT")
    assert rental["restorable"] is True


def test_an_activation_with_an_empty_object(caller: Caller, upstream: Verbatim) -> None:
    rental = rental_of(caller, LISTED)
    upstream.answers["activate"] = seen("data is a list with an empty object")
    assert ok(caller.http.post(f"/rentals/{rental['id']}/activate"), 202)["number_state"] == "activating"


def test_no_messages_yet_beside_status_0(caller: Caller, upstream: Verbatim) -> None:
    upstream.answers["sms"] = seen("status 0 beside an empty row")
    rental = rental_of(caller, LISTED)
    found = ok(caller.http.get(f"/rentals/{rental['id']}/sms", params={"refresh": "true"}))
    assert found["items"] == []
    assert found["synced_at"] is not None


@pytest.mark.parametrize("why", ["the sample of a copy", "status 0 for an account without orders"])
def test_an_account_without_orders_is_healthy_and_can_buy(
    caller: Caller, upstream: Verbatim, why: str
) -> None:
    upstream.answers["orders"] = seen(why)
    caller.polls(2)
    assert caller.health["status"] == "ok"
    body = {"country": "RU", "service": "opt46", "period": {"unit": "week", "count": 1}}
    assert ok(caller.http.post("/rentals", json=body), 201)["upstream_order_id"] == BOUGHT


@pytest.mark.parametrize(
    ("why", "service", "price", "available", "operators"),
    [
        ("count by operator", "opt29", "0.75", 26, {"Claro_AR": 26}),
        ("services keyed by their code", "opt29", "1.10", 12, None),
        ("PHP writes floats", "opt59", "0.35", 3, None),
    ],
)
def test_offers_of_public_code(
    caller: Caller,
    upstream: Verbatim,
    why: str,
    service: str,
    price: str,
    available: int,
    operators: dict[str, int] | None,
) -> None:
    upstream.answers["getdata"] = seen(why)
    query: dict[str, str | int] = {
        "unit": "month",
        "count": 2,
    }  # asked for by no other test: none is kept of it
    eventually(
        lambda: [
            (item["service"], item["price_per_day"]["amount"], item["available"], item["operators"])
            for item in ok(caller.http.get("/countries/RU/services", params=query))["items"]
        ],
        lambda offers: offers == [(service, price, available, operators)],
    )


def test_other_messages_under_other_names(caller: Caller, upstream: Verbatim) -> None:
    upstream.answers["sms"] = seen("other messages under other names")
    rental = rental_of(caller, LISTED)
    items = ok(caller.http.get(f"/rentals/{rental['id']}/sms", params={"refresh": "true"}))["items"]
    assert [(m["scope"], m["text"], m["sender"]) for m in items] == [
        ("rented", "code 1234", "FACEBOOK"),
        ("other", "hello", "X"),
        ("other", "hi", None),
    ]


def test_a_date_without_a_zone(caller: Caller, upstream: Verbatim) -> None:
    upstream.answers["sms"] = seen("a date as text")
    rental = rental_of(caller, LISTED)
    found = ok(caller.http.get(f"/rentals/{rental['id']}/sms", params={"refresh": "true"}))
    assert [(m["text"], m["received_at"]) for m in found["items"]] == [("code 1234", None)]
    assert found["synced_at"] is not None


def test_a_purchase_under_other_names_is_bought_all_the_same(caller: Caller, upstream: Verbatim) -> None:
    upstream.answers["create"] = seen("other names for number and end")
    body = {"country": "RU", "service": "opt46", "period": {"unit": "week", "count": 1}}
    rental = ok(caller.http.post("/rentals", json=body), 201)
    assert (rental["upstream_order_id"], rental["status"]) == (BOUGHT, "active")


@pytest.mark.parametrize("listed", ["one row", "a row for each service", "two ids"])
def test_two_services_in_whatever_way_the_list_shows_them(
    caller: Caller, upstream: Verbatim, listed: str
) -> None:
    answer = seen("two services, one id")
    row = {**DOCUMENTED["orders"]["data"][0], "pnumber": "15112345678", "ccode": "+49", "cname": "DE"}
    first = {**row, "id": 50001, "scode": "opt6", "sname": "Fiverr"}
    second = {**row, "id": 50002 if listed == "two ids" else 50001, "scode": "opt46", "sname": "Airbnb"}
    rows = [first] if listed == "one row" else [first, second]

    def create(_parameters: dict[str, str]) -> Any:
        upstream.answers["orders"] = {"status": 1, "data": rows}
        return answer

    upstream.answers["create_multi"] = create
    offers = [{**DOCUMENTED["getdata"]["data"][0], "service": code} for code in ("opt6", "opt46")]
    upstream.answers["getdata"] = {"status": 1, "data": offers}
    body = {"country": "RU", "services": ["opt6", "opt46"], "period": {"unit": "week", "count": 2}}
    rental = ok(caller.http.post("/rentals", json=body), 201)
    assert rental["phone_number"] == "+4915112345678"
    assert {service["code"] for service in rental["services"]} == {"opt6", "opt46"}
    caller.polls(6)
    later = ok(caller.http.get(f"/rentals/{rental['id']}"))
    assert later["status"] == "active"
    assert {service["code"] for service in later["services"]} == {"opt6", "opt46"}
    assert len(later["upstream_orders"]) == (2 if listed == "two ids" else 1)
    assert len(caller.rentals()) == 1 + len(caller.rentals(upstream_order_id=ARCHIVED)) + len(
        caller.rentals(upstream_order_id=LISTED)
    )


def test_a_list_that_php_wrote_as_an_object(caller: Caller, upstream: Verbatim) -> None:
    upstream.answers["orders"] = seen("a list that PHP wrote")
    second = rental_of(caller, "40301")
    assert (second["phone_number"], second["number_state"]) == ("+79096068512", "active")
    assert rental_of(caller, LISTED)["status"] == "active"


def test_a_refusal_under_another_name(caller: Caller, upstream: Verbatim) -> None:
    upstream.answers["create"] = seen("a refusal under another name")
    body = {"country": "RU", "service": "opt46", "period": {"unit": "week", "count": 1}}
    told = problem(caller.http.post("/rentals", json=body), 402, "insufficient_balance")
    assert told["upstream"] == {"method": "create", "message": "Insufficient balance"}


def test_a_balance_as_a_number_and_one_of_an_unknown_key(caller: Caller, upstream: Verbatim) -> None:
    balance = [example for example in SEEN.values() if example["method"] == "balance"]
    known, unknown = (example["body"] for example in balance)
    upstream.answers["balance"] = unknown
    caller.polls(2)
    assert caller.upstream_key["balance"] is None
    assert caller.upstream_key["status"] == "active"
    upstream.answers["balance"] = known
    found = eventually(lambda: caller.upstream_key["balance"], lambda shown: shown is not None, seconds=30)
    assert (found["amount"], found["currency"]) == ("10.50", "USD")


def test_nothing_of_the_examples_is_told_to_anybody_but_the_tenant(examples_gateway: Gateway) -> None:
    metrics = examples_gateway.metrics()
    for text in ("9096068511", "671 094", "FACEBOOK"):
        assert text not in metrics + examples_gateway.log.read_text()
