"""`make bench-requests`: a gateway beside a bare route and a pass-through; writes docs/bench.md and its plot.

Figures are ratios within one run, since machines are noisy. What renting adds is the time of `POST /rentals`
less the time that its own upstream calls took, as the gateway's metrics have them.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import httpx
import psycopg
import pygal
from sqlalchemy.engine import make_url

from app import migrate
from app.api.paging import encoded
from app.api.rentals import CURSOR
from app.database.embedded import EmbeddedPostgres
from app.sandbox import SandboxOptions
from tests.acceptance.conftest import ADMIN_TOKEN, Gateway, fresh_gateway, settings_for
from tests.acceptance.tenant import PURCHASE, Tenant, eventually
from tests.bench.load import CONNECTIONS, SECONDS, Throughput, load
from tests.conftest import PROJECT
from tests.ports import free_port
from tests.served import ServedSandbox

PURCHASES, WARM_UP = 300, 30
MANY_RENTALS, PAGE, DEEP = 100_000, 50, 1000

BARE, HEALTH, THROUGH = "bare FastAPI route", "GET /healthz", "pass-through (FastAPI, httpx)"

PAGE_FILE = PROJECT / "docs" / "bench.md"
PLOT_FILE = PROJECT / "docs" / "bench.svg"

SETTINGS = {
    "RENTGATE_UPSTREAM_TIMEOUT": "20",
    "RENTGATE_SYNC_INTERVAL": "30",
    "RENTGATE_SYNC_IDLE_INTERVAL": "30",
    "RENTGATE_COUNTRIES_TTL": "3600",
    "RENTGATE_OFFERS_TTL": "3600",
    "RENTGATE_LOG_LEVEL": "WARNING",
}


@dataclass(frozen=True, slots=True)
class Figures:
    """All that a run measured; latencies in milliseconds."""

    routes: dict[str, Throughput]
    added: tuple[float, float]
    pages: tuple[float, float]


def main() -> None:
    """Measure, and write the page and the plot."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        server = EmbeddedPostgres(folder / "data")
        superuser = server.start()
        app_url, owner_url = migrate.prepare_embedded(superuser)
        migrate.upgrade(owner_url)
        inside = make_url(superuser).set(database=make_url(app_url).database)
        with ServedSandbox(SandboxOptions(sms_seconds=0, stock=10**6)) as sandbox:
            settings = {**settings_for(app_url, sandbox), **SETTINGS}
            with fresh_gateway(folder / "log", **settings) as gateway:
                with gateway.client(ADMIN_TOKEN) as admin:
                    tenant = Tenant.create(gateway.client, admin, sandbox)
                    many = Tenant.create(gateway.client, admin, sandbox)
                _fill(inside.render_as_string(hide_password=False), many)
                with _comparison(sandbox, tenant) as beside:
                    figures = Figures(
                        _routes(gateway, tenant, many, beside), _added(gateway, tenant), _pages(many)
                    )
        server.stop()
    _write(figures)
    sys.stdout.write(PAGE_FILE.read_text())


def _routes(gateway: Gateway, tenant: Tenant, many: Tenant, beside: str) -> dict[str, Throughput]:
    tenant.account.balance = Decimal(10**9)
    rental = tenant.rent()
    for n in range(20):
        tenant.arrive(f"code {n}")
    eventually(
        lambda: tenant.messages(rental["id"], refresh="true")["items"],
        lambda items: len(items) == 20,
        seconds=60,
    )
    own, path = gateway.url, f"/rentals/{rental['id']}"
    wanted: dict[str, tuple[str, str | None]] = {
        BARE: (f"{beside}/bare", None),
        THROUGH: (f"{beside}/through", None),
        HEALTH: (f"{own}/healthz", None),
        "GET /countries": (f"{own}/countries", tenant.token),
        "GET /countries/{c}/services": (f"{own}/countries/GB/services", tenant.token),
        "GET /rentals/{id}": (own + path, tenant.token),
        "GET /rentals/{id}/sms, 20 messages": (f"{own}{path}/sms", tenant.token),
        "GET /rentals/{id}/events": (f"{own}{path}/events", tenant.token),
        "GET /rentals, 50 of 100,000": (f"{own}/rentals", many.token),
        "GET /me": (f"{own}/me", tenant.token),
    }
    return {name: load(url, token) for name, (url, token) in wanted.items()}


def _added(gateway: Gateway, tenant: Tenant) -> tuple[float, float]:
    """What the gateway adds to a purchase, one caller at a time: the median, and the 99th percentile."""
    before = _upstream_milliseconds(gateway)
    connection = http.client.HTTPConnection(gateway.url.removeprefix("http://"))
    headers = {"Authorization": f"Bearer {tenant.token}", "Content-Type": "application/json"}

    def buy() -> int:  # with a client that takes next to no time itself
        connection.request("POST", "/rentals", json.dumps(PURCHASE), headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status

    times = _timed(buy, PURCHASES)
    connection.close()
    own = (_upstream_milliseconds(gateway) - before) / (WARM_UP + PURCHASES)
    return statistics.median(times) - own, times[int(len(times) * 0.99)] - own


def _pages(many: Tenant) -> tuple[float, float]:
    """The milliseconds of the first page of a list, and of the thousandth."""
    middle = encoded(CURSOR, UUID(int=_rental_number(MANY_RENTALS - PAGE * (DEEP - 1))))
    return (
        statistics.median(_timed(lambda: many.http.get("/rentals").status_code, 100)),
        statistics.median(
            _timed(lambda: many.http.get("/rentals", params={"cursor": middle}).status_code, 100)
        ),
    )


def _timed(ask: Callable[[], int], requests: int) -> list[float]:
    """The milliseconds of each request, sorted, after some to warm up; `ask` gives the answer's status."""
    seconds = []
    for _ in range(WARM_UP + requests):
        started = time.perf_counter()
        status = ask()
        seconds.append(time.perf_counter() - started)
        assert status < 300, status
    return sorted(1000 * second for second in seconds[WARM_UP:])


def _upstream_milliseconds(gateway: Gateway) -> float:
    """All the milliseconds that purchases waited for the upstream so far."""
    text = httpx.get(f"{gateway.url}/metrics").text
    found = re.findall(r'upstream_call_seconds_sum\{method="(?:create|getdata)"\} (\S+)', text)
    return 1000 * sum(float(value) for value in found)


def _rental_number(n: int) -> int:
    """The n-th made-up rental's id: a UUIDv7 of long ago."""
    return (0x0180_0000_0000 << 80) | (0x7 << 76) | (0b10 << 62) | n


def _fill(superuser_url: str, tenant: Tenant) -> None:
    """Give a tenant very many rentals, as if bought over the years."""
    with psycopg.connect(superuser_url) as connection:
        with connection.cursor().copy(
            "copy rentals (tenant_id, id, upstream_key_id, status, phone_number, country, services, metadata)"
            " from stdin"
        ) as copy:
            for n in range(1, MANY_RENTALS + 1):
                rental_id = UUID(int=_rental_number(n))
                number = f"+7916{n:07d}"
                services = '[{"code": "opt1", "name": "Google"}]'
                copy.write_row(
                    (tenant.id, rental_id, tenant.upstream_key_id, "expired", number, "RU", services, "{}")
                )
        connection.execute("analyze rentals")


@contextmanager
def _comparison(sandbox: ServedSandbox, tenant: Tenant) -> Iterator[str]:
    """The applications that the gateway is measured beside, in a process like its own."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "tests.bench.comparison:app", "--port", str(port)]
    environment = {**os.environ, "UPSTREAM_URL": sandbox.url, "UPSTREAM_KEY": tenant.upstream_key}
    process = subprocess.Popen(
        [*command, "--log-level", "warning", "--no-access-log"], env=environment, cwd=PROJECT
    )
    url = f"http://127.0.0.1:{port}"
    try:
        eventually(lambda: _answers(f"{url}/bare"), bool)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.TransportError:
        return False


def _write(figures: Figures) -> None:
    beside = [figures.routes[name].per_second for name in (BARE, HEALTH, THROUGH)]
    rows = "".join(
        f"| {name} | {route.per_second:,.0f} |"
        + "".join(f" {route.per_second / other:.2f} |" for other in beside)
        + f" {route.median:.1f} | {route.slow:.1f} |\n"
        for name, route in figures.routes.items()
    )
    PAGE_FILE.write_text(
        f"""# Benchmark

Written by `make bench-requests` on a machine with {os.cpu_count()} cores, which the gateway with its worker,
Postgres, the sandbox upstream and the load generator share. Only figures of one run compare; take the ratios.

## Throughput

{CONNECTIONS} connections, {SECONDS} s each, one gateway process.

| route | requests/s | of the bare route | of healthz | of the pass-through | median ms | 99 % ms |
|---|---|---|---|---|---|---|
{rows}
![Requests per second](bench.svg)

The pass-through asks the upstream for every request, which real upstreams allow every 4 seconds; the gateway
answers from its own store.

## Renting

`POST /rentals`, one caller at a time, {PURCHASES} purchases. What the gateway adds to the time of its
upstream calls: **{figures.added[0]:.1f} ms** at the median, **{figures.added[1]:.1f} ms** at the 99th
percentile.

## Deep lists

A tenant with {MANY_RENTALS:,} rentals, pages of {PAGE}: page 1 takes {figures.pages[0]:.1f} ms, page {DEEP:,}
takes {figures.pages[1]:.1f} ms.
"""
    )
    chart = pygal.HorizontalBar(
        show_legend=False, title=f"Requests per second, {CONNECTIONS} connections", height=420, js=()
    )
    chart.x_labels = list(figures.routes)
    chart.add("requests/s", [round(route.per_second) for route in figures.routes.values()])
    chart.render_to_file(str(PLOT_FILE))


main()
