"""`make bench`: one caller at a time against a running gateway; prints a table for docs/bench.md.

Figures are given beside `/healthz` of the same run, since machines are noisy. What renting adds is the time
of `POST /rentals` less the time that its own upstream calls took, as the gateway's metrics have them.
"""

from __future__ import annotations

import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import httpx

from app import migrate
from app.postgres import EmbeddedPostgres
from app.sandbox import SandboxOptions
from tests.acceptance.conftest import ADMIN_TOKEN, Gateway, running_gateway, settings_for
from tests.acceptance.tenant import Tenant, eventually
from tests.served import ServedSandbox

REQUESTS, WARM_UP = 300, 30

SETTINGS = {
    "RENTGATE_UPSTREAM_TIMEOUT": "20",
    "RENTGATE_SYNC_INTERVAL": "30",
    "RENTGATE_SYNC_IDLE_INTERVAL": "30",
    "RENTGATE_COUNTRIES_TTL": "3600",
    "RENTGATE_LOG_LEVEL": "WARNING",
}


def measured(ask: Callable[[], httpx.Response]) -> list[float]:
    """The milliseconds of each request, sorted, after some to warm up."""
    seconds = []
    for _ in range(WARM_UP + REQUESTS):
        started = time.perf_counter()
        answer = ask()
        seconds.append(time.perf_counter() - started)
        assert answer.status_code < 300, answer.text
    return sorted(1000 * second for second in seconds[WARM_UP:])


def upstream_milliseconds(gateway: Gateway) -> float:
    """All the milliseconds that purchases waited for the upstream so far."""
    text = httpx.get(f"{gateway.url}/metrics").text
    found = re.findall(r'upstream_call_seconds_sum\{method="(?:create|getdata)"\} (\S+)', text)
    return 1000 * sum(float(value) for value in found)


def main() -> None:
    """Measure, and print a Markdown table."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        Path(folder).chmod(0o755)
        server = EmbeddedPostgres(Path(folder) / "data")
        app_url, owner_url = migrate.prepare_embedded(server.start())
        migrate.upgrade(owner_url)
        with ServedSandbox(SandboxOptions(sms_seconds=0, stock=10**6)) as sandbox:
            settings = {**settings_for(app_url, sandbox), **SETTINGS}
            with running_gateway(Path(folder) / "log", **settings) as gateway:
                with gateway.client(ADMIN_TOKEN) as admin:
                    _measure(gateway, Tenant.create(gateway.client, admin, sandbox))
        server.stop()


def _measure(gateway: Gateway, tenant: Tenant) -> None:
    tenant.account.balance = Decimal(10**9)
    rental = tenant.rent()
    for n in range(20):
        tenant.arrive(f"code {n}")
    eventually(
        lambda: tenant.messages(rental["id"], refresh="true")["items"],
        lambda items: len(items) == 20,
        seconds=60,
    )
    rows = {
        "GET /healthz": measured(lambda: tenant.http.get("/healthz")),
        "GET /rentals/{id}": measured(lambda: tenant.http.get(f"/rentals/{rental['id']}")),
        "GET /rentals/{id}/sms (20 messages)": measured(
            lambda: tenant.http.get(f"/rentals/{rental['id']}/sms")
        ),
    }
    before = upstream_milliseconds(gateway)
    rows["POST /rentals"] = measured(tenant.buy)
    own = (upstream_milliseconds(gateway) - before) / (WARM_UP + REQUESTS)
    bare = statistics.median(rows["GET /healthz"])
    out = sys.stdout.write
    out(f"{os.cpu_count()} cores, {REQUESTS} requests each, one caller at a time\n\n")
    out("| route | median ms | 99 % ms | median, as a multiple of /healthz |\n|---|---|---|---|\n")
    for name, times in rows.items():
        middle, slow = statistics.median(times), times[int(len(times) * 0.99)]
        out(f"| `{name}` | {middle:.1f} | {slow:.1f} | {middle / bare:.1f} |\n")
    bought = rows["POST /rentals"]
    added, slow = statistics.median(bought) - own, bought[int(len(bought) * 0.99)] - own
    out(f"\nOf `POST /rentals`, its upstream calls took {own:.1f} ms on average; what the gateway added is")
    out(f" {added:.1f} ms at the median and {slow:.1f} ms at the 99th percentile.\n")


main()
