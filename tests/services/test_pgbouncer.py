"""A gateway behind PgBouncer in transaction mode: connections are shared, and tenants are not mixed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from app.database import Role
from tests.acceptance.conftest import ADMIN_TOKEN, Gateway, running_gateway
from tests.acceptance.tenant import Answer, Tenant, eventually, ok
from tests.served import ServedSandbox
from tests.services.pooler import Pooler, pooled

SERVERS = 3
"""Far fewer connections than the gateway has, so that each is handed on all the time."""

READS, AT_ONCE = 400, 16


@pytest.fixture
def pooler(settings: dict[str, str], tmp_path: Path) -> Iterator[Pooler]:
    with pooled(settings["RENTGATE_DATABASE_URL"], tmp_path / "pgbouncer.log", size=SERVERS) as running:
        yield running


@pytest.fixture
def pooled_gateway(settings: dict[str, str], pooler: Pooler, tmp_path: Path) -> Iterator[Gateway]:
    direct = settings["RENTGATE_DATABASE_URL"]
    through = {**settings, "RENTGATE_DATABASE_URL": pooler.url, "RENTGATE_DATABASE_LISTEN_URL": direct}
    log = tmp_path / "log"
    with running_gateway(log, **through) as gateway:
        yield gateway
    assert not [line for line in gateway.log_lines() if line["level"] == "error"]


def furnished(gateway: Gateway, admin: httpx.Client, sandbox: ServedSandbox, text: str) -> Tenant:
    """A tenant with a rental and a message."""
    tenant = Tenant.create(gateway.client, admin, sandbox)
    rental = tenant.rent(activate=True)
    tenant.until(rental["id"], number_state="active")
    tenant.arrive(text)
    eventually(
        lambda: tenant.messages(rental["id"])["items"],
        lambda found: text in [message["text"] for message in found],
    )
    return tenant


def test_many_requests_of_two_tenants_see_only_their_own(
    pooled_gateway: Gateway, pooler: Pooler, sandbox: ServedSandbox
) -> None:
    with pooled_gateway.client(ADMIN_TOKEN) as admin:
        tenants = [furnished(pooled_gateway, admin, sandbox, text) for text in ("one's own", "the other's")]
        rentals = [ok(tenant.http.get("/rentals"))["items"][0] for tenant in tenants]
        before, _ = pooler.statistics()

        def look(number: int) -> None:
            mine, other = number % 2, 1 - number % 2
            http = tenants[mine].http
            assert ok(http.get("/me"))["tenant"]["id"] == tenants[mine].id
            assert _ids(ok(http.get("/rentals"))) == {rentals[mine]["id"]}
            assert http.get(f"/rentals/{rentals[other]['id']}").status_code == 404
            texts = {m["text"] for m in tenants[mine].messages(rentals[mine]["id"])["items"]}
            assert (("one's own" in texts), ("the other's" in texts)) == (mine == 0, mine == 1)
            change = {"metadata": {"of": tenants[mine].id, "look": str(number)}}
            ok(http.patch(f"/rentals/{rentals[mine]['id']}", json=change))

        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(look, range(READS // 4)))
        for tenant, rental in zip(tenants, rentals, strict=True):
            assert tenant.rental(rental["id"])["metadata"]["of"] == tenant.id
        transactions, servers = pooler.statistics()
        assert transactions - before >= READS
        assert 1 <= servers <= SERVERS
        for tenant in tenants:
            tenant.close()


def test_a_rental_is_bought_watched_and_waited_for(pooled_gateway: Gateway, sandbox: ServedSandbox) -> None:
    """What needs more than plain queries: locks, leases, the worker's claims, and being woken by NOTIFY."""
    with pooled_gateway.client(ADMIN_TOKEN) as admin:
        tenant = Tenant.create(pooled_gateway.client, admin, sandbox)
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: tenant.buy(key="once"), range(8)))
        assert {answer.status_code for answer in answers} <= {201, 409}
        assert tenant.charged == ["create"]
        (rental,) = ok(tenant.http.get("/rentals"))["items"]
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(tenant.messages, rental["id"], wait="20")
            ok(tenant.http.post(f"/rentals/{rental['id']}/activate"), 202)
            assert waiting.result()["items"]
        tenant.close()


def test_a_setting_for_the_session_would_leak_through_this_pooler(pooler: Pooler) -> None:
    """The same pool does mix sessions: rows are seen by whoever comes next, unless the transaction's end
    takes the tenant's name away, as the gateway has it.
    """
    tenant_id = str(uuid4())
    with connected(pooler) as connection, connection.transaction():
        connection.execute(f"select set_config('role', '{Role.PLATFORM.value}', true)")
        connection.execute("insert into tenants (id, name) values (%s, 'one')", [tenant_id])
    assert seen_after(pooler, tenant_id, local=True) == set()
    assert seen_after(pooler, tenant_id, local=False) == {tenant_id}


def seen_after(pooler: Pooler, tenant_id: str, *, local: bool) -> set[str]:
    """The tenants that others see without naming one, after somebody has named one."""
    name = "select set_config('role', %s, true), set_config('rentgate.tenant_id', %s, %s)"
    with connected(pooler) as somebody:
        with somebody.transaction():
            somebody.execute(name, [Role.APP.value, tenant_id, local])
        with connected(pooler) as another, another.transaction():
            another.execute("select set_config('role', %s, true)", [Role.APP.value])
            rows = another.execute("select id::text from tenants").fetchall()
    return {row[0] for row in rows}


def connected(pooler: Pooler) -> psycopg.Connection[tuple[Any, ...]]:
    """A client of the pooler."""
    return psycopg.connect(pooler.url, autocommit=True, prepare_threshold=None)


def _ids(answer: Answer) -> set[str]:
    return {item["id"] for item in answer["items"]}
