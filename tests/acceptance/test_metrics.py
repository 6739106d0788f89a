"""What `/metrics` tells of looks, reads, the pace and webhooks, as they happen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance.commands import environment
from tests.acceptance.conftest import ADMIN_TOKEN, Gateway, running_gateway, settings_for
from tests.acceptance.tenant import Tenant, eventually, ok
from tests.conftest import MakeDatabase
from tests.ports import free_port
from tests.processes import Forked, done
from tests.receiver import receiving
from tests.served import ServedSandbox

SETTINGS = {
    "RENTGATE_WEBHOOK_ALLOW_PRIVATE": "true",
    "RENTGATE_SYNC_INTERVAL": "5",
    "RENTGATE_SYNC_IDLE_INTERVAL": "5",
    "RENTGATE_UPSTREAM_RATE": "0.01",
    "RENTGATE_UPSTREAM_BURST": "20",
}


@pytest.fixture(scope="module")
def slow_gateway(
    make_database: MakeDatabase, served_sandbox: ServedSandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway that looks seldom, and has few calls to make."""
    settings = {**settings_for(make_database().app, served_sandbox), **SETTINGS}
    with running_gateway(tmp_path_factory.mktemp("metrics") / "log", **settings) as gateway:
        yield gateway


@pytest.fixture
def owner(slow_gateway: Gateway, sandbox: ServedSandbox) -> Iterator[Tenant]:
    with slow_gateway.client(ADMIN_TOKEN) as admin:
        made = Tenant.create(slow_gateway.client, admin, sandbox)
        yield made
        made.close()


def value(gateway: Gateway, name: str, **labels: str) -> float:
    """A sample's value; 0 if there is none yet."""
    text = gateway.metrics()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return sum(sample.value for sample in samples if sample.name == name and sample.labels == labels)


def test_what_a_worker_measures_is_shown_by_workers_alone(settings: dict[str, str], tmp_path: Path) -> None:
    port = free_port()
    command = ("worker", "--metrics-port", str(port))
    worker = Forked(command, environment(**settings), tmp_path / "worker")

    def given() -> str:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/metrics").text
        except httpx.TransportError:
            return ""

    measured = (
        "rentgate_oldest_look_age_seconds",
        "rentgate_operations_open",
        "rentgate_webhook_deliveries_due",
    )
    try:
        text = eventually(given, lambda text: measured[0] in text, seconds=60)
        assert all(name in text for name in measured)
        with running_gateway(tmp_path / "log", "--no-worker", **settings) as gateway:
            shown = gateway.metrics()
            assert "rentgate_http_requests" in shown
            assert not any(name in shown for name in measured)
        taken = done(command, environment(**settings), tmp_path)
        assert (taken.returncode, f"127.0.0.1:{port} can't be listened on" in taken.stderr) == (1, True)
    finally:
        worker.terminate()
        assert worker.wait(60) == 0


def reads(gateway: Gateway) -> dict[str, float]:
    wanted = {"rental": "store", "rentals": "store", "sms": "store", "refreshed": "upstream"}
    return {
        name: value(gateway, "rentgate_reads_total", resource=name.replace("refreshed", "sms"), source=source)
        for name, source in wanted.items()
    }


def test_reads_are_counted_by_whether_they_asked_the_upstream(owner: Tenant, slow_gateway: Gateway) -> None:
    rental = owner.rent()
    path = f"/rentals/{rental['id']}"
    before = reads(slow_gateway)
    etag = owner.http.get(path).headers["etag"]
    assert owner.http.get(path, headers={"If-None-Match": etag}).status_code == 304
    ok(owner.http.get("/rentals"))
    ok(owner.http.get(f"{path}/sms"))
    assert owner.http.get("/rentals/01890a5d-ac96-774b-bcce-b302099a8057").status_code == 404
    after = reads(slow_gateway)
    assert {name: after[name] - before[name] for name in after} == {
        "rental": 2,
        "rentals": 1,
        "sms": 1,
        "refreshed": 0,
    }
    looks = value(slow_gateway, "rentgate_upstream_calls_total", method="orders", outcome="succeeded")
    for _ in range(20):  # within one interval: one of them looks at most, or none if the worker just did
        ok(owner.http.get(f"{path}/sms?refresh=true"))
    last = reads(slow_gateway)
    looked = last["refreshed"] - after["refreshed"]
    assert looked + last["sms"] - after["sms"] == 20
    made = value(slow_gateway, "rentgate_upstream_calls_total", method="orders", outcome="succeeded") - looks
    assert looked <= made < 20


def test_a_look_tells_how_late_it_was(owner: Tenant, slow_gateway: Gateway) -> None:
    count = value(slow_gateway, "rentgate_look_lag_seconds_count")
    late = value(slow_gateway, "rentgate_look_lag_seconds_sum")
    looks = 2
    eventually(
        lambda: value(slow_gateway, "rentgate_look_lag_seconds_count"), lambda now: now >= count + looks
    )
    assert 0 < value(slow_gateway, "rentgate_look_lag_seconds_sum") - late < 60


def test_calls_that_get_no_turn_are_counted(owner: Tenant, slow_gateway: Gateway) -> None:
    rental = owner.rent()
    waited = value(slow_gateway, "rentgate_pace_wait_seconds_count", who="caller")
    assert waited > 0
    statuses = [owner.http.post(f"/rentals/{rental['id']}/activate").status_code]
    for _ in range(30):
        statuses.append(owner.http.get(f"/rentals/{rental['id']}/restore-quote").status_code)
    assert value(slow_gateway, "rentgate_pace_refused_total", who="caller") >= statuses.count(503) > 0


def test_an_event_tells_when_an_endpoint_had_it(owner: Tenant, slow_gateway: Gateway) -> None:
    before = value(slow_gateway, "rentgate_webhook_delay_seconds_count")
    with receiving() as receiver:
        hook = ok(owner.http.post("/webhooks", json={"url": receiver.url, "events": ["*"]}), 201)
        ok(owner.http.post(f"/webhooks/{hook['id']}/test"), 202)  # which is no event
        owner.rent()
        eventually(lambda: receiver.types, lambda types: {"webhook.test", "rental.created"} <= set(types))
        eventually(
            lambda: value(slow_gateway, "rentgate_webhook_delay_seconds_count"), lambda now: now == before + 1
        )
        ok_attempts = value(slow_gateway, "rentgate_webhook_attempts_total", outcome="delivered")
        assert ok_attempts >= 2
    assert 0 < value(slow_gateway, "rentgate_webhook_delay_seconds_sum") < 120
