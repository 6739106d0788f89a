"""Crash points: the process is killed right before and after each commit of a purchase, and in its call.

A deferred trigger, put into the test's database only, holds a transaction in the middle of its COMMIT. Then
the gateway is killed, and the commit is either undone (the point before it) or let through (the point after).
The table of these points and their outcomes is in docs/money.md.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest
from sqlalchemy.engine import make_url

from tests.acceptance.conftest import ADMIN_TOKEN, Gateway, running_gateway
from tests.acceptance.tenant import Tenant, eventually, ok
from tests.served import ServedSandbox

HERE = 4711
"""The advisory lock that a held commit waits for."""

POINTS = {
    "intent": "after insert on operations deferrable initially deferred for each row",
    "sent": "after update on operations deferrable initially deferred for each row"
    " when (new.state = 'sent' and old.state = 'queued')",
    "settled": "after update on operations deferrable initially deferred for each row"
    " when (old.state = 'sent' and new.state <> 'sent')",
}


@dataclass(frozen=True, slots=True)
class Held:
    """A commit of the gateway that is being held."""

    connection: psycopg.Connection[tuple[object, ...]]

    def wait(self) -> None:
        """Wait until the gateway has come to the point."""
        eventually(self._backend, lambda pid: pid is not None)

    def undo(self) -> None:
        """End the transaction without its commit."""
        self.connection.execute("select pg_terminate_backend(%s)", [self._backend()])

    def let_through(self) -> None:
        """Let the commit go on."""
        self.connection.execute("select pg_advisory_unlock(%s)", [HERE])

    def _backend(self) -> object:
        row = self.connection.execute(
            "select pid from pg_locks where locktype = 'advisory' and objid = %s and not granted", [HERE]
        ).fetchone()
        return row[0] if row else None


@contextmanager
def held_at(superuser_url: str, point: str) -> Iterator[Held]:
    """Hold the first commit that comes to a point."""
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute(
            "create function hold() returns trigger language plpgsql as $$"
            f" begin perform pg_advisory_xact_lock_shared({HERE}); return null; end $$"
        )
        connection.execute(f"create constraint trigger hold {POINTS[point]} execute function hold()")
        connection.execute("select pg_advisory_lock(%s)", [HERE])
        yield Held(connection)
        connection.execute("select pg_advisory_unlock_all()")
        connection.execute("drop function hold cascade")


@dataclass(frozen=True, slots=True)
class Scene:
    """A gateway with a tenant that has looked around, before anything is bought."""

    settings: dict[str, str]
    superuser_url: str
    tmp_path: Path
    sandbox: ServedSandbox

    @contextmanager
    def opened(self) -> Iterator[tuple[Gateway, Tenant]]:
        """The first gateway, to be killed."""
        with running_gateway(self.tmp_path / "first", **self.settings) as gateway:
            with gateway.client(ADMIN_TOKEN) as admin:
                tenant = Tenant.create(gateway.client, admin, self.sandbox)
                tenant.http.get("/countries/RU/services")
                yield gateway, tenant

    def take_lane(self, tenant: Tenant, seconds: float) -> None:
        """Somebody else makes a money call on the tenant's account, for so long."""
        with psycopg.connect(self.superuser_url) as connection:
            connection.execute(
                "insert into money_lanes (tenant_id, upstream_key_id, holder, fence, held_until)"
                " values (%s, %s, gen_random_uuid(), 1, now() + make_interval(secs => %s))",
                [tenant.id, tenant.upstream_key_id, seconds],
            )

    def afterwards(self, tenant: Tenant) -> tuple[int, list[str]]:
        """What the caller is told in the end by the next gateway, and what was charged."""
        with running_gateway(self.tmp_path / "second", **self.settings) as gateway:
            with gateway.client(tenant.token) as client:
                tenant.http = client
                answer = eventually(
                    lambda: tenant.buy(key="once"),
                    lambda answer: answer.status_code not in (202, 409, 503),
                    seconds=90,
                )
                assert not tenant.operations(state="queued")
                assert not tenant.operations(state="unknown")
                spending = ok(client.get("/me"))["spending"]
                assert spending["held"]["amount"] == "0.00"
                charged = tenant.charged
                assert float(spending["spent"]["amount"]) == pytest.approx(4.2 * len(charged))
                rentals = ok(client.get("/rentals?status=active"))["items"]
                assert sorted(r["upstream_order_id"] for r in rentals) == sorted(
                    str(order.id) for order in tenant.orders
                )
                return answer.status_code, charged


@pytest.fixture
def scene(settings: dict[str, str], postgres: str, tmp_path: Path, sandbox: ServedSandbox) -> Scene:
    settings |= {
        "RENTGATE_UPSTREAM_TIMEOUT": "1",
        "RENTGATE_PURCHASE_WAIT": "3",  # longer than any point is held, so that the caller waits when it dies
        "RENTGATE_RECONCILE_SECONDS": "1.5",
    }
    database = make_url(settings["RENTGATE_DATABASE_URL"]).database
    superuser_url = make_url(postgres).set(database=database).render_as_string(hide_password=False)
    return Scene(settings, superuser_url, tmp_path, sandbox)


def kill(gateway: Gateway, asked: Future[httpx.Response]) -> None:
    gateway.process.send_signal(signal.SIGKILL)
    gateway.process.wait()
    assert asked.exception() is not None


@pytest.mark.parametrize(
    ("lane", "point", "committed", "status", "charges"),
    [
        ("free", "intent", False, 201, 1),  # intent and sent are one commit
        ("free", "intent", True, 502, 0),
        ("taken", "intent", False, 201, 1),
        ("taken", "intent", True, 201, 1),
        ("taken", "sent", False, 201, 1),
        ("taken", "sent", True, 502, 0),
        ("free", "settled", False, 201, 1),
        ("free", "settled", True, 201, 1),
    ],
)
def test_killed_at_a_commit(
    scene: Scene, lane: str, point: str, *, committed: bool, status: int, charges: int
) -> None:
    with scene.opened() as (gateway, tenant), held_at(scene.superuser_url, point) as held:
        if lane == "taken":
            scene.take_lane(tenant, seconds=1)
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(tenant.buy, key="once")
            held.wait()
            kill(gateway, asked)
            if committed:
                held.let_through()
            else:
                held.undo()
    assert scene.afterwards(tenant) == (status, ["create"] * charges)


@pytest.mark.parametrize("committed", [False, True])
def test_killed_at_the_commit_of_a_refusal(scene: Scene, *, committed: bool) -> None:
    with scene.opened() as (gateway, tenant), held_at(scene.superuser_url, "settled") as held:
        tenant.fault("create", "refuse", message="No numbers available")
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(tenant.buy, key="once")
            held.wait()
            kill(gateway, asked)
            if committed:
                held.let_through()
            else:
                held.undo()
    with running_gateway(scene.tmp_path / "second", **scene.settings) as gateway:
        with gateway.client(tenant.token) as client:
            tenant.http = client
            answer = eventually(
                lambda: tenant.buy(key="once"),
                lambda answer: answer.json().get("code") not in (None, "idempotency_key_in_use"),
                seconds=60,
            )
            assert answer.json()["code"] == ("no_numbers_available" if committed else "purchase_not_made")
            assert tenant.charged == []


def test_killed_after_the_commit_of_a_refusal_that_passes(scene: Scene) -> None:
    with scene.opened() as (gateway, tenant), held_at(scene.superuser_url, "settled") as held:
        tenant.fault("create", "rate_limit")
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(tenant.buy, key="once")
            held.wait()
            kill(gateway, asked)
            held.let_through()
    assert scene.afterwards(tenant) == (201, ["create"])


@pytest.mark.parametrize(
    ("kind", "status", "charges"), [("hang", 502, 0), ("late", 201, 1)], ids=["not charged", "charged"]
)
def test_killed_in_the_call(scene: Scene, kind: str, status: int, charges: int) -> None:
    with scene.opened() as (gateway, tenant):
        tenant.fault("create", kind, seconds=0.7)
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(tenant.buy, key="once")
            eventually(
                lambda: [c for c in tenant.sandbox.sandbox.calls if c["account"] == tenant.upstream_key[-4:]],
                lambda calls: any(call["method"] == "create" for call in calls),
            )
            kill(gateway, asked)
    assert scene.afterwards(tenant) == (status, ["create"] * charges)


def test_paused_past_its_deadline_it_does_not_send(scene: Scene) -> None:
    with scene.opened() as (gateway, tenant), held_at(scene.superuser_url, "sent") as held:
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(tenant.buy, key="once")
            held.wait()
            gateway.process.send_signal(signal.SIGSTOP)
            held.let_through()
            time.sleep(2.5)
            gateway.process.send_signal(signal.SIGCONT)
            answer = asked.result()
            assert answer.status_code in (202, 502, 503), answer.text
            eventually(lambda: tenant.operations()[0]["state"], lambda state: state == "failed")
        own = tenant.upstream_key[-4:]
        sent = [c for c in tenant.sandbox.sandbox.calls if c["account"] == own and c["method"] == "create"]
        assert sent == []
        assert tenant.charged == []
