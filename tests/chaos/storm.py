"""The storm: callers rent and restore while calls fail, gateways are killed and Postgres crashes.

Everything is chosen by a seed. What the operating system makes of it differs from run to run, but a seed that
found something has a good chance to find it again.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy.engine import make_url

from app import migrate
from app.database.embedded import EmbeddedPostgres
from app.sandbox import SandboxOptions
from app.sandbox.faults import Fault, FaultKind
from app.sandbox.world import World
from tests.acceptance.conftest import ADMIN_TOKEN, Gateway, running_gateway, settings_for
from tests.acceptance.tenant import Tenant, eventually
from tests.served import ServedSandbox

RECONCILE_SECONDS = 4.0
TENANTS, CALLERS_EACH, GATEWAYS = 8, 2, 2
LIMITED, LIMIT = 0, Decimal(150)
"""One tenant has a spend limit; nothing may ever pass it."""

MOST_FAULTS_WAITING = 2 * TENANTS

METHODS = (
    *["create", "create_multi"] * 4,
    *("restore_user", "prolong", "prolong_max", "add_service_to_order", "delete", "activate", "orders"),
)
"""What faults strike: most of all what is called most."""

PLAYED = [kind for kind in FaultKind if kind is not FaultKind.CHARGED_NOT_MADE]
"""The faults that are played. What was charged and made nothing can't be told from the lists alone, yet the
checker wants each charge as one rental.
"""

REFUSALS = frozenset({FaultKind.REFUSE, FaultKind.RATE_LIMIT})

SETTINGS = {
    "RENTGATE_UPSTREAM_TIMEOUT": "1",
    "RENTGATE_PURCHASE_WAIT": "3",
    "RENTGATE_RECONCILE_SECONDS": str(RECONCILE_SECONDS),
    "RENTGATE_SYNC_INTERVAL": "0.3",
    "RENTGATE_SYNC_IDLE_INTERVAL": "0.5",
    "RENTGATE_OFFERS_TTL": "5",
    "RENTGATE_COUNTRIES_TTL": "60",
    "RENTGATE_LOG_LEVEL": "WARNING",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What matters of an answer: its status, and an error's code."""

    status: int
    code: str | None


@dataclass(slots=True)
class Told:
    """A request of a caller, and every answer that it got; `None` where it got none."""

    request_id: str
    tenant: int
    key: str | None
    kind: str
    answers: list[Answer | None] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """What was done and what came of it."""

    seed: int
    superuser_url: str
    world: World
    told: list[Told] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    database_crashes: int = 0
    seconds: float = 0.0


class Storm:
    """One run; `blow` lasts as long as it is told to, and then until everything is settled."""

    def __init__(self, seed: int, tmp_path: Path) -> None:
        self._chance = random.Random(seed)
        self._tmp_path = tmp_path
        self._stop = threading.Event()
        self._calm = threading.Lock()
        self._choosing = threading.Lock()
        self._http = httpx.Client(limits=httpx.Limits(max_connections=100, max_keepalive_connections=0))
        self._aged: set[str] = set()
        self._to_change: set[str] = set()
        self._seed = seed

    @contextmanager
    def blow(self, seconds: float, *, purchases: int | None = None) -> Iterator[Report]:
        """Blow for some seconds, or until so many requests were made; then everything can be looked at."""
        with ExitStack() as stack:
            self._server = EmbeddedPostgres(self._tmp_path / "data")
            superuser = self._server.start()
            stack.callback(self._stop_database)
            app_url, owner_url = migrate.prepare_embedded(superuser)
            migrate.upgrade(owner_url)
            options = SandboxOptions(activation_seconds=0.5, sms_seconds=0, stock=10**9, seed=self._seed)
            self._sandbox = stack.enter_context(ServedSandbox(options))
            self._settings = {**settings_for(app_url, self._sandbox), **SETTINGS}
            database = make_url(app_url).database
            inside = make_url(superuser).set(database=database).render_as_string(hide_password=False)
            self._report = Report(self._seed, inside, self._sandbox.sandbox.world)
            self._gateways = [stack.enter_context(self._gateway(n)) for n in range(GATEWAYS)]
            self._tenants = [self._tenant(n) for n in range(TENANTS)]
            started = time.monotonic()
            self._run(seconds, purchases)
            self._report.seconds = time.monotonic() - started
            self._settle()
            yield self._report

    def _stop_database(self) -> None:
        self._server.stop()  # whichever it is by then

    @contextmanager
    def _gateway(self, number: int) -> Iterator[Gateway]:
        log = self._tmp_path / f"gateway-{number}-{time.monotonic_ns()}.jsonl"
        with running_gateway(log, **self._settings) as gateway:
            yield gateway

    def _tenant(self, number: int) -> Tenant:
        with self._gateways[0].client(ADMIN_TOKEN) as admin:
            tenant = Tenant.create(self._gateways[0].client, admin, self._sandbox)
            if number == LIMITED:
                limit = {"spend_limit": {"amount": str(LIMIT)}}
                admin.patch(f"/tenants/{tenant.id}", json=limit).raise_for_status()
        tenant.account.balance = Decimal(10**6)
        return tenant

    def _run(self, seconds: float, purchases: int | None) -> None:
        deadline = time.monotonic() + seconds
        work: list[Callable[[], None]] = [self._bring_faults, self._kill_gateways, self._crash_database]
        for number in range(TENANTS * CALLERS_EACH):
            chance = random.Random(self._chance.random())
            work.append(lambda n=number, c=chance: self._call(n % TENANTS, n, c))  # type: ignore[misc]
        with ThreadPoolExecutor(len(work)) as pool:
            running = [pool.submit(step) for step in work]
            while time.monotonic() < deadline and not any(done.done() for done in running):
                time.sleep(0.1)
                if purchases is not None and len(self._report.told) >= purchases:
                    break
            self._stop.set()
            for done in running:
                done.result()

    def _bring_faults(self) -> None:
        chance = random.Random(self._chance.random())
        while not self._stop.wait(chance.uniform(0.02, 0.25)):
            waiting = self._sandbox.sandbox.faults.waiting
            if len(waiting) >= MOST_FAULTS_WAITING:
                continue  # else an account that is never called would gather them
            kind = chance.choice(PLAYED)
            late = chance.uniform(0.1, 2.5) if chance.random() < 0.9 else chance.uniform(3, 8)
            fault = Fault(
                method=chance.choice(METHODS),
                account=chance.choice(self._tenants).upstream_key[-8:],
                kind=kind,
                # A readable refusal is the upstream's word that nothing was charged: it never lies here.
                when="before" if kind in REFUSALS else chance.choice(["before", "after"]),
                seconds=late if kind is FaultKind.LATE else 2.0,
                message=chance.choice(["out of stock", "Insufficient balance", "Mercury in retrograde"]),
            )
            waiting.append(fault)
            self._report.faults[f"{kind.value} {fault.when}"] += 1

    def _kill_gateways(self) -> None:
        chance = random.Random(self._chance.random())
        while not self._stop.wait(chance.uniform(2.0, 6.0)):
            with self._calm:
                gateway = chance.choice(self._gateways)
                gateway.process.send_signal(signal.SIGKILL)
                gateway.process.wait()
                self._report.kills += 1
                gateway.start(self._settings)

    def _crash_database(self) -> None:
        chance = random.Random(self._chance.random())
        while not self._stop.wait(chance.uniform(8.0, 16.0)):
            with self._calm:
                pid_file = self._tmp_path / "data" / "postgres" / "data" / "postmaster.pid"
                os.kill(int(pid_file.read_text().split("\n", 1)[0]), signal.SIGQUIT)
                self._report.database_crashes += 1
                time.sleep(chance.uniform(0.1, 1.5))
                again = EmbeddedPostgres(self._tmp_path / "data")
                again.start()
                self._server.stop()
                self._server = again

    def _call(self, tenant_number: int, caller: int, chance: random.Random) -> None:
        tenant, count = self._tenants[tenant_number], 0
        while not self._stop.is_set():
            count += 1
            request_id = f"{caller}-{count}"
            key = request_id if chance.random() < 0.7 else None
            told = Told(request_id, tenant_number, key, "purchase")
            path = "/rentals"
            body: dict[str, Any] | None = self._purchase(request_id, chance)
            if chance.random() < 0.1 and (rental_id := self._expired(tenant, chance)) is not None:
                told.kind, path, body = "restore", f"/rentals/{rental_id}/restore", {}
            elif chance.random() < 0.15 and (rental_id := self._settled(tenant, chance)) is not None:
                told.kind = chance.choice(["prolong", "prolong", "services", "delete"])
                path, body = self._change(rental_id, told.kind, chance)
            self._report.told.append(told)
            for _ in range(chance.randint(1, 6) if key else 1):
                answer = self._post(tenant, path, body, key, chance)
                told.answers.append(answer)
                if self._stop.is_set() or (answer is not None and answer.status in (200, 201, 204)):
                    break
                time.sleep(chance.uniform(0, 0.5))

    def _purchase(self, request_id: str, chance: random.Random) -> dict[str, Any]:
        services = chance.sample(["opt1", "opt2", "opt16", "opt19", "opt29", "opt44", "opt45"], 2)
        named = {"services": services} if chance.random() < 0.2 else {"service": services[0]}
        return {
            "country": chance.choice(["RU", "PL", "ID", "KZ"]),
            **named,
            "period": {"unit": "week", "count": 1},
            "activate": chance.random() < 0.2,
            "metadata": {"request": request_id},
        }

    def _change(self, rental_id: str, kind: str, chance: random.Random) -> tuple[str, dict[str, Any] | None]:
        match kind:
            case "prolong":
                days = {"unit": "day", "count": chance.randint(1, 6)}
                period = chance.choice([days, {"unit": "week", "count": 1}])
                return f"/rentals/{rental_id}/prolong", {"period": period}
            case "services":
                return f"/rentals/{rental_id}/services", {"service": "opt20"}
            case _:
                return f"/rentals/{rental_id}", None

    def _settled(self, tenant: Tenant, chance: random.Random) -> str | None:
        """A rental to be changed, whose time nobody tampers with: its end tells whether it was prolonged."""
        active = [r["id"] for r in self._get(tenant, "/rentals?status=active&limit=5", chance)]
        with self._choosing:
            free = [rental_id for rental_id in active if rental_id not in self._aged]
            chosen: str | None = chance.choice(free) if free else None
            self._to_change |= {chosen} if chosen else set()
        return chosen

    def _expired(self, tenant: Tenant, chance: random.Random) -> str | None:
        """Let a rental end that the gateway knows as active, and give one that may be restored."""
        listed = self._get(tenant, "/rentals?status=active&limit=5", chance)
        with self._choosing:
            active = [rental for rental in listed if rental["id"] not in self._to_change]
            chosen = chance.choice(active) if active else None
            self._aged |= {chosen["id"]} if chosen else set()
        if chosen:
            known = {order["id"] for order in chosen["upstream_orders"]}
            ends = 8 * 86_400
            for order in tenant.orders:
                if str(order.id) in known:
                    order.begin, order.until = order.begin - ends, order.until - ends
        expired = self._get(tenant, "/rentals?status=expired&limit=5", chance)
        return chance.choice(expired)["id"] if expired else None

    def _post(
        self, tenant: Tenant, path: str, body: dict[str, Any] | None, key: str | None, chance: random.Random
    ) -> Answer | None:
        headers = {"Authorization": f"Bearer {tenant.token}", **({"Idempotency-Key": key} if key else {})}
        patience = chance.choice([0.3, 1.0, 3.0, 10.0])
        try:
            url = chance.choice(self._gateways).url
            method = "DELETE" if body is None else "POST"
            answer = self._http.request(method, f"{url}{path}", json=body, headers=headers, timeout=patience)
        except httpx.TransportError:
            return None
        code = answer.json()["code"] if answer.status_code >= 400 else None
        return Answer(answer.status_code, code)

    def _get(self, tenant: Tenant, path: str, chance: random.Random) -> list[dict[str, Any]]:
        """The items of a list; none while it can't be had."""
        headers = {"Authorization": f"Bearer {tenant.token}"}
        try:
            answer = self._http.get(f"{chance.choice(self._gateways).url}{path}", headers=headers, timeout=5)
        except httpx.TransportError:
            return []
        found: list[dict[str, Any]] = answer.json()["items"] if answer.status_code == 200 else []
        return found

    def _settle(self) -> None:
        """The weather clears: no more faults; wait until no outcome is open, and the last late call is in."""
        self._sandbox.sandbox.faults.waiting.clear()
        eventually(lambda: self._sandbox.sandbox.late, lambda late: not late, seconds=20)
        with self._gateways[0].client(ADMIN_TOKEN) as admin:
            for tenant in self._tenants:
                for state in ("queued", "sent", "unknown"):
                    eventually(
                        lambda at=f"/operations?state={state}", of=tenant.id: admin.get(  # type: ignore[misc]
                            at, headers={"X-Tenant-ID": of}
                        ).json()["items"],
                        lambda items: not items,
                        seconds=90,
                    )
        time.sleep(3)  # orders that were made last are seen, and late ones joined
