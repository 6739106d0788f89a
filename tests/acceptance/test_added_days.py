"""A service added for so many days, and least periods, with an upstream that answers verbatim."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.acceptance.conftest import ADMIN_TOKEN, Gateway, running_gateway
from tests.acceptance.tenant import SCOPES, Answer, eventually, ok, problem
from tests.conftest import MakeDatabase, new_vault_key
from tests.verbatim import Parameters, Verbatim

DAY = 86_400
NUMBER = "9161234567"


class Account:
    """An upstream account of one rental for a month, to which services can be added."""

    def __init__(self) -> None:
        self.orders: list[Answer] = []
        self.loses_answers = False

    def list_orders(self, _parameters: Parameters) -> Answer:
        return {"status": 1, "data": self.orders}

    def create(self, parameters: Parameters) -> Answer:
        order = self._order(parameters["service"], 30)
        told = {"id": order["id"], "pnumber": NUMBER, "ccode": "+7"}
        return {"status": 1, "data": {**told, "service": order["scode"], "until": str(order["until"])}}

    def add_service(self, parameters: Parameters) -> Answer | bytes:
        order = self._order(parameters["service"], int(parameters.get("rent_days", "30")))
        if self.loses_answers:
            return b'{"status": 1, "da'
        told = {
            "id": order["id"],
            "pnumber": f"7{NUMBER}",
            "service": order["scode"],
            "until": order["until"],
        }
        return {"status": 1, "data": told}

    def _order(self, service: str, days: int) -> Answer:
        order = {
            "id": 40300 + len(self.orders),
            "scode": service,
            "sname": f"name of {service}",
            "state": 0,
            "pnumber": NUMBER,
            "ccode": "+7",
            "cname": "RU",
            "hasnewsms": False,
            "until": int(time.time()) + days * DAY,
            "canprolong": False,
            "canprolongmax": 6,
            "canprolonguntil": 0,
            "lastonline": 0,
        }
        self.orders.append(order)
        return order


def offers(parameters: Parameters) -> Answer:
    """`getdata`: the longer the period, the less costs a day."""
    price = {"week": 0.6, "month": 0.5}[parameters["dtype"]] - int(parameters["dcount"]) / 100
    rows = [
        {"name": f"name of {service}", "service": service, "price_day": round(price, 2), "count": 9}
        for service in ("opt1", "opt20", "opt83")
    ]
    return {"status": 1, "data": {"services": rows, "totalAmount": 27}}


@pytest.fixture
def account() -> Account:
    return Account()


@pytest.fixture
def upstream(account: Account) -> Iterator[Verbatim]:
    with Verbatim() as upstream:
        country = {"name": "Russia", "code": "RU", "rent_switch_type": "", "rent_avail_prolong": "1"}
        upstream.answers = {
            "getcountries": {"status": 1, "data": [country]},
            "getdata": offers,
            "orders": account.list_orders,
            "create": account.create,
            "add_service_to_order": account.add_service,
            "get_rent_history": {"status": 1, "data": []},
            "sms": {"status": 1, "data": {"SmsList": [], "OtherSms": []}},
        }
        yield upstream


@pytest.fixture
def gateway(
    make_database: MakeDatabase, upstream: Verbatim, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    settings = {
        "RENTGATE_DATABASE_URL": make_database().app,
        "RENTGATE_VAULT_KEY": new_vault_key(),
        "RENTGATE_ADMIN_TOKEN": ADMIN_TOKEN,
        "RENTGATE_UPSTREAM_URL": upstream.url,
    }
    with running_gateway(tmp_path_factory.mktemp("added") / "log.jsonl", **settings) as gateway:
        yield gateway


@pytest.fixture
def http(gateway: Gateway) -> Iterator[httpx.Client]:
    """A tenant with the account."""
    with gateway.client(ADMIN_TOKEN) as admin:
        tenant_id = ok(admin.post("/tenants", json={"name": "days"}), 201)["id"]
        body = {"name": "all", "scopes": SCOPES}
        token = ok(admin.post(f"/tenants/{tenant_id}/api-keys", json=body), 201)["token"]
    with gateway.client(token) as client:
        stored = {"label": "scripted", "api_key": "the-account-of-the-script"}
        ok(client.post(f"/tenants/{tenant_id}/upstream-keys", json=stored), 201)
        yield client


def rent(http: httpx.Client, **changes: Any) -> httpx.Response:
    body = {"country": "RU", "service": "opt1", "period": {"unit": "month", "count": 1}, **changes}
    return http.post("/rentals", json=body)


def add(http: httpx.Client, rental_id: str, *, key: str | None = None, **body: Any) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return http.post(f"/rentals/{rental_id}/services", json={"service": "opt20", **body}, headers=headers)


def ends_in_days(rental: Answer, account: Account) -> dict[str, int]:
    """The days until each order of a rental ends, as the rental has it."""
    ends = {order["service"]: order["expires_at"] for order in rental["upstream_orders"]}
    told = {o["scode"]: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(o["until"])) for o in account.orders}
    assert ends == told
    return {o["scode"]: round((o["until"] - time.time()) / DAY) for o in account.orders}


def test_a_service_is_added_for_days(http: httpx.Client, upstream: Verbatim, account: Account) -> None:
    rental = ok(rent(http), 201)
    for days in (0, -1, 3601, 10**30):
        problem(add(http, rental["id"], days=days), 422, "period_invalid")
    for odd in (1.5, "7", True):
        error = problem(add(http, rental["id"], days=odd), 422, "invalid_request")
        assert error["errors"][0]["location"] == "body.days"
    error = problem(add(http, rental["id"], days=10, max_price="5.89"), 409, "price_above_max")
    assert error["required"]["amount"] == "5.90"
    assert not upstream.of("add_service_to_order")

    first = add(http, rental["id"], key="once", days=10, max_price="5.90")
    added = ok(first, 201)
    (sent,) = upstream.of("add_service_to_order")
    order_id = rental["upstream_order_id"]
    assert {k: v for k, v in sent.parameters.items() if k != "apikey"} == {
        "id": order_id,
        "service": "opt20",
        "pnumber": f"7{NUMBER}",
        "rent_days": "10",
    }
    found = http.get("/operations", params={"kind": "add_service"})
    (operation,) = ok(found)["items"]
    assert operation["price"]["amount"] == "5.90"
    assert operation["request"]["days"] == 10

    assert ends_in_days(added, account) == {"opt1": 30, "opt20": 10}
    assert added["expires_at"] == min(order["expires_at"] for order in added["upstream_orders"])
    assert added["upstream_order_id"] == order_id

    again = add(http, rental["id"], key="once", days=10, max_price="5.90")
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (201, "true")
    assert again.json() == first.json()
    problem(add(http, rental["id"], key="once", days=11, max_price="5.90"), 422, "idempotency_key_reused")
    assert len(upstream.of("add_service_to_order")) == 1


def test_the_end_of_an_added_service_prolongs_nothing(http: httpx.Client, account: Account) -> None:
    rental = ok(rent(http), 201)
    added = ok(add(http, rental["id"], days=7), 201)
    assert added["expires_at"] < rental["expires_at"]
    account.orders.pop()
    after = eventually(
        lambda: ok(http.get(f"/rentals/{rental['id']}")),
        lambda found: found["expires_at"] == rental["expires_at"],
    )
    assert after["status"] == "active"
    account.orders[0]["until"] += 7 * DAY
    eventually(
        lambda: ok(http.get(f"/rentals/{rental['id']}")),
        lambda found: found["expires_at"] > after["expires_at"],
    )
    events = [event["type"] for event in ok(http.get(f"/rentals/{rental['id']}/events"))["items"]]
    assert events == ["rental.prolonged", "rental.service_added", "rental.created"]


def test_without_days_a_service_is_added_to_the_rentals_end(http: httpx.Client, upstream: Verbatim) -> None:
    rental = ok(rent(http), 201)
    ok(add(http, rental["id"], days=None, max_price="14.70"), 201)
    assert "rent_days" not in upstream.of("add_service_to_order")[0].parameters
    (operation,) = ok(http.get("/operations", params={"kind": "add_service"}))["items"]
    assert operation["price"]["amount"] == "14.70"


def test_days_whose_answer_was_lost_are_found_in_the_list(
    http: httpx.Client, upstream: Verbatim, account: Account
) -> None:
    rental = ok(rent(http), 201)
    account.loses_answers = True
    pending = ok(add(http, rental["id"], key="lost", days=7), 202)
    eventually(
        lambda: ok(http.get(f"/operations/{pending['pending_operation']}")),
        lambda found: found["state"] == "succeeded",
    )
    after = eventually(
        lambda: ok(http.get(f"/rentals/{rental['id']}")), lambda found: len(found["upstream_orders"]) == 2
    )
    assert ends_in_days(after, account) == {"opt1": 30, "opt20": 7}
    assert after["expires_at"] == min(order["expires_at"] for order in after["upstream_orders"])
    again = add(http, rental["id"], key="lost", days=7)
    assert ok(again, 201)["id"] == rental["id"]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(upstream.of("add_service_to_order")) == 1


def test_too_few_days_are_the_upstreams_to_refuse(
    http: httpx.Client, upstream: Verbatim, account: Account
) -> None:
    told = {"Days": 30, "Status": 1, "Message": "At least 30 days"}
    upstream.answers["get_min_paypal_days"] = {"status": 1, "data": told}
    restrictions = ok(http.get("/countries/RU/services/opt83/restrictions"))
    assert restrictions["minimum_days"] == 30
    refusal = {"status": 0, "msg": "Incorrect duration count. Min 30 days. Max 90 days."}
    upstream.answers |= {"create": refusal, "add_service_to_order": refusal}
    week = {"unit": "week", "count": 1}
    error = problem(rent(http, service="opt83", period=week), 422, "period_invalid")
    assert error["upstream"] == {"method": "create", "message": refusal["msg"]}
    assert len(upstream.of("create")) == 1

    upstream.answers["create"] = account.create
    rental = ok(rent(http), 201)
    problem(add(http, rental["id"], service="opt83", days=7), 422, "period_invalid")
    assert len(upstream.of("add_service_to_order")) == 1
