"""`POST /rentals`: every refusal has its own answer, and an unknown outcome is told as such and settled."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.acceptance.conftest import MakeTenant
from tests.acceptance.tenant import Tenant, eventually, ok, problem


def no_charge(tenant: Tenant) -> None:
    assert tenant.charged == []
    assert not tenant.orders


def test_too_little_money_at_the_upstream(tenant: Tenant) -> None:
    tenant.account.balance = Decimal(1)
    body = problem(tenant.buy(), 402, "insufficient_balance")
    assert body["upstream"] == {"method": "create", "message": "Insufficient balance"}
    (operation,) = tenant.operations()
    assert body["operation_id"] == operation["id"]
    assert (operation["state"], operation["error"]["code"]) == ("failed", "insufficient_balance")
    assert operation["rental_id"] is None
    assert ok(tenant.http.get("/rentals"))["items"] == []
    no_charge(tenant)


def test_the_tenants_own_limit(make_tenant: MakeTenant) -> None:
    tenant = make_tenant(spend_limit={"amount": "10.00"})
    tenant.rent()
    tenant.rent()
    body = problem(tenant.buy(), 402, "spend_limit_exceeded")
    assert body["required"] == {"amount": "4.20", "currency": "USD"}
    assert len(tenant.charged) == 2


def test_no_numbers_left(tenant: Tenant) -> None:
    tenant.fault("create", "refuse", message="No numbers available")
    problem(tenant.buy(), 409, "no_numbers_available")
    no_charge(tenant)


def test_a_price_above_the_maximum(tenant: Tenant) -> None:
    body = problem(tenant.buy(max_price="4.19"), 409, "price_above_max")
    assert body["required"] == {"amount": "4.20", "currency": "USD"}
    no_charge(tenant)
    tenant.rent(max_price="4.20")


def test_a_price_that_can_not_be_known(tenant: Tenant) -> None:
    tenant.fault_keyless("getdata", "status_500", times=1)
    problem(tenant.buy(max_price="100"), 409, "price_unknown")
    no_charge(tenant)
    tenant.fault_keyless("getdata", "status_500", times=1)
    assert tenant.rent()["price"] is None


def test_a_limit_without_a_price(make_tenant: MakeTenant) -> None:
    tenant = make_tenant(spend_limit={"amount": "10.00"})
    tenant.fault_keyless("getdata", "html", times=1)
    problem(tenant.buy(), 409, "price_unknown")
    no_charge(tenant)


def test_unknown_country_and_service(tenant: Tenant) -> None:
    problem(tenant.buy(country="XX"), 404, "country_unknown")
    problem(tenant.buy(service="opt999"), 422, "service_unknown")
    no_charge(tenant)


@pytest.mark.parametrize("period", [{"unit": "week", "count": 13}, {"unit": "month", "count": 4}])
@pytest.mark.parametrize("count", [None, 0, -5, 10**30])
def test_impossible_periods(tenant: Tenant, period: dict[str, Any], count: int | None) -> None:
    given = period if count is None else {**period, "count": count}
    problem(tenant.buy(period=given), 422, "period_invalid")
    no_charge(tenant)


def test_no_upstream_key_and_somebody_elses(make_tenant: MakeTenant) -> None:
    without, other = make_tenant(with_account=False), make_tenant()
    problem(without.buy(), 409, "no_upstream_key")
    problem(without.buy(upstream_key_id=other.upstream_key_id), 404, "not_found")
    problem(without.buy(upstream_key_id=str(uuid4())), 404, "not_found")
    no_charge(other)


def test_a_rejected_key_is_marked_and_told(tenant: Tenant) -> None:
    del tenant.sandbox.sandbox.world.accounts[tenant.upstream_key]
    problem(tenant.buy(), 502, "upstream_key_rejected")
    keys = ok(tenant.http.get(f"/tenants/{tenant.id}/upstream-keys"))["items"]
    assert [key["status"] for key in keys] == ["rejected"]
    tenant.sandbox.add_account(tenant.upstream_key, Decimal(1))


def test_a_rejected_key_that_works_again_is_active_again(tenant: Tenant) -> None:
    rental = tenant.rent()
    tenant.fault("activate", "refuse", message="Invalid apikey")
    problem(tenant.http.post(f"/rentals/{rental['id']}/activate"), 502, "upstream_key_rejected")
    at = f"/tenants/{tenant.id}/upstream-keys/{tenant.upstream_key_id}"
    assert ok(tenant.http.get(at))["status"] == "rejected"

    def looked() -> str:
        tenant.messages(rental["id"], refresh="true")
        return str(ok(tenant.http.get(at))["status"])

    eventually(looked, lambda status: status == "active")


def test_a_refusal_that_nobody_knows(tenant: Tenant) -> None:
    tenant.fault("create", "refuse", message=f"Planet retrograde apikey={tenant.upstream_key}")
    pending = ok(tenant.buy(key="once"), 202)
    tenant.until(pending["id"], status="failed")
    operation = ok(tenant.http.get(f"/operations/{pending['pending_operation']}"))
    assert (operation["state"], operation["error"]["code"]) == ("failed", "purchase_not_made")
    body = problem(tenant.buy(key="once"), 502, "purchase_not_made")
    for told in (operation["error"]["upstream"], body["upstream"]):
        assert told["method"] == "create"
        assert told["message"].startswith("Planet retrograde")
    assert tenant.upstream_key not in str([operation, body])
    no_charge(tenant)


def test_a_refusal_that_nobody_knows_may_hide_a_purchase(tenant: Tenant) -> None:
    tenant.fault("create", "refuse", "after", message="Insufficient balance left")
    pending = ok(tenant.buy(), 202)
    tenant.until(pending["id"], status="active")
    assert tenant.charged == ["create"]


def test_a_refusal_that_is_known_but_has_no_code(tenant: Tenant) -> None:
    tenant.fault("create", "refuse", message="Incorrect method")
    body = problem(tenant.buy(), 502, "upstream_error")
    assert body["upstream"] == {"method": "create", "message": "Incorrect method"}
    no_charge(tenant)


def test_rate_limited_by_the_upstream(tenant: Tenant) -> None:
    tenant.fault("create", "rate_limit")
    body = problem(tenant.buy(), 503, "upstream_busy")
    assert body["retry_after"] >= 1
    no_charge(tenant)


@pytest.mark.parametrize("kind", ["drop", "status_500", "proxy_403", "html", "cut_json", "empty", "hang"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_unknown_outcome_is_pending_and_then_certain(tenant: Tenant, kind: str, when: str) -> None:
    tenant.fault("create", kind, when, seconds=20)
    answer = tenant.buy(key="once", metadata={"n": "1"})
    rental = ok(answer, 202)
    assert answer.headers["location"] == f"/rentals/{rental['id']}"
    assert (rental["status"], rental["phone_number"]) == ("pending", None)
    operation = ok(tenant.http.get(f"/operations/{rental['pending_operation']}"))
    assert operation["rental_id"] == rental["id"]
    if when == "after":
        found = tenant.until(rental["id"], status="active")
        assert found["phone_number"]
        assert found["metadata"] == {"n": "1"}
        assert tenant.charged == ["create"]
        again = tenant.buy(key="once", metadata={"n": "1"})
        assert ok(again, 201)["id"] == rental["id"]
    else:
        tenant.until(rental["id"], status="failed")
        again = tenant.buy(key="once", metadata={"n": "1"})
        problem(again, 502, "purchase_not_made")
        no_charge(tenant)
    assert again.headers["idempotency-replayed"] == "true"
    assert tenant.rental(rental["id"])["pending_operation"] is None
    spending = ok(tenant.http.get("/me"))["spending"]
    assert spending["held"]["amount"] == "0.00"
    assert spending["spent"]["amount"] == ("4.20" if when == "after" else "0.00")


def test_a_caller_that_hangs_up_loses_nothing(tenant: Tenant) -> None:
    tenant.fault("create", "late", seconds=1.0)
    with pytest.raises(httpx.ReadTimeout):
        tenant.http.post(
            "/rentals",
            json={"country": "RU", "service": "opt1", "period": {"unit": "week", "count": 1}},
            headers={"Idempotency-Key": "gone"},
            timeout=0.3,
        )
    (operation,) = tenant.operations()
    problem(tenant.buy(key="gone"), 409, "idempotency_key_in_use")
    found = tenant.until_operation(operation["id"], state="succeeded")
    again = tenant.buy(key="gone")
    assert ok(again, 201)["id"] == found["rental_id"]
    assert tenant.charged == ["create"]


def test_an_operator_may_be_chosen(tenant: Tenant) -> None:
    tenant.rent(operator="vodafone")
    calls = [c for c in tenant.sandbox.sandbox.calls if c["method"] == "create"]
    assert calls[-1]["parameters"]["provider"] == "vodafone"
