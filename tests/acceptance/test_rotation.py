"""Keys are changed without a pause: API keys with an overlap, upstream secrets after a trial."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.acceptance.conftest import Gateway, MakeTenant
from tests.acceptance.tenant import Tenant, eventually, ok, problem


def test_an_api_key_rotates_with_an_overlap(tenant: Tenant, gateway: Gateway) -> None:
    at = f"/tenants/{tenant.id}/api-keys"
    old = ok(tenant.http.post(at, json={"name": "svc", "scopes": ["rentals:read"]}), 201)
    answer = tenant.http.post(f"{at}/{old['id']}/rotate", json={"overlap_seconds": 2})
    new = ok(answer, 201)
    assert answer.headers["location"] == f"{at}/{new['id']}"
    assert (new["name"], new["scopes"]) == (old["name"], old["scopes"])
    assert new["token"] != old["token"]
    with gateway.client(old["token"]) as before, gateway.client(new["token"]) as after:
        ok(before.get("/me"))
        ok(after.get("/me"))
        eventually(lambda: before.get("/me").status_code, lambda status: status == 401)
        ok(after.get("/me"))
    problem(tenant.http.post(f"{at}/{old['id']}/rotate", json={"overlap_seconds": 0}), 404, "not_found")


def test_without_overlap_the_old_key_ends_at_once(tenant: Tenant, gateway: Gateway) -> None:
    at = f"/tenants/{tenant.id}/api-keys"
    old = ok(tenant.http.post(at, json={"name": "svc", "scopes": ["rentals:read"]}), 201)
    ok(tenant.http.post(f"{at}/{old['id']}/rotate", json={"overlap_seconds": 0}), 201)
    with gateway.client(old["token"]) as before:
        problem(before.get("/me"), 401, "unauthenticated")


def test_nobody_rotates_a_key_that_holds_more(tenant: Tenant, gateway: Gateway) -> None:
    at = f"/tenants/{tenant.id}/api-keys"
    manager = ok(tenant.http.post(at, json={"name": "m", "scopes": ["keys:manage"]}), 201)
    other = ok(tenant.http.post(at, json={"name": "o", "scopes": ["rentals:write"]}), 201)
    with gateway.client(manager["token"]) as client, gateway.client(other["token"]) as untouched:
        rotation = client.post(f"{at}/{other['id']}/rotate", json={"overlap_seconds": 0})
        problem(rotation, 403, "insufficient_scope")
        ok(untouched.get("/me"))


@pytest.mark.parametrize("overlap", [-1, 1.5, "1", None, 10**9])
def test_overlaps_that_are_none(tenant: Tenant, overlap: object) -> None:
    at = f"/tenants/{tenant.id}/api-keys"
    key = ok(tenant.http.get(at))["items"][0]["id"]
    body = problem(
        tenant.http.post(f"{at}/{key}/rotate", json={"overlap_seconds": overlap}), 422, "invalid_request"
    )
    assert body["errors"][0]["location"] == "body.overlap_seconds"


def test_a_new_secret_of_the_same_account(tenant: Tenant) -> None:
    rental = tenant.rent()
    at = f"/tenants/{tenant.id}/upstream-keys/{tenant.upstream_key_id}"
    problem(
        tenant.http.put(f"{at}/secret", json={"api_key": "nobody-knows-me"}), 502, "upstream_key_rejected"
    )
    assert ok(tenant.http.get(at))["status"] == "active"
    tenant.gets_another_secret("the-new-secret-4321")
    changed = ok(tenant.http.put(f"{at}/secret", json={"api_key": "the-new-secret-4321"}))
    assert (changed["last_four"], changed["status"]) == ("4321", "active")
    ok(tenant.http.post(f"/rentals/{rental['id']}/activate"), 202)
    tenant.rent()


def test_a_secret_of_another_account_only_by_force(make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    tenant.rent()
    tenant.sandbox.add_account("another-account-99", Decimal(100))
    at = f"/tenants/{tenant.id}/upstream-keys/{tenant.upstream_key_id}"
    body = {"api_key": "another-account-99"}
    problem(tenant.http.put(f"{at}/secret", json=body), 409, "upstream_account_differs")
    ok(tenant.http.put(f"{at}/secret", json={**body, "force": True}))
    other = make_tenant()
    theirs = f"/tenants/{other.id}/upstream-keys/{other.upstream_key_id}/secret"
    problem(other.http.put(theirs, json={**body, "force": True}), 409, "upstream_key_in_use")
    problem(tenant.http.put(theirs, json=body), 404, "not_found")


def test_verifying_marks_and_wakes_a_key(tenant: Tenant) -> None:
    at = f"/tenants/{tenant.id}/upstream-keys/{tenant.upstream_key_id}"
    assert ok(tenant.http.post(f"{at}/verify"))["status"] == "active"
    account = tenant.sandbox.sandbox.world.accounts.pop(tenant.upstream_key)
    assert ok(tenant.http.post(f"{at}/verify"))["status"] == "rejected"
    tenant.sandbox.sandbox.world.accounts[tenant.upstream_key] = account
    assert ok(tenant.http.post(f"{at}/verify"))["status"] == "active"
    rental = tenant.rent(activate=True)
    tenant.until(rental["id"], number_state="active")
    problem(tenant.http.post(f"/tenants/{tenant.id}/upstream-keys/{tenant.id}/verify"), 404, "not_found")


def test_metadata_is_replaced(tenant: Tenant) -> None:
    rental = tenant.rent(metadata={"a": "1"})
    at = f"/rentals/{rental['id']}"
    assert ok(tenant.http.patch(at, json={"metadata": {"b": "2"}}))["metadata"] == {"b": "2"}
    assert ok(tenant.http.patch(at))["metadata"] == {"b": "2"}
    assert ok(tenant.http.patch(at, json={"metadata": {}}))["metadata"] == {}
    problem(tenant.http.patch(at, json={"status": "deleted"}), 422, "invalid_request")
    problem(tenant.http.patch(f"/rentals/{tenant.id}", json={"metadata": {}}), 404, "rental_not_found")
