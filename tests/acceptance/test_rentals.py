"""Reading and changing rentals: lists, filters, activation, restoring, and each of their refusals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from tests.acceptance.conftest import MakeTenant
from tests.acceptance.tenant import Tenant, eventually, ok, problem


def ids(tenant: Tenant, **filters: str) -> list[str]:
    return [item["id"] for item in ok(tenant.http.get("/rentals", params=filters))["items"]]


def test_pages_go_back_in_time_without_gap_or_repetition(tenant: Tenant) -> None:
    made = [tenant.rent()["id"] for _ in range(5)]
    seen: list[str] = []
    cursor = None
    while True:
        query = {"limit": "2", **({"cursor": cursor} if cursor else {})}
        page = ok(tenant.http.get("/rentals", params=query))
        assert len(page["items"]) <= 2
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == made[::-1]


def test_filters(tenant: Tenant) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    russian = tenant.rent()
    british = tenant.rent(country="UK", service="opt20")
    both = [british["id"], russian["id"]]
    assert ids(tenant) == both
    assert ids(tenant, country="GB") == [british["id"]]
    assert ids(tenant, country="UK") == [british["id"]]
    assert ids(tenant, service="opt1") == [russian["id"]]
    assert ids(tenant, phone_number=russian["phone_number"]) == [russian["id"]]
    assert ids(tenant, upstream_order_id=russian["upstream_order_id"]) == [russian["id"]]
    assert ids(tenant, status="active") == both
    assert ids(tenant, status="expired") == []
    assert ids(tenant, created_after=before.isoformat()) == both
    assert ids(tenant, created_before=before.isoformat()) == []
    plus_as_space = tenant.http.get(f"/rentals?phone_number={british['phone_number']}")
    assert [item["id"] for item in ok(plus_as_space)["items"]] == [british["id"]]


def test_a_rental_that_is_none_or_somebody_elses(make_tenant: MakeTenant) -> None:
    mine, theirs = make_tenant(), make_tenant()
    rental = theirs.rent()
    for rental_id in (rental["id"], str(uuid4())):
        for method, path in (
            ("GET", ""),
            ("POST", "/activate"),
            ("POST", "/restore"),
            ("GET", "/restore-quote"),
            ("GET", "/sms"),
            ("GET", "/sms?refresh=true"),
            ("GET", "/events"),
        ):
            problem(mine.http.request(method, f"/rentals/{rental_id}{path}"), 404, "rental_not_found")
    assert ids(mine) == []
    assert len(theirs.orders) == 1


def test_activation_is_accepted_and_goes_through(tenant: Tenant) -> None:
    rental = tenant.rent()
    accepted = ok(tenant.http.post(f"/rentals/{rental['id']}/activate"), 202)
    assert accepted["number_state"] == "activating"
    tenant.until(rental["id"], number_state="active")


def test_activating_what_is_not_active(tenant: Tenant) -> None:
    expired = tenant.expired()
    problem(tenant.http.post(f"/rentals/{expired['id']}/activate"), 409, "rental_not_active")
    rental = tenant.rent()
    tenant.fault("activate", "refuse", message="order not found")
    problem(tenant.http.post(f"/rentals/{rental['id']}/activate"), 409, "rental_not_active")
    assert "rental.activation_failed" in tenant.events(rental["id"])


def test_one_operation_at_a_time_for_a_rental(tenant: Tenant) -> None:
    rental = tenant.rent()
    tenant.fault("activate", "hang", "before", seconds=20)
    pending = ok(tenant.http.post(f"/rentals/{rental['id']}/activate"), 202)
    assert pending["pending_operation"]
    body = problem(tenant.http.post(f"/rentals/{rental['id']}/activate"), 409, "operation_pending")
    assert body["operation_id"] == pending["pending_operation"]
    tenant.until(rental["id"], pending_operation=None)
    ok(tenant.http.post(f"/rentals/{rental['id']}/activate"), 202)


def test_a_number_that_vanishes_is_deleted(tenant: Tenant) -> None:
    rental = tenant.rent()
    del tenant.sandbox.sandbox.world.living[int(rental["upstream_order_id"])]
    gone = tenant.until(rental["id"], status="deleted")
    assert gone["number_state"] == "inactive"
    assert tenant.events(rental["id"])[-1] == "rental.deleted"


@pytest.mark.parametrize(
    ("message", "status", "code"),
    [
        ("NOAVAILDAYS", 409, "restore_not_available"),
        ("NOTOWNER", 403, "order_not_owned"),
        ("the user had not this order", 403, "order_not_owned"),
        ("NOREMOTEDATA", 404, "archived_order_not_found"),
        ("NOORDERCOUNTRY", 409, "restore_needs_support"),
        ("NOSERVICEDATA", 409, "restore_needs_support"),
        ("Service not found", 409, "restore_needs_support"),
        ("DATEDIFFINVERT", 409, "rental_not_expired"),
        ("Balance is not enough", 402, "insufficient_balance"),
    ],
)
def test_what_the_upstream_says_about_restoring(tenant: Tenant, message: str, status: int, code: str) -> None:
    rental = tenant.expired()
    for method, path in (("GET", "restore-quote"), ("POST", "restore")):
        tenant.fault("restore_user_precalc", "refuse", message=message)
        problem(tenant.http.request(method, f"/rentals/{rental['id']}/{path}"), status, code)
    tenant.fault("restore_user", "refuse", message=message)
    body = problem(tenant.http.post(f"/rentals/{rental['id']}/restore"), status, code)
    assert body["upstream"]["message"] == message
    found = tenant.rental(rental["id"])
    assert (found["status"], found["pending_operation"]) == ("expired", None)
    assert found["restorable"] is (False if code == "restore_not_available" else None)
    assert tenant.charged == ["create"]


def test_restoring_says_what_is_needed(tenant: Tenant) -> None:
    rental = tenant.expired()
    quote = ok(tenant.http.get(f"/rentals/{rental['id']}/restore-quote"))
    at = f"/rentals/{rental['id']}/restore"
    body = problem(tenant.http.post(at, json={"max_price": "0.01"}), 409, "price_above_max")
    assert body["required"] == quote["price"]
    tenant.account.balance -= tenant.account.balance
    body = problem(tenant.http.post(at, json={}), 402, "insufficient_balance")
    assert body["required"] == quote["price"]


def test_restoring_a_living_rental(tenant: Tenant) -> None:
    rental = tenant.rent()
    problem(tenant.http.post(f"/rentals/{rental['id']}/restore"), 409, "rental_not_expired")


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_unknown_restore_is_told_and_settled(tenant: Tenant, when: str) -> None:
    rental = tenant.expired()
    tenant.fault("restore_user", "drop", when)
    at = f"/rentals/{rental['id']}/restore"
    pending = ok(tenant.http.post(at, headers={"Idempotency-Key": "r"}), 202)
    assert pending["pending_operation"]
    settled = tenant.until(rental["id"], pending_operation=None)
    again = tenant.http.post(at, headers={"Idempotency-Key": "r"})
    if when == "after":
        assert settled["status"] == "active"
        assert settled["expires_at"] is not None
        assert ok(again)["id"] == rental["id"]
        assert tenant.charged == ["create", "restore_user"]
    else:
        assert settled["status"] == "expired"
        problem(again, 502, "purchase_not_made")
        assert tenant.charged == ["create"]


def test_history_is_paged_and_names_who_did_it(tenant: Tenant) -> None:
    rental = tenant.rent(activate=True)
    tenant.until(rental["id"], number_state="active")
    at = f"/rentals/{rental['id']}/events"
    whole = eventually(lambda: ok(tenant.http.get(at))["items"], lambda items: len(items) >= 3)
    created, activating, activated = whole[-1], whole[-2], whole[-3]
    assert created["type"] == "rental.created"
    assert created["actor"].startswith("api_key:")
    assert created["data"]["id"] == rental["id"]
    assert activating["actor"] == created["actor"]
    assert activated["actor"] == "worker"
    first = ok(tenant.http.get(at, params={"limit": 1}))
    second = ok(tenant.http.get(at, params={"limit": 1, "cursor": first["next_cursor"]}))
    assert first["items"][0]["id"] > second["items"][0]["id"]
