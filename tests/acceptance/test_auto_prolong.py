"""Rentals that are prolonged by themselves: once for each end, and an event where that can't be."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx

from tests.acceptance.tenant import Answer, Tenant, eventually, ok, problem

WEEKLY = {"unit": "week", "count": 1, "max_price": "5.00"}


def plan(tenant: Tenant, rental_id: str, wanted: dict[str, Any] | None) -> httpx.Response:
    return tenant.http.patch(f"/rentals/{rental_id}", json={"auto_prolong": wanted})


def planned(tenant: Tenant, wanted: dict[str, Any]) -> Answer:
    """A rental for a week, to be prolonged by itself."""
    return ok(plan(tenant, tenant.rent()["id"], wanted))


def end(rental: Answer) -> datetime:
    return datetime.fromisoformat(rental["expires_at"])


def told(tenant: Tenant, rental: Answer, event_type: str, times: int = 1) -> None:
    eventually(
        lambda: tenant.events(rental["id"]).count(event_type), lambda count: count == times, seconds=30
    )


def test_a_rental_is_prolonged_once_for_each_end(tenant: Tenant) -> None:
    rental = planned(tenant, WEEKLY)
    assert rental["auto_prolong"] == WEEKLY
    tenant.age(6.2)
    told(tenant, rental, "rental.prolonged")
    after = tenant.rental(rental["id"])
    moved = end(after) - (end(rental) - timedelta(days=6.2))
    assert abs(moved - timedelta(days=7)) < timedelta(minutes=1)
    assert after["auto_prolong"] == WEEKLY
    assert tenant.charged == ["create", "prolong"]
    (operation,) = tenant.operations(kind="prolong")
    assert operation["price"]["amount"] == "4.20"
    tenant.age(6.9)
    told(tenant, rental, "rental.prolonged", times=2)
    assert tenant.charged == ["create", "prolong", "prolong"]
    assert "rental.auto_prolong_failed" not in tenant.events(rental["id"])


def test_an_event_tells_that_it_could_not_be_and_a_new_plan_is_tried_anew(tenant: Tenant) -> None:
    rental = planned(tenant, WEEKLY)
    tenant.account.balance = Decimal(0)
    tenant.age(6.2)
    told(tenant, rental, "rental.auto_prolong_failed")
    (operation,) = tenant.operations(kind="prolong")
    assert (operation["state"], operation["error"]["code"]) == ("failed", "insufficient_balance")
    events = ok(tenant.http.get("/events", params={"types": "rental.auto_prolong_failed"}))["items"]
    assert [event["data"]["id"] for event in events] == [rental["id"]]
    tenant.account.balance = Decimal(100)
    assert ok(plan(tenant, rental["id"], WEEKLY))["auto_prolong"] == WEEKLY
    told(tenant, rental, "rental.prolonged")
    assert tenant.charged == ["create", "prolong"]
    assert tenant.events(rental["id"]).count("rental.auto_prolong_failed") == 1


def test_it_is_never_dearer_than_was_said(tenant: Tenant) -> None:
    rental = planned(tenant, {**WEEKLY, "max_price": "4.19"})
    tenant.age(6.2)
    told(tenant, rental, "rental.auto_prolong_failed")
    assert tenant.charged == ["create"]
    assert tenant.operations(kind="prolong") == []
    trail = tenant.http.get("/audit-logs", params={"action": "rental.auto_prolong"})
    assert [row["outcome"] for row in ok(trail)["items"]] == ["price_above_max"]


def test_an_unknown_outcome_is_settled_and_never_tried_again(tenant: Tenant) -> None:
    made, lost = planned(tenant, WEEKLY), planned(tenant, WEEKLY)
    tenant.fault("prolong", "hang", when="after")
    tenant.fault("prolong", "hang", when="before")
    tenant.age(6.2)
    eventually(
        lambda: sorted(operation["state"] for operation in tenant.operations(kind="prolong")),
        lambda states: states == ["failed", "succeeded"],
        seconds=60,
    )
    types = [tenant.events(rental["id"]) for rental in (made, lost)]
    assert sorted(found.count("rental.auto_prolong_failed") for found in types) == [0, 1]
    assert tenant.charged == ["create", "create", "prolong"]


def test_what_can_not_be_planned_is_refused(tenant: Tenant) -> None:
    rental = tenant.rent()
    problem(plan(tenant, rental["id"], {"unit": "day", "count": 7}), 422, "period_invalid")
    problem(plan(tenant, rental["id"], {"unit": "week", "count": 0}), 422, "period_invalid")
    problem(plan(tenant, rental["id"], {"unit": "year", "count": 1}), 422, "invalid_request")
    assert ok(plan(tenant, rental["id"], {"unit": "day", "count": 6}))["auto_prolong"] == {
        "unit": "day",
        "count": 6,
        "max_price": None,
    }
    noted = ok(tenant.http.patch(f"/rentals/{rental['id']}", json={"metadata": {"team": "a"}}))
    assert (noted["metadata"], noted["auto_prolong"]["count"]) == ({"team": "a"}, 6)
    assert ok(plan(tenant, rental["id"], None))["auto_prolong"] is None
    assert tenant.http.delete(f"/rentals/{rental['id']}").status_code == 204
    problem(plan(tenant, rental["id"], WEEKLY), 409, "rental_not_active")
    assert ok(plan(tenant, rental["id"], None))["auto_prolong"] is None
