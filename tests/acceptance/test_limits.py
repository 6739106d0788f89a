"""Limits towards the upstream: our own pace, and the breaker that opens when nothing answers any more."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.conftest import ADMIN_TOKEN, running_gateway
from tests.acceptance.tenant import Tenant, ok, problem
from tests.served import ServedSandbox


def test_a_pace_without_room_is_told_at_once(
    settings: dict[str, str], tmp_path: Path, sandbox: ServedSandbox
) -> None:
    settings |= {
        "RENTGATE_UPSTREAM_RATE": "0.02",
        "RENTGATE_UPSTREAM_BURST": "3",
        "RENTGATE_SYNC_INTERVAL": "100",
        "RENTGATE_SYNC_IDLE_INTERVAL": "100",
    }
    with running_gateway(tmp_path / "log", "--no-worker", **settings) as gateway:
        with gateway.client(ADMIN_TOKEN) as admin:
            tenant = Tenant.create(gateway.client, admin, sandbox)
            rental = tenant.rent()
            tenant.rent()
            body = problem(tenant.buy(key="patient"), 503, "upstream_busy")
            assert body["retry_after"] >= 10
            quote = tenant.http.get(f"/rentals/{rental['id']}/restore-quote")
            body = problem(quote, 503, "upstream_busy")
            assert body["retry_after"] >= 1
            assert tenant.charged == ["create", "create"]
            assert ok(tenant.http.get("/rentals"))["items"][0]["status"] == "active"
            tenant.close()


def test_when_nothing_answers_the_breaker_answers_at_once(
    settings: dict[str, str], tmp_path: Path, sandbox: ServedSandbox
) -> None:
    with running_gateway(tmp_path / "log", "--no-worker", **settings) as gateway:
        with gateway.client(ADMIN_TOKEN) as admin:
            tenant = Tenant.create(gateway.client, admin, sandbox)
            tenant.rent()
            path = "/countries/RU/services?count=9"
            tenant.fault_keyless("*", "status_500", times=1000)
            for _ in range(20):
                problem(tenant.http.get(path), 503, "upstream_unavailable")
            before = calls_for(tenant)
            body = problem(tenant.http.get(path), 503, "upstream_unavailable")
            assert 1 <= body["retry_after"] <= 10
            problem(tenant.buy(), 503, "upstream_unavailable")
            assert calls_for(tenant) == before
            assert tenant.operations()[0]["state"] == "failed"
            tenant.close()


def calls_for(tenant: Tenant) -> int:
    """How many calls the upstream had for a tenant: with its account's key, and without any."""
    accounts = (tenant.upstream_key[-4:], None)
    return len([call for call in tenant.sandbox.sandbox.calls if call["account"] in accounts])
