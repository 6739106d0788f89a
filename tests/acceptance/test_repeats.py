"""Polls that are answered from memory: as fast as it goes, and never to whom they are not due."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tests.acceptance.conftest import ADMIN_TOKEN, Gateway, MakeTenant, running_gateway
from tests.acceptance.tenant import Tenant, eventually, ok, problem
from tests.served import ServedSandbox

PATHS = ("/rentals/{id}", "/rentals/{id}/sms", "/rentals/{id}/sms?limit=7&scope=rented")


def poll(http: httpx.Client, path: str, times: int = 4) -> httpx.Response:
    """The last of several answers, so that it is one from memory."""
    answers = [http.get(path) for _ in range(times)]
    assert (
        len({answer.content for answer in answers if answer.status_code == 200}) <= 2
    )  # `synced_at` goes on
    return answers[-1]


@pytest.mark.parametrize("path", PATHS)
def test_an_answer_from_memory_is_as_any_other(tenant: Tenant, path: str) -> None:
    path = path.format(id=tenant.rent()["id"])
    first = tenant.http.get(path)
    last = poll(tenant.http, path)
    assert last.status_code == 200
    assert last.json().keys() == first.json().keys()
    assert set(last.headers) == set(first.headers)
    for name in ("content-type", "cache-control", "x-content-type-options"):
        assert last.headers[name] == first.headers[name]
    assert last.headers["x-request-id"] != first.headers["x-request-id"]
    mine = tenant.http.get(path, headers={"X-Request-ID": "mine"})
    assert mine.headers["x-request-id"] == "mine"
    for _ in range(4):
        answer = tenant.http.get(path)
        again = tenant.http.get(path, headers={"If-None-Match": answer.headers["etag"]})
        if again.status_code == 304:
            break
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", answer.headers["etag"])
    assert tenant.http.get(path, headers={"If-None-Match": '"another"'}).status_code == 200


def test_nobody_else_gets_it(tenant: Tenant, make_tenant: MakeTenant, gateway: Gateway) -> None:
    rental = tenant.rent()
    other = make_tenant()
    at = f"/tenants/{tenant.id}/api-keys"
    catalog = ok(tenant.http.post(at, json={"name": "c", "scopes": ["catalog:read"]}), 201)["token"]
    for path in (path.format(id=rental["id"]) for path in PATHS):
        assert poll(tenant.http, path).status_code == 200
        problem(poll(other.http, path), 404, "rental_not_found")
        with gateway.client(catalog) as client:
            problem(poll(client, path), 403, "insufficient_scope")
        with gateway.client(None) as client:
            problem(poll(client, path), 401, "unauthenticated")
        named = {"X-Tenant-ID": other.id}
        problem(tenant.http.get(path, headers=named), 404, "not_found")
        twice = [("Authorization", "Bearer wrong"), ("Authorization", f"Bearer {tenant.token}")]
        assert httpx.get(gateway.url + path, headers=twice).status_code == 401


def test_it_ends_with_the_right_to_it(tenant: Tenant, gateway: Gateway, admin: httpx.Client) -> None:
    path = f"/rentals/{tenant.rent()['id']}"
    at = f"/tenants/{tenant.id}/api-keys"
    soon = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
    wanted = {"name": "x", "scopes": ["rentals:read"]}
    revoked = ok(tenant.http.post(at, json=wanted), 201)
    expiring = ok(tenant.http.post(at, json={**wanted, "expires_at": soon}), 201)
    with gateway.client(revoked["token"]) as client, gateway.client(expiring["token"]) as other:
        assert poll(client, path).status_code == poll(other, path).status_code == 200
        assert tenant.http.delete(f"{at}/{revoked['id']}").status_code == 204
        assert client.get(path).status_code == 401
        eventually(lambda: other.get(path).status_code, lambda status: status == 401, seconds=5)
    assert poll(tenant.http, path).status_code == 200
    ok(admin.patch(f"/tenants/{tenant.id}", json={"status": "suspended"}))
    problem(tenant.http.get(path), 403, "tenant_suspended")
    ok(admin.patch(f"/tenants/{tenant.id}", json={"status": "active"}))
    assert tenant.http.get(path).status_code == 200


def test_a_reader_sees_his_own_change_at_once(tenant: Tenant) -> None:
    path = f"/rentals/{tenant.rent()['id']}"
    for n in range(5):
        assert poll(tenant.http, path).status_code == 200
        ok(tenant.http.patch(path, json={"metadata": {"n": str(n)}}))
        assert tenant.rental(path.rpartition("/")[2])["metadata"] == {"n": str(n)}


def test_a_message_that_was_waited_for_is_there_afterwards(tenant: Tenant) -> None:
    rental = tenant.rent()
    path = f"/rentals/{rental['id']}/sms"
    assert poll(tenant.http, path).status_code == 200
    tenant.arrive("here it is")
    assert len(tenant.messages(rental["id"], wait="20")["items"]) == 1
    assert len(ok(tenant.http.get(path))["items"]) == 1


def test_the_query_is_taken_as_it_is_written(tenant: Tenant) -> None:
    path = f"/rentals/{tenant.rent()['id']}/sms"
    assert poll(tenant.http, f"{path}?limit=5").status_code == 200
    problem(poll(tenant.http, f"{path}?limit=0"), 422, "invalid_request")
    assert "has_more" not in poll(tenant.http, f"{path}?order=desc").json()
    assert "has_more" in poll(tenant.http, path).json()


def test_requests_that_are_limited_are_counted(
    settings: dict[str, str], sandbox: ServedSandbox, tmp_path: Path
) -> None:
    with running_gateway(tmp_path / "log", **settings, RENTGATE_RATE_LIMIT="30") as gateway:
        tenant = Tenant.create(gateway.client, gateway.client(ADMIN_TOKEN), sandbox)
        path = f"/rentals/{tenant.rent()['id']}"
        left = [
            int(re.search(r"r=(\d+)", tenant.http.get(path).headers["ratelimit"])[1])  # type: ignore[index]
            for _ in range(5)
        ]
        assert left == list(range(left[0], left[0] - 5, -1))
        tenant.close()


def test_each_is_counted_and_logged_once(
    settings: dict[str, str], sandbox: ServedSandbox, tmp_path: Path
) -> None:
    with running_gateway(tmp_path / "log", **settings) as gateway:
        tenant = Tenant.create(gateway.client, gateway.client(ADMIN_TOKEN), sandbox)
        path = f"/rentals/{tenant.rent()['id']}"
        for n in range(50):
            assert tenant.http.get(path, headers={"X-Request-ID": f"poll {n}"}).status_code == 200
        text = gateway.metrics()
        route = 'route="/rentals/{rental_id}"'
        counted = [line for line in text.splitlines() if route in line and "_bucket" not in line]
        assert any(
            line.startswith("rentgate_http_requests_total") and line.endswith(" 50.0") for line in counted
        )
        assert any("request_seconds_count" in line and line.endswith(" 50.0") for line in counted)
        assert 'rentgate_reads_total{resource="rental",source="store"} 50.0' in text
        time.sleep(0.2)
        logged = [line for line in gateway.log_lines() if str(line.get("request_id")).startswith("poll ")]
        assert [line["request_id"] for line in logged] == [f"poll {n}" for n in range(50)]
        assert {line["tenant_id"] for line in logged} == {tenant.id}
        assert len({(line["route"], line["actor"], line["status"]) for line in logged}) == 1
        assert len({tuple(sorted(line)) for line in logged}) == 1
        tenant.close()
