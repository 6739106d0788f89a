"""Platform keys: each scope lets its bearer do its own thing over all tenants, and nothing else."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import httpx
import pytest

from tests.acceptance.conftest import Gateway
from tests.acceptance.tenant import Answer, Tenant, ok, problem
from tests.served import ServedSandbox


def made(admin: httpx.Client, *scopes: str) -> Answer:
    return ok(admin.post("/platform-keys", json={"name": "vault", "scopes": list(scopes)}), 201)


@pytest.fixture
def holding(gateway: Gateway, admin: httpx.Client) -> Iterator[dict[str, httpx.Client]]:
    """A client for each scope."""
    clients = {
        scope: gateway.client(made(admin, scope)["token"])
        for scope in ("tenants:manage", "vault:write", "audit:read")
    }
    yield clients
    for client in clients.values():
        client.close()


def test_a_key_is_shown_once_listed_and_revoked(admin: httpx.Client, gateway: Gateway) -> None:
    key = made(admin, "vault:write", "audit:read")
    assert key["token"].startswith("rgp_")
    assert key["token"].startswith(key["prefix"])
    assert key["scopes"] == ["audit:read", "vault:write"]
    listed = ok(admin.get("/platform-keys"))["items"]
    assert next(item for item in listed if item["id"] == key["id"]).keys() == key.keys() - {"token"}
    with gateway.client(key["token"]) as client:
        me = ok(client.get("/me"))
        assert (me["tenant"], me["api_key"]["id"], me["spending"]) == (None, key["id"], None)
        assert me["scopes"] == ["audit:read", "vault:write"]
        assert admin.delete(f"/platform-keys/{key['id']}").status_code == 204
        problem(client.get("/me"), 401, "unauthenticated")
    problem(admin.delete(f"/platform-keys/{key['id']}"), 404, "not_found")
    assert key["token"] not in gateway.log.read_text()


def test_a_repeated_request_shows_no_token(admin: httpx.Client) -> None:
    headers = {"Idempotency-Key": secrets.token_hex(8)}
    body = {"name": "vault", "scopes": ["vault:write"]}
    first = ok(admin.post("/platform-keys", json=body, headers=headers), 201)
    again = admin.post("/platform-keys", json=body, headers=headers)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert ok(again, 201) == {name: value for name, value in first.items() if name != "token"}


def test_what_it_makes_and_ends_is_in_the_platforms_own_trail(admin: httpx.Client) -> None:
    key = made(admin, "audit:read")
    found = ok(admin.get("/audit-logs", params={"target": key["id"]}))["items"]
    assert [(row["actor"], row["action"]) for row in found] == [("admin", "platform_key.create")]


@pytest.mark.parametrize("scopes", [[], ["rentals:read"], ["tenants:manage", "everything"]])
def test_scopes_are_the_platforms_own(admin: httpx.Client, scopes: list[str]) -> None:
    problem(admin.post("/platform-keys", json={"name": "x", "scopes": scopes}), 422, "invalid_request")


def test_it_manages_tenants(holding: dict[str, httpx.Client], tenant: Tenant) -> None:
    client = holding["tenants:manage"]
    new = ok(client.post("/tenants", json={"name": "made by a platform key"}), 201)
    ok(client.patch(f"/tenants/{new['id']}", json={"status": "suspended"}))
    assert ok(client.get(f"/tenants/{new['id']}"))["status"] == "suspended"
    ok(client.get("/tenants"))
    for other in ("vault:write", "audit:read"):
        problem(holding[other].post("/tenants", json={"name": "x"}), 403, "insufficient_scope")
    problem(client.get("/rentals", headers={"X-Tenant-ID": tenant.id}), 403, "insufficient_scope")
    keys = f"/tenants/{tenant.id}/api-keys"
    problem(client.post(keys, json={"name": "x", "scopes": ["rentals:read"]}), 403, "insufficient_scope")
    problem(client.get("/platform-keys"), 403, "insufficient_scope")


def test_it_pushes_and_rotates_upstream_keys(
    holding: dict[str, httpx.Client], tenant: Tenant, sandbox: ServedSandbox
) -> None:
    client = holding["vault:write"]
    path = f"/tenants/{tenant.id}/upstream-keys"
    secret = sandbox.new_account()
    stored = ok(client.post(path, json={"label": "pushed", "api_key": secret}), 201)
    assert {key["id"] for key in ok(client.get(path))["items"]} == {stored["id"], tenant.upstream_key_id}
    fresh = sandbox.new_account()
    ok(client.put(f"{path}/{stored['id']}/secret", json={"api_key": fresh, "force": True}))
    assert client.delete(f"{path}/{stored['id']}").status_code == 204
    for other in ("tenants:manage", "audit:read"):
        problem(holding[other].get(path), 403, "insufficient_scope")
    problem(client.get("/tenants"), 403, "insufficient_scope")
    rows = ok(tenant.http.get("/audit-logs", params={"target": stored["id"]}))["items"]
    assert {row["actor"].split(":")[0] for row in rows if row["action"].startswith("upstream_key")} == {
        "platform_key"
    }


def test_it_reads_audit_trails(holding: dict[str, httpx.Client], tenant: Tenant) -> None:
    tenant.rent()
    client = holding["audit:read"]
    rows = ok(client.get("/audit-logs", headers={"X-Tenant-ID": tenant.id}))["items"]
    assert rows == ok(tenant.http.get("/audit-logs"))["items"]
    problem(holding["vault:write"].get("/audit-logs"), 403, "insufficient_scope")
    nobody = {"X-Tenant-ID": "01890000-0000-7000-8000-000000000000"}
    problem(client.get("/audit-logs", headers=nobody), 404, "not_found")


def test_it_has_to_name_the_tenant(holding: dict[str, httpx.Client], admin: httpx.Client) -> None:
    wrong = problem(admin.get("/rentals"), 422, "invalid_request")
    assert wrong["errors"][0]["location"] == "header.X-Tenant-ID"
    problem(holding["audit:read"].get("/rentals"), 403, "insufficient_scope")


def test_a_tenants_key_is_no_platform_key(tenant: Tenant) -> None:
    problem(tenant.http.get("/platform-keys"), 403, "insufficient_scope")
    problem(
        tenant.http.post("/platform-keys", json={"name": "x", "scopes": ["vault:write"]}),
        403,
        "insufficient_scope",
    )
    problem(
        tenant.http.delete("/platform-keys/01890000-0000-7000-8000-000000000000"), 403, "insufficient_scope"
    )
