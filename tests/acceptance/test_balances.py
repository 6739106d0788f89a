"""The balance of an account as its tenant sees it: read after a paid call, and held against a mark.

If it can't be read, all is as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.conftest import ADMIN_TOKEN, Gateway, running_gateway, settings_for
from tests.acceptance.tenant import Answer, Tenant, eventually, ok, problem
from tests.balance_server import BalanceServer, Reply
from tests.conftest import MakeDatabase
from tests.ports import free_port
from tests.receiver import receiving
from tests.served import ServedSandbox

HURRIED = {"RENTGATE_BALANCE_RATE": "0", "RENTGATE_WEBHOOK_ALLOW_PRIVATE": "true"}


@pytest.fixture(scope="module")
def server() -> Iterator[BalanceServer]:
    with BalanceServer() as serving:
        yield serving


@pytest.fixture(scope="module")
def balance_gateway(
    make_database: MakeDatabase,
    served_sandbox: ServedSandbox,
    server: BalanceServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    """A gateway that reads balances as often as it may, and writes down all that it does."""
    settings = {**settings_for(make_database().app, served_sandbox), **HURRIED}
    log = tmp_path_factory.mktemp("balances") / "log.jsonl"
    more = {"RENTGATE_BALANCE_URL": server.url, "RENTGATE_LOG_LEVEL": "DEBUG"}
    with running_gateway(log, **settings, **more) as running:
        yield running
    text = log.read_text()
    assert server.asked
    assert not [asked for asked in server.asked if asked.headers.get("apikey", "-") in text]


@pytest.fixture
def tenant(balance_gateway: Gateway, sandbox: ServedSandbox, server: BalanceServer) -> Iterator[Tenant]:
    """A tenant whose account has 500 US dollars at the provider, at both of its hosts."""
    with balance_gateway.client(ADMIN_TOKEN) as admin:
        api_key = sandbox.new_key()
        server.replies[api_key] = Reply.balance("500")
        made = Tenant.create(balance_gateway.client, admin, sandbox, upstream_key=api_key)
        yield made
        made.close()


def path(tenant: Tenant) -> str:
    return f"/tenants/{tenant.id}/upstream-keys/{tenant.upstream_key_id}"


def key_of(tenant: Tenant) -> Answer:
    return ok(tenant.http.get(path(tenant)))


def until_balance(tenant: Tenant, amount: str) -> Answer:
    found: Answer = eventually(
        lambda: key_of(tenant), lambda key: key["balance"] is not None and key["balance"]["amount"] == amount
    )
    return found


def low_events(tenant: Tenant) -> list[dict[str, Any]]:
    return list(ok(tenant.http.get("/events", params={"types": "upstream_key.balance_low"}))["items"])


def test_a_paid_call_is_followed_by_a_reading(tenant: Tenant, server: BalanceServer) -> None:
    first = until_balance(tenant, "500.00")["balance"]
    assert set(first) == {"amount", "currency", "read_at"}
    assert first["currency"] == "USD"
    server.replies[tenant.upstream_key] = Reply.balance(Decimal("495.1").__float__())
    tenant.rent()
    second = until_balance(tenant, "495.10")["balance"]
    assert second["read_at"] > first["read_at"]
    (listed,) = ok(tenant.http.get(f"/tenants/{tenant.id}/upstream-keys"))["items"]
    assert listed["balance"]["amount"] == "495.10"
    assert all(asked.path == "/activation/balance" for asked in server.asked)


def test_the_tenant_is_told_once_when_it_falls_below_its_mark(
    tenant: Tenant, server: BalanceServer, balance_gateway: Gateway
) -> None:
    until_balance(tenant, "500.00")
    with receiving() as receiver:
        hook = {"url": receiver.url, "events": ["upstream_key.balance_low"]}
        ok(tenant.http.post("/webhooks", json=hook), 201)
        changed = ok(tenant.http.patch(path(tenant), json={"low_balance_below": "100.5"}))
        assert changed["low_balance_below"] == {"amount": "100.50", "currency": "USD"}
        assert low_events(tenant) == []
        server.replies[tenant.upstream_key] = Reply.balance("99.12345")
        rental = tenant.rent()
        until_balance(tenant, "99.1235")
        (event,) = eventually(lambda: low_events(tenant), bool)
        tenant.http.post(f"/rentals/{rental['id']}/services", json={"service": "opt20"})
        ok(tenant.http.patch(path(tenant), json={"low_balance_below": "200"}))
        assert event["actor"] == "worker"
        assert event["rental_id"] is None
        assert event["data"] == {
            "upstream_key_id": tenant.upstream_key_id,
            "balance": {**event["data"]["balance"], "amount": "99.1235", "currency": "USD"},
            "low_balance_below": {"amount": "100.50", "currency": "USD"},
        }
        assert len(low_events(tenant)) == 1
        eventually(lambda: list(receiver.received), lambda received: len(received) == 1)
    with balance_gateway.client() as anybody:

        def shown() -> str:
            return anybody.get("/metrics").text

        text = eventually(shown, lambda text: "rentgate_accounts_below_balance_mark 1.0" in text)
    assert "99.12" not in text
    assert tenant.upstream_key_id not in text
    assert 'rentgate_upstream_calls_total{method="balance",outcome="succeeded"}' in text
    assert "rentgate_oldest_balance_reading_seconds " in text
    ok(tenant.http.patch(path(tenant), json={"label": "renamed"}))
    assert key_of(tenant)["low_balance_below"]["amount"] == "200.00"
    cleared = ok(tenant.http.patch(path(tenant), json={"low_balance_below": None}))
    assert (cleared["low_balance_below"], cleared["label"]) == (None, "renamed")
    trail = ok(tenant.http.get("/audit-logs", params={"action": "upstream_key.update"}))["items"]
    assert trail[0]["details"] == {"low_balance_below": None}


def test_a_mark_comes_with_the_key_and_by_external_id(
    tenant: Tenant, sandbox: ServedSandbox, server: BalanceServer
) -> None:
    keys = f"/tenants/{tenant.id}/upstream-keys"
    body = {"label": "second", "api_key": sandbox.new_account(), "low_balance_below": "20"}
    server.replies[body["api_key"]] = Reply.balance(5)
    made = ok(tenant.http.post(keys, json=body), 201)
    assert (made["low_balance_below"]["amount"], made["balance"]) == ("20.00", None)
    (event,) = eventually(lambda: low_events(tenant), bool)
    assert event["data"]["upstream_key_id"] == made["id"]
    at = f"{keys}-by-external-id/ours"
    upsert = {"label": "third", "api_key": sandbox.new_account()}
    assert ok(tenant.http.put(at, json=upsert), 201)["low_balance_below"] is None
    raised = ok(tenant.http.put(at, json={**upsert, "low_balance_below": "7.5"}))
    assert raised["low_balance_below"] == {"amount": "7.50", "currency": "USD"}
    assert ok(tenant.http.put(at, json=upsert))["low_balance_below"]["amount"] == "7.50"
    assert ok(tenant.http.put(at, json={**upsert, "low_balance_below": None}))["low_balance_below"] is None
    for wrong in ("", "-1", "1e3", "1.23456", "12345678901", 5, {"amount": "5"}):
        problem(tenant.http.patch(path(tenant), json={"low_balance_below": wrong}), 422, "invalid_request")
    reader = ok(
        tenant.admin.post(
            f"/tenants/{tenant.id}/api-keys", json={"name": "r", "scopes": ["rentals:read", "rentals:write"]}
        ),
        201,
    )
    headers = {"Authorization": f"Bearer {reader['token']}"}
    problem(httpx.get(f"{tenant.http.base_url}{path(tenant)}", headers=headers), 403, "insufficient_scope")


@pytest.mark.parametrize("how", ["closed", "refused", "hangs"])
def test_a_balance_that_can_not_be_read_changes_nothing(
    settings: dict[str, str], tmp_path: Path, sandbox: ServedSandbox, server: BalanceServer, how: str
) -> None:
    url = f"http://127.0.0.1:{free_port()}/balance" if how == "closed" else server.url
    with running_gateway(tmp_path / "log", **settings, **HURRIED, RENTGATE_BALANCE_URL=url) as gateway:
        with gateway.client(ADMIN_TOKEN) as admin:
            api_key = sandbox.new_key()
            if how == "hangs":
                server.replies[api_key] = Reply(b"", after=60)
            tenant = Tenant.create(gateway.client, admin, sandbox, upstream_key=api_key)
            ok(tenant.http.patch(path(tenant), json={"low_balance_below": "1000"}))
            rental = tenant.rent()
            tenant.arrive("code 7")
            eventually(lambda: tenant.messages(rental["id"])["items"], bool)
            if how != "closed":
                eventually(lambda: server.asked_for(api_key), bool)
            found = key_of(tenant)
            assert (found["status"], found["balance"]) == ("active", None)
            assert low_events(tenant) == []
            ok(gateway.client().get("/readyz"))
            tenant.close()
