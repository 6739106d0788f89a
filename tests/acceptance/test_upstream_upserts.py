"""Upstream keys stored and replaced under ids of the platform's own key vault."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.acceptance.conftest import Gateway, MakeTenant
from tests.acceptance.tenant import Tenant, ok, problem
from tests.served import ServedSandbox


@pytest.fixture
def vault(gateway: Gateway, admin: httpx.Client) -> Iterator[httpx.Client]:
    """The platform's key vault."""
    body = {"name": "vault", "scopes": ["vault:write"]}
    with gateway.client(ok(admin.post("/platform-keys", json=body), 201)["token"]) as client:
        yield client


def test_it_is_made_once_and_replaced_after_a_trial(
    vault: httpx.Client, tenant: Tenant, sandbox: ServedSandbox
) -> None:
    keys = f"/tenants/{tenant.id}/upstream-keys"
    at = f"/tenants/{tenant.id}/upstream-keys-by-external-id/secret"
    body = {"label": "pushed", "api_key": sandbox.new_account()}
    answer = vault.put(at, json=body)
    made = ok(answer, 201)
    assert answer.headers["location"] == f"{keys}/{made['id']}"
    assert (made["external_id"], made["default"], made["label"]) == ("secret", False, "pushed")
    again = ok(vault.put(at, json=body))
    assert again == {**made, "last_used_at": again["last_used_at"]}  # looks have begun
    problem(vault.put(at, json={**body, "api_key": "nobody-knows-me"}), 502, "upstream_key_rejected")
    fresh = sandbox.new_account()
    replaced = ok(vault.put(at, json={"label": "renamed", "api_key": fresh, "default": True}))
    assert replaced["id"] == made["id"]
    assert (replaced["label"], replaced["default"], replaced["last_four"]) == ("renamed", True, fresh[-4:])
    assert len(ok(vault.get(keys))["items"]) == 2
    trail = ok(tenant.http.get("/audit-logs", params={"target": made["id"]}))["items"]
    assert [row["action"] for row in reversed(trail) if row["action"].startswith("upstream_key")] == [
        "upstream_key.create",
        "upstream_key.replace_secret",
        "upstream_key.update",
    ]
    assert vault.delete(f"{keys}/{made['id']}").status_code == 204
    assert ok(vault.put(at, json=body), 201)["id"] != made["id"]


def test_external_ids_are_the_tenants_own_and_accounts_are_not(
    vault: httpx.Client, make_tenant: MakeTenant, sandbox: ServedSandbox
) -> None:
    one, other = make_tenant(), make_tenant()
    body = {"label": "pushed", "api_key": sandbox.new_account()}
    ok(vault.put(f"/tenants/{one.id}/upstream-keys-by-external-id/a", json=body), 201)
    theirs = f"/tenants/{other.id}/upstream-keys-by-external-id/a"
    problem(vault.put(theirs, json=body), 409, "upstream_key_in_use")
    ok(vault.put(theirs, json={**body, "api_key": sandbox.new_account()}), 201)
    problem(one.http.put(theirs, json=body), 404, "not_found")


def test_ids_and_bodies_that_are_none(vault: httpx.Client, tenant: Tenant) -> None:
    at = f"/tenants/{tenant.id}/upstream-keys-by-external-id"
    body = {"label": "pushed", "api_key": "some-key"}
    problem(vault.put(f"{at}/{'a' * 129}", json=body), 422, "invalid_request")
    problem(vault.put(f"{at}/a", json={"label": "pushed"}), 422, "invalid_request")


def test_many_at_once_each_by_itself(
    vault: httpx.Client, make_tenant: MakeTenant, sandbox: ServedSandbox
) -> None:
    tenant, other = make_tenant(), make_tenant()
    at = f"/tenants/{tenant.id}/upstream-keys-by-external-id"
    first, second, fresh = sandbox.new_account(), sandbox.new_account(), sandbox.new_account()
    items: list[dict[str, Any]] = [
        {"external_id": "first", "label": "a", "api_key": first, "default": True},
        {"external_id": "taken", "label": "b", "api_key": other.upstream_key},
        {"external_id": "neither", "label": "c"},
        {"external_id": "off", "label": "d", "reference": "env:SOMETHING"},
        {"external_id": "second", "label": "e", "api_key": second},
    ]
    answer = vault.put(at, json={"items": items})
    results = ok(answer)["results"]
    assert [(result["external_id"], result["status"]) for result in results] == [
        ("first", 201),
        ("taken", 409),
        ("neither", 422),
        ("off", 422),
        ("second", 201),
    ]
    assert [result["upstream_key"] is None for result in results] == [False, True, True, True, False]
    assert results[0]["upstream_key"]["default"] is True
    assert results[1]["error"]["code"] == "upstream_key_in_use"
    assert results[1]["error"]["request_id"] == answer.headers["x-request-id"]
    assert results[2]["error"]["errors"][0]["location"] == "body.items.2.api_key"
    assert results[3]["error"]["errors"][0]["location"] == "body.items.3.reference"
    for secret in (first, second, other.upstream_key):
        assert secret not in answer.text
    keys = f"/tenants/{tenant.id}/upstream-keys"
    assert {key["label"] for key in ok(vault.get(keys))["items"]} == {"sandbox", "a", "e"}

    items = [items[0], {**items[4], "api_key": "nobody-knows-me"}, {**items[4], "api_key": fresh}]
    results = ok(vault.put(at, json={"items": items}))["results"]
    assert [result["status"] for result in results] == [200, 502, 200]
    assert results[2]["upstream_key"]["last_four"] == fresh[-4:]
    rows = ok(tenant.http.get("/audit-logs", params={"limit": 100}))["items"]
    actions = [row["action"] for row in rows if row["action"].startswith("upstream_key")]
    results = ok(vault.put(at, json={"items": [items[0], items[2]]}))["results"]
    assert [result["status"] for result in results] == [200, 200]
    rows = ok(tenant.http.get("/audit-logs", params={"limit": 100}))["items"]
    assert [row["action"] for row in rows if row["action"].startswith("upstream_key")] == actions


def test_many_that_are_no_items(vault: httpx.Client, make_tenant: MakeTenant, sandbox: ServedSandbox) -> None:
    tenant, other = make_tenant(), make_tenant()
    at = f"/tenants/{tenant.id}/upstream-keys-by-external-id"
    good = {"external_id": "a", "label": "a", "api_key": sandbox.new_account()}
    for items in ([], [good, {**good, "external_id": "no spaces"}], [good, {"label": "b"}], [good] * 101):
        problem(vault.put(at, json={"items": items}), 422, "invalid_request")
    assert len(ok(vault.get(f"/tenants/{tenant.id}/upstream-keys"))["items"]) == 1
    problem(other.http.put(at, json={"items": [good]}), 404, "not_found")
    problem(vault.put(f"/tenants/{uuid4()}/upstream-keys-by-external-id", json={}), 404, "not_found")
    same = [good, {**good, "label": "again"}]
    assert [r["status"] for r in ok(tenant.http.put(at, json={"items": same}))["results"]] == [201, 200]


def test_saying_again_that_the_only_key_need_not_be_the_default_leaves_it_so(
    make_tenant: MakeTenant, sandbox: ServedSandbox
) -> None:
    tenant = make_tenant()
    tenant.admin.delete(f"/tenants/{tenant.id}/upstream-keys/{tenant.upstream_key_id}")
    at = f"/tenants/{tenant.id}/upstream-keys-by-external-id/only"
    body = {"label": "only", "api_key": sandbox.new_account(), "default": False}
    for status in (201, 200):
        assert ok(tenant.http.put(at, json=body), status)["default"] is True
    ok(tenant.buy(), 201)
