"""Bad days: the database away, the process killed at any moment, a start before the migration."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import psutil
import psycopg
import pytest
from sqlalchemy.engine import make_url

from app import migrate
from app.database.embedded import EmbeddedPostgres
from tests.acceptance.conftest import ADMIN_TOKEN, fresh_gateway, running_gateway, settings_for
from tests.acceptance.tenant import Tenant, eventually, ok, problem
from tests.conftest import MakeDatabase, superuser_of
from tests.served import ServedSandbox


def test_without_its_database_it_says_so_within_three_seconds_and_comes_back_by_itself(
    tmp_path: Path, sandbox: ServedSandbox
) -> None:
    server = EmbeddedPostgres(tmp_path / "data", durable=False)
    app_url, owner_url = migrate.prepare_embedded(server.start())
    migrate.upgrade(owner_url)
    with (
        running_gateway(
            tmp_path / "log",
            **settings_for(app_url, sandbox),
        ) as gateway,
        gateway.client(ADMIN_TOKEN) as admin,
    ):
        tenant = Tenant.create(gateway.client, admin, sandbox)
        rental = tenant.rent()
        server.stop()
        with ThreadPoolExecutor(40) as pool:
            for request in (
                lambda: tenant.http.get("/rentals"),
                lambda: tenant.http.get("/readyz"),
                lambda: tenant.buy(key="later"),
            ):
                started = time.monotonic()
                answers = list(pool.map(lambda _, ask=request: ask(), range(30)))
                assert time.monotonic() - started < 3.5
                for answer in answers:
                    problem(answer, 503, "database_unavailable")
        assert admin.get("/healthz").status_code == 200
        server.start()
        eventually(lambda: tenant.http.get("/readyz").status_code, lambda status: status == 200)
        assert tenant.rental(rental["id"])["status"] == "active"
        ok(tenant.buy(key="later"), 201)
        assert tenant.charged == ["create", "create"]
        tenant.close()
    server.stop()


def test_a_frozen_database_is_told_as_away(tmp_path: Path, sandbox: ServedSandbox) -> None:
    server = EmbeddedPostgres(tmp_path / "data", durable=False)
    app_url, owner_url = migrate.prepare_embedded(server.start())
    migrate.upgrade(owner_url)
    postmaster = psutil.Process(
        int((tmp_path / "data" / "postgres" / "data" / "postmaster.pid").read_text().split("\n", 1)[0])
    )
    with (
        running_gateway(
            tmp_path / "log",
            "--no-worker",
            **settings_for(app_url, sandbox),
        ) as gateway,
        gateway.client(ADMIN_TOKEN) as admin,
    ):
        ok(admin.get("/tenants"))
        frozen = [postmaster, *postmaster.children(recursive=True)]
        for process in frozen:
            process.suspend()
        try:
            started = time.monotonic()
            problem(admin.get("/tenants"), 503, "database_unavailable")
            assert time.monotonic() - started < 3.5
        finally:
            for process in frozen:
                process.resume()
        eventually(lambda: admin.get("/tenants").status_code, lambda status: status == 200)
    server.stop()


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.05, 0.1, 0.3])
def test_killed_in_the_middle_of_a_purchase_it_buys_once_and_loses_nothing(
    settings: dict[str, str], tmp_path: Path, sandbox: ServedSandbox, delay: float
) -> None:
    settings |= {
        "RENTGATE_UPSTREAM_TIMEOUT": "1",
        "RENTGATE_PURCHASE_WAIT": "1",
        "RENTGATE_RECONCILE_SECONDS": "2",
    }
    with running_gateway(tmp_path / "first", **settings) as gateway, gateway.client(ADMIN_TOKEN) as admin:
        tenant = Tenant.create(gateway.client, admin, sandbox)
        tenant.http.get("/countries/RU/services")
        tenant.fault("create", "late", seconds=0.1)
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(tenant.buy, key="once")
            time.sleep(delay)
            gateway.process.send_signal(signal.SIGKILL)
            gateway.process.wait()
            assert asked.exception() is not None or asked.result().status_code < 500
    with running_gateway(tmp_path / "second", **settings) as gateway:
        with gateway.client(tenant.token) as client:
            tenant.http = client
            answer = eventually(
                lambda: tenant.buy(key="once"),
                lambda answer: answer.status_code in (201, 502),
                seconds=60,
            )
            tenant.clear_faults()
            if answer.status_code == 502:
                problem(answer, 502, "purchase_not_made")
                assert tenant.charged == []
            else:
                assert tenant.charged == ["create"]
                (order,) = tenant.orders
                (rental,) = ok(client.get("/rentals"))["items"]
                assert rental["upstream_order_id"] == str(order.id)


def test_a_stop_in_order_lets_requests_finish(
    settings: dict[str, str], tmp_path: Path, sandbox: ServedSandbox
) -> None:
    with (
        running_gateway(
            tmp_path / "log",
            **settings,
        ) as gateway,
        gateway.client(ADMIN_TOKEN) as admin,
    ):
        tenant = Tenant.create(gateway.client, admin, sandbox)
        tenant.http.get("/countries/RU/services")
        tenant.fault("create", "late", seconds=1.0)
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(tenant.buy)
            time.sleep(0.5)
            gateway.process.terminate()
            ok(asked.result(), 201)
        assert gateway.process.wait(30) == 0
        assert not [line for line in gateway.log_lines() if line["level"] == "error"]


def test_a_stop_does_not_wait_for_what_only_waits_for_its_turn(
    settings: dict[str, str], tmp_path: Path, sandbox: ServedSandbox
) -> None:
    settings |= {"RENTGATE_RECONCILE_SECONDS": "600", "RENTGATE_PURCHASE_WAIT": "1"}
    with running_gateway(tmp_path / "first", **settings) as gateway:
        with gateway.client(ADMIN_TOKEN) as admin:
            tenant = Tenant.create(gateway.client, admin, sandbox)
            tenant.fault("create", "drop", "before")
            ok(tenant.buy(), 202)
            waiting = ok(tenant.buy(key="behind"), 202)
            (queued,) = tenant.operations(state="queued")
            assert queued["rental_id"] == waiting["id"]
            gateway.process.terminate()
            assert gateway.process.wait(10) == 0
    with running_gateway(tmp_path / "second", "--no-worker", **settings) as gateway:
        with gateway.client(tenant.token) as client:
            tenant.http = client
            assert tenant.rental(waiting["id"])["status"] == "failed"
            problem(tenant.buy(key="behind"), 502, "purchase_not_made")
            assert tenant.charged == []


def test_before_the_migration_it_starts_and_says_what_to_do(
    postgres: str, tmp_path: Path, sandbox: ServedSandbox
) -> None:
    app_url, owner_url = migrate.prepare_embedded(postgres, f"unmigrated_{uuid4().hex}")
    with (
        running_gateway(
            tmp_path / "log",
            **settings_for(app_url, sandbox),
        ) as gateway,
        gateway.client(ADMIN_TOKEN) as admin,
    ):
        body = admin.get("/readyz").json()
        assert body["status"] == 503
        assert "rentgate migrate" in body["detail"]
        assert admin.get("/tenants").status_code == 503
        migrate.upgrade(owner_url)
        eventually(lambda: admin.get("/readyz").status_code, lambda status: status == 200)
        ok(admin.get("/tenants"))


def test_on_a_database_of_an_unreleased_version_it_is_not_ready(
    make_database: MakeDatabase, postgres: str, tmp_path: Path, sandbox: ServedSandbox
) -> None:
    """Such as one that was restored while the gateway ran; at its start it refuses it."""
    urls = make_database()
    with (
        running_gateway(tmp_path / "log", "--no-worker", **settings_for(urls.app, sandbox)) as gateway,
        gateway.client() as client,
        psycopg.connect(superuser_of(postgres, urls.app), autocommit=True) as connection,
    ):
        connection.execute("update alembic_version set version_num = '0020'")
        told = problem(client.get("/readyz"), 503, "not_ready")["detail"]
    assert "made by an unreleased version: remove the data folder, or restore it" in told


def test_with_another_vault_key_it_is_not_ready(
    make_database: MakeDatabase, tmp_path: Path, sandbox: ServedSandbox
) -> None:
    urls = make_database()
    for name, ready in (("first", True), ("second", False)):
        with (
            running_gateway(
                tmp_path / name,
                "--no-worker",
                **settings_for(urls.app, sandbox),
            ) as gateway,
            gateway.client() as client,
        ):
            answer = client.get("/readyz")
            if ready:
                ok(answer)
            else:
                assert "vault" in problem(answer, 503, "not_ready")["detail"]


def test_a_killed_gateway_leaves_its_embedded_database_to_the_next(
    tmp_path: Path, sandbox: ServedSandbox
) -> None:
    settings = {
        "RENTGATE_DATA_DIR": str(tmp_path / "data"),
        "RENTGATE_ADMIN_TOKEN": ADMIN_TOKEN,
        "RENTGATE_UPSTREAM_URL": sandbox.url,
    }
    with running_gateway(tmp_path / "first", **settings) as gateway:
        with gateway.client(ADMIN_TOKEN) as admin:
            made = ok(admin.post("/tenants", json={"name": "kept"}), 201)
        gateway.process.send_signal(signal.SIGKILL)
        gateway.process.wait()
    pid_file = tmp_path / "data" / "postgres" / "data" / "postmaster.pid"
    pid = int(pid_file.read_text().split("\n", 1)[0])
    os.kill(pid, 0)
    with fresh_gateway(tmp_path / "second", "--workers", "2", **settings) as gateway:
        with gateway.client(ADMIN_TOKEN) as admin:
            assert ok(admin.get(f"/tenants/{made['id']}"))["name"] == "kept"
    assert not pid_file.exists()


def test_the_running_gateways_connections_can_not_pass_the_policies(
    make_database: MakeDatabase, postgres: str, tmp_path: Path, sandbox: ServedSandbox
) -> None:
    urls = make_database()
    with running_gateway(
        tmp_path / "log",
        **settings_for(urls.app, sandbox),
    ) as gateway:
        with gateway.client(ADMIN_TOKEN) as admin:
            ok(admin.get("/tenants"))
        with psycopg.connect(postgres) as connection:
            rows = connection.execute(
                "select distinct usename, rolsuper, rolbypassrls from pg_stat_activity"
                " join pg_roles on rolname = usename where datname = %s",
                [make_url(urls.app).database],
            ).fetchall()
    assert rows == [(migrate.EMBEDDED_LOGIN, False, False)]
