"""Tenants, API keys and upstream keys: made, listed, changed, ended, and never readable by others."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest

from tests.acceptance.conftest import Gateway, MakeTenant
from tests.acceptance.tenant import SCOPES, Tenant, eventually, ok, problem
from tests.served import ServedSandbox


def test_a_tenants_life(admin: httpx.Client) -> None:
    answer = admin.post(
        "/tenants", json={"name": "Acme", "spend_limit": {"amount": "12.5", "currency": "USD"}}
    )
    tenant = ok(answer, 201)
    assert answer.headers["location"] == f"/tenants/{tenant['id']}"
    assert set(tenant) == {"id", "name", "status", "spend_limit", "created_at", "reference_prefixes"}
    assert (tenant["status"], tenant["spend_limit"]) == ("active", {"amount": "12.50", "currency": "USD"})
    at = f"/tenants/{tenant['id']}"
    assert ok(admin.get(at)) == tenant
    assert ok(admin.get("/tenants?limit=1"))["items"] == [tenant]
    assert ok(admin.patch(at, json={"name": "Acme Ltd"}))["name"] == "Acme Ltd"
    assert ok(admin.patch(at, json={"spend_limit": None}))["spend_limit"] is None
    assert ok(admin.patch(at))["name"] == "Acme Ltd"
    problem(admin.patch(at, json={"name": None}), 422, "invalid_request")
    problem(admin.patch(at, json={"status": "deleted"}), 422, "invalid_request")
    problem(admin.get(f"/tenants/{uuid4()}"), 404, "not_found")
    problem(admin.patch(f"/tenants/{uuid4()}", json={"name": "x"}), 404, "not_found")
    log = ok(admin.get("/audit-logs", headers={"X-Tenant-ID": tenant["id"]}))["items"]
    assert [entry["action"] for entry in log] == ["tenant.update", "tenant.update", "tenant.create"]
    assert {entry["actor"] for entry in log} == {"admin"}


def test_tenants_are_the_administrators_business(make_tenant: MakeTenant) -> None:
    mine, other = make_tenant(with_account=False), make_tenant(with_account=False)
    problem(mine.http.get("/tenants"), 403, "insufficient_scope")
    problem(mine.http.post("/tenants", json={"name": "x"}), 403, "insufficient_scope")
    problem(mine.http.patch(f"/tenants/{mine.id}", json={"spend_limit": None}), 403, "insufficient_scope")
    problem(mine.http.get(f"/tenants/{mine.id}"), 403, "insufficient_scope")
    problem(mine.http.get(f"/tenants/{other.id}"), 404, "not_found")


def test_a_suspended_tenants_keys_are_refused_at_once_and_accepted_again(tenant: Tenant) -> None:
    rental = tenant.rent()
    ok(tenant.admin.patch(f"/tenants/{tenant.id}", json={"status": "suspended"}))
    problem(tenant.http.get("/rentals"), 403, "tenant_suspended")
    problem(tenant.buy(), 403, "tenant_suspended")
    seen = tenant.admin.get(f"/rentals/{rental['id']}", headers={"X-Tenant-ID": tenant.id})
    assert ok(seen)["id"] == rental["id"]
    ok(tenant.admin.patch(f"/tenants/{tenant.id}", json={"status": "active"}))
    assert tenant.rental(rental["id"])["id"] == rental["id"]


def test_an_api_keys_life(tenant: Tenant, gateway: Gateway) -> None:
    at = f"/tenants/{tenant.id}/api-keys"
    answer = tenant.http.post(at, json={"name": "reader", "scopes": ["rentals:read"]})
    made = ok(answer, 201)
    token = made.pop("token")
    assert answer.headers["location"] == f"{at}/{made['id']}"
    assert set(made) == {"id", "name", "prefix", "scopes", "expires_at", "last_used_at", "created_at"}
    assert token.startswith(made["prefix"])
    assert token.startswith("rg_")
    listed = ok(tenant.http.get(at))["items"]
    assert listed[0] == made
    assert "token" not in listed[0]
    with gateway.client(token) as reader:
        ok(reader.get("/rentals"))
        me = ok(reader.get("/me"))
        assert me["scopes"] == ["rentals:read"]
        assert me["api_key"] == {"id": made["id"], "name": "reader", "prefix": made["prefix"]}
        body = problem(reader.get("/countries"), 403, "insufficient_scope")
        assert "catalog:read" in body["detail"]
        problem(reader.post("/rentals", json={}), 403, "insufficient_scope")
        problem(reader.get("/audit-logs"), 403, "insufficient_scope")
        problem(reader.post(at, json={"name": "x", "scopes": ["rentals:read"]}), 403, "insufficient_scope")
        assert ok(tenant.http.get(at))["items"][0]["last_used_at"] is not None
        assert tenant.http.delete(f"{at}/{made['id']}").status_code == 204
        problem(reader.get("/rentals"), 401, "unauthenticated")
    problem(tenant.http.delete(f"{at}/{made['id']}"), 404, "not_found")
    assert made["id"] not in {key["id"] for key in ok(tenant.http.get(at))["items"]}


def test_nobody_gives_what_they_do_not_hold(tenant: Tenant, gateway: Gateway) -> None:
    at = f"/tenants/{tenant.id}/api-keys"
    manager = ok(tenant.http.post(at, json={"name": "m", "scopes": ["keys:manage"]}), 201)
    with gateway.client(manager["token"]) as client:
        body = problem(
            client.post(at, json={"name": "x", "scopes": ["keys:manage", "rentals:write"]}),
            403,
            "insufficient_scope",
        )
        assert "rentals:write" in body["detail"]
        ok(client.post(at, json={"name": "x", "scopes": ["keys:manage"]}), 201)


def test_keys_expire(tenant: Tenant, gateway: Gateway) -> None:
    at = f"/tenants/{tenant.id}/api-keys"
    soon = (datetime.now(UTC) + timedelta(seconds=1.5)).isoformat()
    made = ok(tenant.http.post(at, json={"name": "x", "scopes": SCOPES, "expires_at": soon}), 201)
    with gateway.client(made["token"]) as client:
        ok(client.get("/me"))
        expired = eventually(lambda: client.get("/me"), lambda answer: answer.status_code != 200)
        problem(expired, 401, "unauthenticated")
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    body = problem(
        tenant.http.post(at, json={"name": "x", "scopes": SCOPES, "expires_at": past}), 422, "invalid_request"
    )
    assert body["errors"][0]["location"] == "body.expires_at"


def test_an_upstream_keys_life(tenant: Tenant) -> None:
    at = f"/tenants/{tenant.id}/upstream-keys"
    answer = tenant.add_upstream_key("second-account-key-5678")
    second = ok(answer, 201)
    assert answer.headers["location"] == f"{at}/{second['id']}"
    assert set(second) == {
        "id",
        "label",
        "last_four",
        "reference",
        "default",
        "status",
        "created_at",
        "last_used_at",
        "health",
        "balance",
        "low_balance_below",
    }
    assert second["health"] == {"status": "ok", "since": second["created_at"], "problem": None}
    assert (second["last_four"], second["default"], second["status"]) == ("5678", False, "active")
    listed = ok(tenant.http.get(at))["items"]
    assert [key["default"] for key in listed] == [False, True]
    assert "second-account-key-5678" not in answer.text + str(listed)
    changed = ok(tenant.http.patch(f"{at}/{second['id']}", json={"label": "b", "default": True}))
    assert (changed["label"], changed["default"]) == ("b", True)
    assert ok(tenant.http.get(f"{at}/{tenant.upstream_key_id}"))["default"] is False
    assert tenant.http.delete(f"{at}/{second['id']}").status_code == 204
    problem(tenant.http.get(f"{at}/{second['id']}"), 404, "not_found")
    problem(tenant.buy(), 409, "no_upstream_key")
    ok(tenant.buy(upstream_key_id=tenant.upstream_key_id), 201)


def test_one_account_serves_one_tenant(make_tenant: MakeTenant) -> None:
    mine, theirs = make_tenant(), make_tenant()
    for upstream_key in (mine.upstream_key, theirs.upstream_key):
        body = problem(mine.add_upstream_key(upstream_key), 409, "upstream_key_in_use")
        assert theirs.id not in str(body)


def test_a_key_with_living_rentals_stays_unless_forced(tenant: Tenant) -> None:
    tenant.rent()
    at = f"/tenants/{tenant.id}/upstream-keys/{tenant.upstream_key_id}"
    body = problem(tenant.http.delete(at), 409, "upstream_key_has_rentals")
    assert "1 " in body["detail"]
    assert tenant.http.delete(f"{at}?force=true").status_code == 204


def test_another_tenants_keys_do_not_exist(make_tenant: MakeTenant) -> None:
    mine, theirs = make_tenant(), make_tenant()
    their_api_key = ok(theirs.http.get(f"/tenants/{theirs.id}/api-keys"))["items"][0]["id"]
    requests = [
        ("GET", f"/tenants/{theirs.id}/api-keys", None),
        ("POST", f"/tenants/{theirs.id}/api-keys", {"name": "x", "scopes": ["rentals:read"]}),
        ("DELETE", f"/tenants/{theirs.id}/api-keys/{their_api_key}", None),
        ("DELETE", f"/tenants/{mine.id}/api-keys/{their_api_key}", None),
        ("GET", f"/tenants/{theirs.id}/upstream-keys", None),
        ("POST", f"/tenants/{theirs.id}/upstream-keys", {"label": "x", "api_key": "k" * 20}),
        ("GET", f"/tenants/{mine.id}/upstream-keys/{theirs.upstream_key_id}", None),
        ("PATCH", f"/tenants/{mine.id}/upstream-keys/{theirs.upstream_key_id}", {"label": "x"}),
        ("DELETE", f"/tenants/{mine.id}/upstream-keys/{theirs.upstream_key_id}?force=true", None),
        ("DELETE", f"/tenants/{theirs.id}/upstream-keys/{theirs.upstream_key_id}?force=true", None),
    ]
    for method, path, body in requests:
        problem(mine.http.request(method, path, json=body), 404, "not_found")
    theirs.rent()
    assert [key["id"] for key in ok(theirs.http.get(f"/tenants/{theirs.id}/api-keys"))["items"]] == [
        their_api_key
    ]


def test_the_administrator_acts_for_the_tenant_it_names(make_tenant: MakeTenant, admin: httpx.Client) -> None:
    tenant = make_tenant()
    named = {"X-Tenant-ID": tenant.id}
    body = problem(admin.get("/rentals"), 422, "invalid_request")
    assert body["errors"][0]["location"] == "header.X-Tenant-ID"
    problem(admin.get("/rentals", headers={"X-Tenant-ID": str(uuid4())}), 404, "not_found")
    problem(admin.get("/rentals", headers={"X-Tenant-ID": "x"}), 422, "invalid_request")
    purchase = {"country": "RU", "service": "opt1", "period": {"unit": "week", "count": 1}}
    rental = ok(admin.post("/rentals", json=purchase, headers=named), 201)
    assert tenant.rental(rental["id"])["id"] == rental["id"]
    events = ok(tenant.http.get(f"/rentals/{rental['id']}/events"))["items"]
    assert events[-1]["actor"] == "admin"
    assert ok(admin.get("/me"))["tenant"] is None
    assert ok(admin.get("/me", headers=named))["tenant"]["id"] == tenant.id


def test_naming_another_tenant_in_the_header_finds_nothing(make_tenant: MakeTenant) -> None:
    mine, theirs = make_tenant(with_account=False), make_tenant(with_account=False)
    problem(mine.http.get("/rentals", headers={"X-Tenant-ID": theirs.id}), 404, "not_found")
    ok(mine.http.get("/rentals", headers={"X-Tenant-ID": mine.id}))


@pytest.mark.parametrize("path", ["/operations", "/audit-logs", "/rentals"])
def test_lists_of_one_tenant_show_nothing_of_another(make_tenant: MakeTenant, path: str) -> None:
    mine, theirs = make_tenant(), make_tenant()
    theirs.rent()
    shown = str(ok(mine.http.get(path)))
    assert theirs.id not in shown
    assert theirs.upstream_key_id not in shown
    operation = theirs.operations()[0]["id"]
    problem(mine.http.get(f"/operations/{operation}"), 404, "not_found")


def test_me(tenant: Tenant) -> None:
    me = ok(tenant.http.get("/me"))
    assert me["tenant"]["id"] == tenant.id
    assert me["scopes"] == sorted(SCOPES)
    assert me["spending"]["month"] == f"{datetime.now(UTC):%Y-%m}"
    assert me["spending"]["limit"] is None


def test_the_audit_trail_is_filtered_and_paged(tenant: Tenant) -> None:
    rental = tenant.rent()
    assert rental["id"]
    operation = tenant.operations()[0]
    about = ok(tenant.http.get("/audit-logs", params={"target": operation["id"]}))["items"]
    assert [entry["outcome"] for entry in about] == ["succeeded", "accepted"]
    accepted = about[-1]
    assert set(accepted) == {
        "id",
        "created_at",
        "actor",
        "action",
        "target",
        "outcome",
        "address",
        "request_id",
        "details",
    }
    assert accepted["actor"].startswith("api_key:")
    assert accepted["address"] == "127.0.0.1"
    by_actor = ok(tenant.http.get("/audit-logs", params={"actor": "admin"}))["items"]
    assert {entry["action"] for entry in by_actor} == {"tenant.create", "api_key.create"}
    first = ok(tenant.http.get("/audit-logs?limit=1"))
    second = ok(tenant.http.get("/audit-logs", params={"limit": 1, "cursor": first["next_cursor"]}))
    assert first["items"][0]["id"] > second["items"][0]["id"]
    assert ok(tenant.http.get("/audit-logs", params={"outcome": "no such"}))["items"] == []
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert ok(tenant.http.get("/audit-logs", params={"created_after": later}))["items"] == []


def test_operations_are_filtered_and_paged(tenant: Tenant) -> None:
    rental = tenant.rent(activate=True)
    everything = tenant.operations()
    assert [operation["kind"] for operation in everything] == ["activate", "create"]
    assert [o["kind"] for o in tenant.operations(kind="create")] == ["create"]
    assert len(tenant.operations(rental_id=rental["id"])) == 2
    assert tenant.operations(state="failed") == []
    create = everything[1]
    assert ok(tenant.http.get(f"/operations/{create['id']}")) == create
    assert create["request"]["services"] == ["opt1"]
    assert create["price"] == {"amount": "4.20", "currency": "USD"}
    first = ok(tenant.http.get("/operations?limit=1"))
    second = ok(tenant.http.get("/operations", params={"limit": 1, "cursor": first["next_cursor"]}))
    assert [first["items"][0]["id"], second["items"][0]["id"]] == [o["id"] for o in everything]
    problem(tenant.http.get(f"/operations/{uuid4()}"), 404, "not_found")
    problem(tenant.http.get("/operations?state=lost"), 422, "invalid_request")


def test_of_keys_that_come_at_once_one_is_the_default(
    make_tenant: MakeTenant, sandbox: ServedSandbox
) -> None:
    tenant = make_tenant()
    at = f"/tenants/{tenant.id}/upstream-keys"
    tenant.admin.delete(f"{at}/{tenant.upstream_key_id}")
    with ThreadPoolExecutor(6) as pool:
        bodies = [{"label": str(n), "api_key": sandbox.new_key()} for n in range(6)]
        answers = list(pool.map(lambda body: tenant.http.post(at, json=body), bodies))
        made = [ok(answer, 201)["id"] for answer in answers]
        changed = list(pool.map(lambda one: tenant.http.patch(f"{at}/{one}", json={"default": True}), made))
    assert {answer.status_code for answer in changed} == {200}
    found = ok(tenant.http.get(at))["items"]
    assert [key["default"] for key in found].count(True) == 1


def test_another_tenants_key_is_not_verified_and_its_pace_not_drawn_on(make_tenant: MakeTenant) -> None:
    mine, theirs = make_tenant(), make_tenant()
    for _ in range(3):
        answer = mine.http.post(f"/tenants/{mine.id}/upstream-keys/{theirs.upstream_key_id}/verify")
        problem(answer, 404, "not_found")
    rows = ok(mine.http.get("/audit-logs", params={"target": theirs.upstream_key_id}))["items"]
    assert rows == []
