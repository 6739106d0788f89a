"""Measures looks: what they cost, how late they are, and how soon a message is at its webhook.

Everything shares this machine: two workers, a gateway, Postgres, the sandbox upstream, and what asks.
Lateness and calls are what the workers count themselves, moments what the sandbox and the receiver see.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
from sqlalchemy.engine import make_url

from app import migrate
from app.audit.caller import background
from app.database import PLATFORM, Access
from app.database.embedded import EmbeddedPostgres
from app.idempotency.repository import NO_TENANT
from app.sandbox import SandboxOptions
from app.sandbox.world import Arrived, Order
from app.settings import Settings
from app.tenants import service as tenants
from app.wiring import services
from tests.acceptance.conftest import ADMIN_TOKEN, fresh_gateway, settings_for
from tests.acceptance.tenant import Tenant, eventually, ok
from tests.conftest import PROJECT
from tests.receiver import receiving
from tests.served import ServedSandbox

INTERVAL = 5.0
PORTS = (9391, 9392)
UNLIMITED = {"RENTGATE_UPSTREAM_RATE": "0", "RENTGATE_UPSTREAM_GLOBAL_RATE": "0"}
SETTINGS = {
    "RENTGATE_SYNC_INTERVAL": str(INTERVAL),
    "RENTGATE_SYNC_IDLE_INTERVAL": str(INTERVAL),
    "RENTGATE_UPSTREAM_TIMEOUT": "20",
    "RENTGATE_WEBHOOK_ALLOW_PRIVATE": "true",
    "RENTGATE_LOG_LEVEL": "ERROR",
}


@dataclass(slots=True)
class House:
    """A database and a sandbox of a measurement's own, and what a process needs to work on them."""

    sandbox: ServedSandbox
    app_url: str
    superuser_url: str
    folder: Path
    settings: dict[str, str]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start_workers(self, count: int = len(PORTS)) -> None:
        """Start workers, which give their metrics on PORTS."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RENTGATE_")}
        for port in PORTS[:count]:
            command = [sys.executable, "-m", "app.cli", "worker", "--metrics-port", str(port)]
            self.workers.append(subprocess.Popen(command, env={**inherited, **self.settings}, cwd=PROJECT))

    def gateway(self) -> Any:
        """A gateway without a worker."""
        return fresh_gateway(self.folder / "log", "--no-worker", **self.settings)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Rows, as the superuser sees them."""
        with psycopg.connect(self.superuser_url) as connection:
            return connection.execute(statement).fetchall()


@contextmanager
def house(**settings: str) -> Iterator[House]:
    """A house of a measurement's own."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-push-")))
        folder.chmod(0o755)
        server = EmbeddedPostgres(folder / "data")
        superuser = server.start()
        stack.callback(server.stop)
        app_url, owner_url = migrate.prepare_embedded(superuser)
        migrate.upgrade(owner_url)
        inside = make_url(superuser).set(database=make_url(app_url).database)
        options = SandboxOptions(activation_seconds=0.1, sms_seconds=0, stock=10**6)
        sandbox = stack.enter_context(ServedSandbox(options))
        made = House(
            sandbox,
            app_url,
            inside.render_as_string(hide_password=False),
            folder,
            {**settings_for(app_url, sandbox), **SETTINGS, **settings},
        )
        try:
            yield made
        finally:
            for worker in made.workers:
                worker.terminate()
            for worker in made.workers:
                worker.wait(90)


def rentals_of_one_account(count: int, seconds: float, **settings: str) -> dict[str, float]:
    """Upstream calls an interval by method, with so many active rentals and callers that poll them."""
    with house(**settings) as it, it.gateway() as gateway:
        tenant = Tenant.create(gateway.client, gateway.client(ADMIN_TOKEN), it.sandbox)
        tenant.account.balance = Decimal(10**9)
        _rent_at_the_upstream(it, tenant.upstream_key, count)
        it.start_workers(1)
        living = "select count(*) from rentals where number_state = 'active'"
        eventually(lambda: it.query(living)[0][0], lambda found: found == count, seconds=240)
        if settings["RENTGATE_UPSTREAM_RATE"] == "0":
            eventually(lambda: _methods(it)["sms"], lambda found: found >= count, seconds=240)
        ids = [rental["id"] for rental in ok(tenant.http.get("/rentals?limit=200"))["items"]]
        quiet = _calls_of(it, seconds)
        started, polls = time.monotonic(), 0
        before = Counter(_methods(it))
        while time.monotonic() - started < seconds:
            ok(tenant.http.get(f"/rentals/{random.choice(ids)}/sms"))
            polls += 1
        polled = Counter(_methods(it))
        polled.subtract(before)
        return {
            "orders": quiet["orders"] * INTERVAL / seconds,
            "sms": quiet["sms"] * INTERVAL / seconds,
            "orders, polled": polled["orders"] * INTERVAL / seconds,
            "sms, polled": polled["sms"] * INTERVAL / seconds,
            "polls": polls * INTERVAL / seconds,
        }


def message_to_webhook(accounts: int, messages: int) -> tuple[float, float, int]:
    """Seconds from a message at the upstream to the first byte at its webhook: median, 99 %, and how many."""
    with house(**UNLIMITED) as it, it.gateway() as gateway, receiving() as receiver:
        admin = gateway.client(ADMIN_TOKEN)
        all_of_them = [Tenant.create(gateway.client, admin, it.sandbox) for _ in range(accounts)]
        numbers = []
        it.start_workers()
        for tenant in all_of_them:
            ok(tenant.http.post("/webhooks", json={"url": receiver.url, "events": ["sms.received"]}), 201)
            rental = tenant.rent(activate=True)
            tenant.until(rental["id"], number_state="active")
            numbers.append(tenant.orders[0].number)
        shown: dict[str, float] = {}
        for n in range(messages):
            time.sleep(random.expovariate(4.0))
            text = f"message {n}"
            shown[text] = time.monotonic()
            random.choice(numbers).messages.append(Arrived("opt1", "Google", text, time.time()))
        eventually(lambda: len(receiver.received), lambda came: came >= messages, seconds=60)
        seconds = sorted(one.at - shown[one.event["data"]["text"]] for one in receiver.received)
        return statistics.median(seconds), seconds[int(len(seconds) * 0.99)], len(seconds)


@dataclass(frozen=True, slots=True)
class Lateness:
    """How looks went: how many a second, and the parts that began within 0.1, 0.5 and 1 s of their time."""

    accounts: int
    looks: float
    within: tuple[float, float, float]
    worker_cpu: float
    sandbox_cpu: float
    postgres_cpu: float

    @property
    def carried(self) -> bool:
        """Whether 99 % began within a second."""
        return self.within[2] >= 0.99


def many_accounts(count: int, seconds: float, *, kill: bool) -> tuple[Lateness, float | None, dict[str, int]]:
    """Looks at so many accounts over two workers; the seconds until a killed one's go on; tables' growth."""
    with house(**UNLIMITED) as it:
        asyncio.run(_move_in(it, count))
        it.start_workers()
        held = "select count(*) from account_looks where looked_at is not null and holder is not null"
        eventually(lambda: it.query(held)[0][0], lambda found: found == count, seconds=900)
        eventually(lambda: _events_meanwhile(it), lambda news: news == 0, seconds=900)
        size = _sizes(it)
        lateness = _lateness(it, count, seconds)
        grown = {name: bytes_now - size[name] for name, bytes_now in _sizes(it).items()}
        return lateness, _takeover(it, count) if kill else None, grown


def _rent_at_the_upstream(it: House, api_key: str, count: int) -> None:
    """Numbers that are bought and activated at the upstream itself; the gateway imports them."""
    with httpx.Client() as http:
        create = {"method": "create", "apikey": api_key, "country": "RU", "service": "opt1"}
        for _ in range(count):
            http.get(it.sandbox.url, params={**create, "dtype": "week", "dcount": 1}).raise_for_status()
    for order in it.sandbox.sandbox.world.living.values():
        _activate(order)


def _activate(order: Order) -> None:
    order.number.active_from, order.number.active_until = time.time(), time.time() + 10**6


async def _move_in(it: House, count: int) -> None:
    """As many tenants with an account that has one active number."""
    given = {name.removeprefix("RENTGATE_").lower(): value for name, value in it.settings.items()}
    async with services(Settings(_env_file=None, **given), it.app_url) as built, httpx.AsyncClient() as http:  # type: ignore[arg-type]

        async def one(n: int) -> None:
            api_key = f"key-of-account-{n:04d}"  # by whose end the sandbox tells them apart
            it.sandbox.add_account(api_key, Decimal(500))
            async with built.database.transaction(PLATFORM) as connection:
                tenant = await tenants.create_tenant(connection, background(NO_TENANT), name=f"tenant {n}")
            accounts, caller = built.upstream_accounts, background(tenant.id)
            secret = await accounts.secret(tenant.id, api_key)
            async with built.database.transaction(Access.tenant(tenant.id)) as connection:
                await accounts.add(connection, caller, secret, {"label": "a"})
            create = {"method": "create", "apikey": api_key, "country": "RU", "service": "opt1"}
            await http.get(it.sandbox.url, params={**create, "dtype": "week", "dcount": 1})

        for first in range(0, count, 10):
            await asyncio.gather(*(one(n) for n in range(first, min(count, first + 10))))
    for order in it.sandbox.sandbox.world.living.values():
        _activate(order)


def _events_meanwhile(it: House) -> int:
    """How many events there are after a while that weren't there before: what moving in has left to do."""
    before = it.query("select count(*) from events")[0][0]
    time.sleep(3 * INTERVAL)
    return int(it.query("select count(*) from events")[0][0] - before)


def _lateness(it: House, count: int, seconds: float) -> Lateness:
    before, cpu, own, postgres = _buckets(), _cpu(it.workers), time.process_time(), _postgres_cpu(it)
    time.sleep(seconds)
    after = _buckets()
    looks = after["+Inf"] - before["+Inf"]
    return Lateness(
        count,
        looks / seconds,
        tuple((after[le] - before[le]) / looks for le in ("0.1", "0.5", "1.0")),  # type: ignore[arg-type]
        (_cpu(it.workers) - cpu) / seconds / len(it.workers),
        (time.process_time() - own) / seconds,
        (_postgres_cpu(it) - postgres) / seconds,
    )


def _takeover(it: House, count: int) -> float:
    """Kill a worker; the seconds until the last of all accounts was looked at again."""
    it.workers[0].send_signal(signal.SIGKILL)
    killed_at = time.time()
    firsts: dict[str, float] = {}

    def seen() -> int:
        for call in list(it.sandbox.sandbox.calls):
            if call["method"] == "orders" and call["at"] > killed_at:
                firsts.setdefault(call["account"], call["at"])
        return len(firsts)

    eventually(seen, lambda found: found == count, seconds=60)
    return max(firsts.values()) - killed_at


def _buckets() -> Counter[str]:
    """Looks so far, by the seconds within which they began."""
    found: Counter[str] = Counter()
    for port in PORTS:
        text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        for le, count in re.findall(r'rentgate_look_lag_seconds_bucket\{le="([^"]+)"\} (\S+)', text):
            found[le] += float(count)  # type: ignore[assignment]
    return found


def _calls_of(it: House, seconds: float) -> Counter[str]:
    before = Counter(_methods(it))
    time.sleep(seconds)
    made = Counter(_methods(it))
    made.subtract(before)
    return made


def _methods(it: House) -> Counter[str]:
    """The workers' upstream calls so far, by method."""
    text = httpx.get(f"http://127.0.0.1:{PORTS[0]}/metrics").text
    found: Counter[str] = Counter()
    for method, count in re.findall(r'rentgate_upstream_calls_total\{method="(\w+)",[^}]*\} (\S+)', text):
        found[method] += int(float(count))
    return found


def _cpu(processes: list[subprocess.Popen[bytes]]) -> float:
    """Seconds that processes have computed, together."""
    return sum(sum(psutil.Process(process.pid).cpu_times()[:2]) for process in processes)


def _postgres_cpu(it: House) -> float:
    """Seconds that the database server's processes have computed which live now."""
    pid = int((it.folder / "data" / "postgres" / "data" / "postmaster.pid").read_text().split("\n", 1)[0])
    return sum(sum(child.cpu_times()[:2]) for child in psutil.Process(pid).children())


def _sizes(it: House) -> dict[str, int]:
    """The rows of each table."""
    names = [row[0] for row in it.query("select tablename from pg_tables where schemaname = 'public'")]
    return {name: it.query(f"select count(*) from {name}")[0][0] for name in names}
