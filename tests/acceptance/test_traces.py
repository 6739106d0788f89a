"""Traces: a journey's spans are connected and hold no secret; a collector that is away disturbs nobody."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.acceptance.commands import environment
from tests.acceptance.conftest import ADMIN_TOKEN, Gateway, fresh_gateway, running_gateway
from tests.acceptance.tenant import PURCHASE, Tenant, eventually, ok
from tests.collector import Collected, Collector, collecting
from tests.conftest import PROJECT
from tests.receiver import receiving
from tests.served import ServedSandbox

CALLER, CALLERS_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SMS = "the code is 314159, tell nobody"

MAY_BE_TOLD = {
    "error.type",
    "http.request.method",
    "http.response.status_code",
    "http.route",
    "rentgate.event_id",
    "rentgate.event_type",
    "rentgate.operation.kind",
    "rentgate.operation.state",
    "rentgate.operation_id",
    "rentgate.outcome",
    "rentgate.request_id",
    "rentgate.upstream.method",
    "rentgate.upstream_key_id",
    "rentgate.webhook.attempt",
    "rentgate.webhook_id",
    "server.address",
}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as made:
        yield made


def to(collector: Collector, *, soon: bool = True) -> dict[str, str]:
    """Settings by which traces are sent there, soon or only at the end."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100" if soon else "600000",
    }


def wait_for(collector: Collector, name: str, **attributes: object) -> Collected:
    """The first span of this name with these attributes (written with _ for .)."""

    def found() -> list[Collected]:
        return [
            span
            for span in collector.named(name)
            if all(span.attributes.get(key.replace("__", ".")) == value for key, value in attributes.items())
        ]

    return eventually(found, bool)[0]  # type: ignore[no-any-return]


def test_a_journey_is_one_story_without_a_secret(
    collector: Collector, settings: dict[str, str], tmp_path: Path, sandbox: ServedSandbox
) -> None:
    given = {
        **settings,
        **to(collector),
        "RENTGATE_WEBHOOK_ALLOW_PRIVATE": "true",
        "FASTAPI_OTEL_AUTO_CONFIGURE": "true",  # by which the framework would send more than we do
    }
    with running_gateway(tmp_path / "log", **given) as gateway, gateway.client(ADMIN_TOKEN) as admin:
        with receiving() as receiver:
            tenant = Tenant.create(gateway.client, admin, sandbox)
            wanted = {"url": f"{receiver.url}/path-of-theirs?q=theirs", "events": ["*"]}
            hook = ok(tenant.http.post("/webhooks", json=wanted), 201)
            answer = tenant.http.post(
                "/rentals?query=of-ours",
                json={**PURCHASE, "activate": True},
                headers={
                    "traceparent": f"00-{CALLER}-{CALLERS_SPAN}-01",
                    "tracestate": "their=state-of-ours",
                    "baggage": "their=baggage-of-ours",
                    "X-Request-ID": "mine",
                },
            )
            rental = ok(answer, 201)
            tenant.until(rental["id"], number_state="active")
            tenant.arrive(SMS)
            eventually(
                lambda: [one.event["data"].get("text") for one in receiver.received],
                lambda texts: SMS in texts,  # after the one that the sandbox sends by itself
            )
            tenant.fault("restore_user_precalc", "refuse", message=f"nobody knows {SMS}")
            assert tenant.http.get(f"/rentals/{rental['id']}/restore-quote").status_code >= 400
            assert tenant.http.get("/nowhere/of-ours").status_code == 404

            asked = wait_for(collector, "POST /rentals")
            assert (asked.trace, asked.parent, asked.failed) == (CALLER, CALLERS_SPAN, False)
            assert asked.attributes == {
                "http.request.method": "POST",
                "http.route": "/rentals",
                "http.response.status_code": 201,
                "rentgate.request_id": "mine",
            }
            bought = wait_for(collector, "operation create")
            (operation,) = tenant.operations(kind="create")
            assert (bought.trace, bought.parent) == (CALLER, asked.id)
            assert bought.attributes == {
                "rentgate.operation_id": operation["id"],
                "rentgate.operation.kind": "create",
                "rentgate.operation.state": "succeeded",
            }
            called = wait_for(collector, "upstream create")
            assert (called.trace, called.parent) == (CALLER, bought.id)
            assert called.attributes == {
                "rentgate.upstream.method": "create",
                "rentgate.upstream_key_id": tenant.upstream_key_id,
                "rentgate.outcome": "succeeded",
            }
            activated = wait_for(collector, "operation activate")
            assert (activated.trace, activated.parent) == (CALLER, asked.id)

            look = wait_for(collector, "look", rentgate__upstream_key_id=tenant.upstream_key_id)
            assert look.parent == ""
            assert look.trace != CALLER
            eventually(
                lambda: [span.parent for span in collector.named("upstream orders")],
                lambda parents: look.id in parents,
            )

            told = wait_for(collector, "webhook", rentgate__event_type="rental.created")
            event = next(one for one in receiver.received if one.event["type"] == "rental.created")
            assert told.attributes == {
                "rentgate.webhook_id": hook["id"],
                "rentgate.event_id": event.id,
                "rentgate.event_type": "rental.created",
                "rentgate.webhook.attempt": 1,
                "http.response.status_code": 204,
                "server.address": "127.0.0.1",
            }
            assert told.links == [(CALLER, bought.id)]
            assert event.headers["traceparent"].startswith(f"00-{told.trace}-{told.id}-")
            later = wait_for(collector, "webhook", rentgate__event_type="sms.received")
            seen = eventually(
                lambda: [span for span in list(collector.spans) if [(span.trace, span.id)] == later.links],
                bool,
            )
            assert [span.name for span in seen] == ["look"]

            refused = wait_for(collector, "upstream restore_user_precalc")
            assert refused.failed
            assert wait_for(collector, "GET unmatched").attributes["http.response.status_code"] == 404
            phone = rental["phone_number"]
            tenant.close()
    assert (collector.services, collector.paths) == ({"rentgate"}, {"/v1/traces"})
    assert {name for span in collector.spans for name in span.attributes} <= MAY_BE_TOLD
    secrets = [tenant.upstream_key, tenant.token, ADMIN_TOKEN, settings["RENTGATE_VAULT_KEY"], hook["secret"]]
    for secret in (*secrets, SMS, "314159", phone, phone[1:], "of-ours", "of-theirs", "theirs"):
        assert secret.encode() not in collector.raw, secret
    assert not [line for line in gateway.log_lines() if line["level"] == "error"]


def test_an_operation_that_a_look_settles_tells_so(
    collector: Collector, settings: dict[str, str], tmp_path: Path, sandbox: ServedSandbox
) -> None:
    with running_gateway(tmp_path / "log", **settings, **to(collector)) as gateway:
        with gateway.client(ADMIN_TOKEN) as admin:
            tenant = Tenant.create(gateway.client, admin, sandbox)
            tenant.fault("create", "drop", "after")
            pending = ok(tenant.buy(), 202)
            tenant.until(pending["id"], status="active")
            left = wait_for(collector, "operation create")
            assert left.attributes["rentgate.operation.state"] == "unknown"
            assert wait_for(collector, "upstream create").failed
            settled = wait_for(collector, "operation create settled")
            told = ("rentgate.operation_id", "rentgate.operation.state")
            assert [settled.attributes[name] for name in told] == [
                left.attributes["rentgate.operation_id"],
                "succeeded",
            ]
            assert settled.parent in [span.id for span in eventually(lambda: collector.named("look"), bool)]
            tenant.close()


@pytest.mark.parametrize("arguments", [(), ("--workers", "2")])
def test_the_last_spans_are_sent_when_a_process_ends(
    arguments: tuple[str, ...], collector: Collector, settings: dict[str, str], tmp_path: Path
) -> None:
    named = {"OTEL_SERVICE_NAME": "numbers"}
    with fresh_gateway(tmp_path / "log", *arguments, **settings, **named, **to(collector, soon=False)) as it:
        httpx.get(f"{it.url}/readyz", headers={"X-Request-ID": "the last one"})
        assert not collector.spans
    found = [span.attributes["rentgate.request_id"] for span in collector.named("GET /readyz")]
    assert found == ["the last one"]
    assert collector.services == {"numbers"}


def test_a_worker_of_its_own_traces_its_looks(
    collector: Collector, settings: dict[str, str], tmp_path: Path, sandbox: ServedSandbox
) -> None:
    with running_gateway(tmp_path / "log", "--no-worker", **settings) as gateway:
        with gateway.client(ADMIN_TOKEN) as admin:
            tenant = Tenant.create(gateway.client, admin, sandbox)
            worker = subprocess.Popen(
                [sys.executable, "-m", "app.cli", "worker"],
                env=environment(**settings, **to(collector)),
                stdout=subprocess.DEVNULL,
                cwd=PROJECT,
            )
            try:
                wait_for(collector, "look", rentgate__upstream_key_id=tenant.upstream_key_id)
            finally:
                worker.terminate()
                assert worker.wait(60) == 0


def serves_well_and_ends_soon(gateway: Gateway, sandbox: ServedSandbox) -> None:
    """A gateway whose collector is away does its work, says so once, and ends in its usual time."""
    with gateway.client(ADMIN_TOKEN) as admin:
        tenant = Tenant.create(gateway.client, admin, sandbox)
        rental = tenant.rent(activate=True)
        tenant.until(rental["id"], number_state="active")
        tenant.close()
    eventually(
        lambda: [line["event"] for line in gateway.log_lines()],
        lambda events: "traces.collector_away" in events,
        seconds=60,
    )
    begun = time.monotonic()
    gateway.process.terminate()
    assert gateway.process.wait(60) == 0
    assert time.monotonic() - begun < 20
    events = [line["event"] for line in gateway.log_lines()]
    assert events.count("traces.collector_away") == 1
    assert not [line for line in gateway.log_lines() if line["level"] == "error"]
    assert not [line for line in gateway.log_lines() if line["logger"].startswith("opentelemetry")]


def test_a_collector_that_is_not_there_disturbs_nobody(
    settings: dict[str, str], tmp_path: Path, sandbox: ServedSandbox
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # taken, so that nobody else listens, but refusing
        away = Collector(url=f"http://127.0.0.1:{nobody.getsockname()[1]}")
        given = {**to(away), "OTEL_EXPORTER_OTLP_TIMEOUT": "2"}
        with running_gateway(tmp_path / "log", **settings, **given) as gateway:
            serves_well_and_ends_soon(gateway, sandbox)


def test_a_collector_that_hangs_disturbs_nobody(
    settings: dict[str, str], tmp_path: Path, sandbox: ServedSandbox
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # the connection is made, and nothing is ever said
        away = Collector(url=f"http://127.0.0.1:{silent.getsockname()[1]}")
        given = {**to(away), "OTEL_EXPORTER_OTLP_TIMEOUT": "5"}
        with running_gateway(tmp_path / "log", **settings, **given) as gateway:
            serves_well_and_ends_soon(gateway, sandbox)


def test_without_a_collector_the_sdk_is_not_even_loaded() -> None:
    code = (
        "import asyncio, sys, app.cli\n"
        "from app.telemetry import traces\n"
        "async def run():\n"
        "    async with traces.exporting():\n"
        "        with traces.span('x', {}) as one, traces.span('y', {}) as other:\n"
        "            assert one is other and not traces.headers()\n"
        "asyncio.run(run())\n"
        "traced = ('opentelemetry.sdk.trace', 'opentelemetry.exporter', 'opentelemetry.proto')\n"
        "assert not [name for name in sys.modules if name.startswith(traced)]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=PROJECT, env=environment())
