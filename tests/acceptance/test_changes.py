"""Prolonging, adding services, deleting: once for each order, whatever fails, and what is left is told."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import httpx
import pytest

from tests.acceptance.tenant import Answer, Tenant, eventually, ok, problem

WEEK = {"period": {"unit": "week", "count": 1}}


def prolong(tenant: Tenant, rental_id: str, key: str | None = None, **changes: object) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return tenant.http.post(f"/rentals/{rental_id}/prolong", json={**WEEK, **changes}, headers=headers)


def add(tenant: Tenant, rental_id: str, service: str = "opt29", **changes: object) -> httpx.Response:
    return tenant.http.post(f"/rentals/{rental_id}/services", json={"service": service, **changes})


def delete(tenant: Tenant, rental_id: str, key: str | None = None) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return tenant.http.delete(f"/rentals/{rental_id}", headers=headers)


def end(rental: Answer) -> datetime:
    return datetime.fromisoformat(rental["expires_at"])


def several(tenant: Tenant) -> Answer:
    """A rental of two services, whose orders are both known."""
    rental = ok(
        tenant.http.post("/rentals", json={"country": "RU", **WEEK, "services": ["opt1", "opt2"]}), 201
    )
    assert len(rental["upstream_orders"]) in (1, 2)
    found: Answer = eventually(lambda: tenant.rental(rental["id"]), lambda r: len(r["upstream_orders"]) == 2)
    return found


def test_a_rental_is_prolonged_and_its_new_end_read_back(tenant: Tenant) -> None:
    rental = tenant.rent()
    answer = ok(prolong(tenant, rental["id"], max_price="4.20"))
    assert end(answer) - end(rental) == timedelta(days=7)
    assert answer["status"] == "active"
    assert answer["pending_operation"] is None
    assert tenant.charged == ["create", "prolong"]
    (operation,) = tenant.operations(kind="prolong")
    assert operation["state"] == "succeeded"
    assert operation["price"] == {"amount": "4.20", "currency": "USD"}
    assert "rental.prolonged" in tenant.events(rental["id"])
    assert ok(tenant.http.get("/me"))["spending"]["spent"]["amount"] == "8.40"


def test_days_are_prolonged_by_prolong_max(tenant: Tenant) -> None:
    rental = tenant.rent()
    answer = ok(prolong(tenant, rental["id"], period={"unit": "day", "count": 3}))
    assert end(answer) - end(rental) == timedelta(days=3)
    assert tenant.charged == ["create", "prolong_max"]


@pytest.mark.parametrize(
    ("period", "code"),
    [
        ({"unit": "day", "count": 7}, "period_invalid"),
        ({"unit": "day", "count": 0}, "period_invalid"),
        ({"unit": "week", "count": -1}, "period_invalid"),
        ({"unit": "week", "count": 200_000_000}, "period_invalid"),
        ({"unit": "month", "count": 121}, "period_invalid"),
        ({"unit": "year", "count": 1}, "invalid_request"),
        ({"unit": "week"}, "invalid_request"),
    ],
)
def test_periods_that_can_not_be_asked_for(tenant: Tenant, period: Answer, code: str) -> None:
    rental = tenant.rent()
    problem(prolong(tenant, rental["id"], period=period), 422, code)
    assert tenant.charged == ["create"]


def test_the_upstreams_refusals_are_told(tenant: Tenant) -> None:
    rental = ok(tenant.buy(period={"unit": "week", "count": 4}), 201)
    problem(prolong(tenant, rental["id"]), 409, "prolong_too_early")
    tenant.fault("prolong", "refuse", message="Prolong limit is reached")
    tenant.age(25)
    problem(prolong(tenant, rental["id"]), 409, "prolong_limit_reached")
    problem(prolong(tenant, rental["id"], max_price="1"), 409, "price_above_max")
    tenant.account.balance = Decimal(0)
    problem(prolong(tenant, rental["id"]), 402, "insufficient_balance")
    assert tenant.rental(rental["id"])["pending_operation"] is None
    assert tenant.charged == ["create"]


def test_only_what_lives_is_changed(tenant: Tenant) -> None:
    rental = tenant.expired()
    problem(prolong(tenant, rental["id"]), 409, "rental_not_active")
    problem(add(tenant, rental["id"]), 409, "rental_not_active")
    problem(delete(tenant, rental["id"]), 409, "rental_not_active")
    nowhere = "01890000-0000-7000-8000-000000000000"
    problem(prolong(tenant, nowhere), 404, "rental_not_found")
    problem(add(tenant, nowhere), 404, "rental_not_found")
    problem(delete(tenant, nowhere), 404, "rental_not_found")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_prolonging_whose_answer_was_lost_is_looked_up(tenant: Tenant, when: str) -> None:
    rental = tenant.rent()
    tenant.fault("prolong", "drop", when)
    for _ in range(200):  # so that no list settles it before the next request
        tenant.fault("orders", "status_500")
    pending = ok(prolong(tenant, rental["id"], key="p"), 202)
    operation_id = pending["pending_operation"]
    problem(prolong(tenant, rental["id"]), 409, "operation_pending")
    tenant.clear_faults()
    made = when == "after"
    tenant.until_operation(operation_id, state="succeeded" if made else "failed")
    after = tenant.until(rental["id"], pending_operation=None)
    assert end(after) - end(rental) == timedelta(days=7 if made else 0)
    again = prolong(tenant, rental["id"], key="p")
    if made:
        assert ok(again)["id"] == rental["id"]
    else:
        problem(again, 502, "purchase_not_made")
    assert again.headers["Idempotency-Replayed"] == "true"
    assert tenant.charged == ["create", *["prolong"] * made]
    spent = ok(tenant.http.get("/me"))["spending"]
    assert spent["held"]["amount"] == "0.00"
    assert Decimal(spent["spent"]["amount"]) == Decimal("4.20") * len(tenant.charged)


def test_an_end_that_was_not_read_back_proves_no_later_prolonging(tenant: Tenant) -> None:
    rental = tenant.rent()
    for _ in range(200):  # so that neither the request nor the worker can read the new end
        tenant.fault("orders", "status_500")
    assert ok(prolong(tenant, rental["id"]))["expires_at"] == rental["expires_at"]
    tenant.clear_faults()
    tenant.fault("prolong", "drop", "before")
    second = eventually(lambda: prolong(tenant, rental["id"]), lambda answer: answer.status_code != 409)
    tenant.until_operation(ok(second, 202)["pending_operation"], state="failed")
    after = tenant.until(rental["id"], pending_operation=None)
    assert end(after) - end(rental) == timedelta(days=7)
    assert tenant.charged == ["create", "prolong"]


def test_a_rental_of_two_services_is_prolonged_order_by_order(tenant: Tenant) -> None:
    rental = several(tenant)
    answer = ok(prolong(tenant, rental["id"]))
    assert end(answer) - end(rental) == timedelta(days=7)
    assert len({order["expires_at"] for order in answer["upstream_orders"]}) == 1
    assert tenant.charged == ["create_multi", "prolong", "prolong"]
    (operation,) = tenant.operations(kind="prolong")
    assert [order["id"] for order in operation["request"]["orders"]] == [
        order["id"] for order in rental["upstream_orders"]
    ]
    assert Decimal(operation["price"]["amount"]) == sum(
        Decimal(order["price"]) for order in operation["request"]["orders"]
    )


def test_the_second_order_waits_until_the_first_is_settled(tenant: Tenant) -> None:
    rental = several(tenant)
    tenant.fault("prolong", "drop", "after")
    pending = ok(prolong(tenant, rental["id"]), 202)
    tenant.until_operation(pending["pending_operation"], state="succeeded")
    eventually(
        lambda: tenant.rental(rental["id"])["upstream_orders"],
        lambda orders: {end(order) - end(rental) for order in orders} == {timedelta(days=7)},
    )
    assert tenant.rental(rental["id"])["pending_operation"] is None
    assert tenant.charged == ["create_multi", "prolong", "prolong"]


def test_a_rental_that_comes_apart_says_which_did_what_and_stays_open(tenant: Tenant) -> None:
    rental = several(tenant)
    price = Decimal(7) * Decimal("0.6")
    tenant.account.balance = price + 1  # enough for one of them
    answer = ok(prolong(tenant, rental["id"]), 202)
    operation = tenant.until_operation(answer["pending_operation"], state="review")
    assert operation["error"]["code"] == "insufficient_balance"
    after = eventually(
        lambda: tenant.rental(rental["id"]),
        lambda r: len({order["expires_at"] for order in r["upstream_orders"]}) == 2,
    )
    assert after["pending_operation"] == operation["id"]
    assert tenant.charged == ["create_multi", "prolong"]
    resolved = ok(
        tenant.admin.post(
            f"/operations/{operation['id']}/resolve",
            json={"outcome": "failed"},
            headers={"X-Tenant-ID": tenant.id},
        )
    )
    assert resolved["state"] == "failed"
    assert tenant.rental(rental["id"])["pending_operation"] is None
    spending = ok(tenant.http.get("/me"))["spending"]
    assert spending["held"]["amount"] == "0.00"
    first = Decimal(operation["request"]["orders"][0]["price"])
    bought = Decimal(rental["price"]["amount"])
    assert Decimal(spending["spent"]["amount"]) == bought + first


def test_a_service_is_added_until_the_rentals_end(tenant: Tenant) -> None:
    rental = tenant.rent()
    answer = ok(add(tenant, rental["id"], max_price="100"), 201)
    assert [service["code"] for service in answer["services"]] == ["opt1", "opt29"]
    # The upstream tells the new order only in its list, which is read back at once if it can be.
    answer = eventually(lambda: tenant.rental(rental["id"]), lambda r: len(r["upstream_orders"]) == 2)
    assert answer["upstream_order_id"] == rental["upstream_order_id"]
    assert tenant.charged == ["create", "add_service_to_order"]
    assert "rental.service_added" in tenant.events(rental["id"])
    (operation,) = tenant.operations(kind="add_service")
    assert Decimal(operation["price"]["amount"]) == Decimal(tenant.sandbox.sandbox.world.ledger[-1]["amount"])
    error = problem(add(tenant, rental["id"]), 422, "invalid_request")
    assert error["errors"][0]["location"] == "body.service"
    problem(add(tenant, rental["id"], "opt999"), 422, "service_unknown")
    problem(add(tenant, rental["id"], "opt2", max_price="0.01"), 409, "price_above_max")
    second = next(o["id"] for o in answer["upstream_orders"] if o["id"] != rental["upstream_order_id"])
    found = ok(tenant.http.get("/rentals", params={"upstream_order_id": second}))["items"]
    assert [item["id"] for item in found] == [rental["id"]]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_service_whose_answer_was_lost_is_looked_up(tenant: Tenant, when: str) -> None:
    rental = tenant.rent()
    tenant.fault("add_service_to_order", "cut_json", when)
    pending = ok(add(tenant, rental["id"]), 202)
    made = when == "after"
    tenant.until_operation(pending["pending_operation"], state="succeeded" if made else "failed")
    after = tenant.until(rental["id"], pending_operation=None)
    assert len(after["upstream_orders"]) == 1 + made
    assert [service["code"] for service in after["services"]] == ["opt1", *["opt29"] * made]
    assert tenant.charged == ["create", *["add_service_to_order"] * made]


def test_the_sms_of_all_its_orders_are_the_rentals(tenant: Tenant) -> None:
    rental = tenant.rent()
    ok(add(tenant, rental["id"]), 201)
    tenant.arrive("for google", service="opt1")
    tenant.arrive("for telegram", service="opt29", sender="Telegram")
    # Each order shows both messages, the other's as of another service, until the other has been read too.
    eventually(
        lambda: tenant.messages(rental["id"], refresh="true")["items"],
        lambda items: (
            {item["text"]: item["scope"] for item in items}
            == {"for google": "rented", "for telegram": "rented"}
        ),
    )


def test_a_deleted_rental_stays_readable(tenant: Tenant) -> None:
    rental = tenant.rent()
    answer = delete(tenant, rental["id"], key="d")
    assert (answer.status_code, answer.content) == (204, b"")
    again = delete(tenant, rental["id"], key="d")
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (204, "true")
    assert tenant.rental(rental["id"])["status"] == "deleted"
    assert tenant.events(rental["id"])[-1] == "rental.deleted"
    assert not tenant.orders
    problem(delete(tenant, rental["id"]), 409, "rental_not_active")


def test_all_orders_of_a_rental_are_deleted(tenant: Tenant) -> None:
    rental = several(tenant)
    assert delete(tenant, rental["id"]).status_code == 204
    assert not tenant.orders
    after = tenant.rental(rental["id"])
    assert (after["status"], after["pending_operation"]) == ("deleted", None)
    assert tenant.events(rental["id"]).count("rental.deleted") == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_deletion_whose_answer_was_lost_is_looked_up(tenant: Tenant, when: str) -> None:
    rental = tenant.rent()
    tenant.fault("delete", "drop", when)
    pending = ok(delete(tenant, rental["id"], key="d"), 202)
    made = when == "after"
    tenant.until_operation(pending["pending_operation"], state="succeeded" if made else "failed")
    after = tenant.until(rental["id"], pending_operation=None)
    assert after["status"] == ("deleted" if made else "active")
    again = delete(tenant, rental["id"], key="d")
    assert again.status_code == (204 if made else 502)
    assert tenant.events(rental["id"]).count("rental.deleted") == made


def test_restoring_two_orders_costs_the_sum_of_both(tenant: Tenant) -> None:
    rental = several(tenant)
    tenant.age(8)
    tenant.until(rental["id"], status="expired")
    quote = ok(tenant.http.get(f"/rentals/{rental['id']}/restore-quote"))
    restored = ok(tenant.http.post(f"/rentals/{rental['id']}/restore", json={"max_price": "1000"}))
    assert restored["status"] == "active"
    assert tenant.charged == ["create_multi", "restore_user", "restore_user"]
    paid = [
        Decimal(e["amount"])
        for e in tenant.sandbox.sandbox.world.ledger
        if e["account"] == tenant.upstream_key[-4:]
    ]
    assert sum(paid[1:]) == Decimal(quote["price"]["amount"])
