"""The `rentgate` command: migrate, doctor, tenant, key, openapi, sandbox, worker, and the demo."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psutil
import psycopg
from sqlalchemy.engine import make_url

from app import migrate
from app.database.embedded import EmbeddedPostgres
from tests.acceptance.commands import environment, rentgate
from tests.acceptance.conftest import ADMIN_TOKEN, running_gateway
from tests.acceptance.tenant import Tenant, eventually, ok
from tests.balance_server import BalanceServer
from tests.conftest import PROJECT
from tests.processes import Forked
from tests.served import ServedSandbox

REFUSED = "made by an unreleased version: remove the data folder, or restore it with that version"


def test_doctor_finds_everything_well(settings: dict[str, str]) -> None:
    done = rentgate("doctor", **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    checked = (
        *("settings", "database", "migrations", "least privilege", "vault"),
        *("upstream", "balance", "redis", "issuer"),
    )
    for name in checked:
        assert f"ok   {name}" in done.stdout
    assert settings["RENTGATE_VAULT_KEY"] not in done.stdout


def test_doctor_says_what_to_mend(settings: dict[str, str], postgres: str) -> None:
    away = rentgate("doctor", **{**settings, "RENTGATE_UPSTREAM_URL": "http://127.0.0.1:1/"})
    assert away.returncode == 1
    assert "bad  upstream" in away.stdout
    assert "to mend:" in away.stdout
    assert "ok   balance: RENTGATE_BALANCE_URL is empty" in away.stdout
    alone = {
        "RENTGATE_BALANCE_URL": "http://localhost:1/balance",
        "RENTGATE_REDIS_URL": "redis://:hunter2@127.0.0.1:1",
        "RENTGATE_JWT_JWKS_URL": "http://127.0.0.1:1/keys",
        "RENTGATE_JWT_ISSUER": "https://login.example",
        "RENTGATE_JWT_AUDIENCE": "rentgate",
    }
    without = rentgate("doctor", **{**settings, **alone})
    assert without.returncode == 1
    assert "bad  balance" in without.stdout
    assert "RENTGATE_BALANCE_URL" in without.stdout
    assert "bad  redis" in without.stdout
    assert "bad  issuer" in without.stdout
    assert "hunter2" not in without.stdout + without.stderr
    super_user = rentgate(
        "doctor", **{**settings, "RENTGATE_DATABASE_URL": _as_superuser(postgres, settings)}
    )
    assert "bad  least privilege" in super_user.stdout
    no_key = {name: value for name, value in settings.items() if name != "RENTGATE_VAULT_KEY"}
    missing = rentgate("doctor", **no_key)
    assert missing.returncode == 1
    assert "RENTGATE_VAULT_KEY has to be set" in missing.stdout


def test_doctor_says_where_balances_are_read(settings: dict[str, str]) -> None:
    with BalanceServer() as server:
        url = server.url.replace("127.0.0.1", "localhost")
        done = rentgate("doctor", **settings, RENTGATE_BALANCE_URL=url)
        assert done.returncode == 0, done.stdout
        assert "ok balance: localhost, another host than the upstream's" in " ".join(done.stdout.split())
        assert [asked.headers.get("apikey") for asked in server.asked] == [None]


def _as_superuser(postgres: str, settings: dict[str, str]) -> str:
    database = settings["RENTGATE_DATABASE_URL"].split("@/")[1].split("?")[0]
    return postgres.replace("@/postgres?", f"@/{database}?")


def test_a_setting_that_is_none_is_named_and_not_shown() -> None:
    done = rentgate("serve", RENTGATE_UPSTREAM_RATE="hunter2")
    assert done.returncode == 1
    assert "RENTGATE_UPSTREAM_RATE" in done.stderr
    assert "hunter2" not in done.stderr + done.stdout
    done = rentgate("serve", RENTGATE_JWT_ISSUER="https://login.example")
    assert done.returncode == 1
    assert "JWT_JWKS_URL" in done.stderr


def test_migrate_brings_an_empty_database_to_head(postgres: str, tmp_path: Path) -> None:
    app_url, owner_url = migrate.prepare_embedded(postgres, f"fresh_{os.getpid()}_{id(tmp_path)}")
    done = rentgate("migrate", RENTGATE_DATABASE_URL=app_url, RENTGATE_DATABASE_OWNER_URL=owner_url)
    assert done.returncode == 0, done.stderr
    assert migrate.head() in done.stdout


def at_revision(url: str, revision: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("update alembic_version set version_num = %s", [revision])


def test_a_database_of_an_unreleased_version_is_refused_in_words(
    settings: dict[str, str], postgres: str
) -> None:
    at_revision(_as_superuser(postgres, settings), "0020")
    owner = migrate.prepare_embedded(postgres, make_url(settings["RENTGATE_DATABASE_URL"]).database or "")[1]
    for command in (
        ("migrate",),
        ("doctor",),
        ("serve", "--port", "0"),
        ("serve", "--port", "0", "--workers", "2"),
        ("worker",),
        ("tenant", "list"),
        ("audit", "prune", "--before", "2020-01-01"),
    ):
        refused = rentgate(*command, **settings, RENTGATE_DATABASE_OWNER_URL=owner)
        said = refused.stdout + refused.stderr
        assert (refused.returncode, REFUSED in said) == (1, True), (command, said)
        assert "Traceback" not in said, command


def test_a_data_folder_of_an_unreleased_version_is_refused_in_words(tmp_path: Path) -> None:
    embedded = {"RENTGATE_DATA_DIR": str(tmp_path / "data")}
    assert rentgate("migrate", **embedded).returncode == 0
    server = EmbeddedPostgres(tmp_path / "data")
    try:
        _, owner_url = migrate.prepare_embedded(server.start())
        at_revision(owner_url, "0020")
    finally:
        server.stop()
    for command in (
        ("migrate",),
        ("serve", "--port", "0"),
        ("serve", "--port", "0", "--workers", "2"),
        ("worker",),
        ("tenant", "list"),
    ):
        refused = rentgate(*command, **embedded)
        assert (refused.returncode, REFUSED in refused.stderr) == (1, True), command
        assert "Traceback" not in refused.stderr, command


def test_tenants_and_keys_from_the_shell(settings: dict[str, str], tmp_path: Path) -> None:
    tenant_id = rentgate("tenant", "create", "Shell", "--spend-limit", "10", **settings).stdout.strip()
    assert re.fullmatch(r"[0-9a-f-]{36}", tenant_id)
    listed = rentgate("tenant", "list", **settings).stdout
    assert tenant_id in listed
    assert "10.00" in listed
    token = rentgate("key", "create", tenant_id, "ci", "--scope", "rentals:read", **settings).stdout.strip()
    added = rentgate(
        *("key", "add-upstream", tenant_id, "main", "--low-balance-below", "12.5"),
        **settings,
        SMSPVA_API_KEY="shell-upstream-key-0001",
    )
    assert added.returncode == 0, added.stderr
    assert "shell-upstream-key" not in added.stdout
    keys = rentgate("key", "list", tenant_id, **settings).stdout
    assert "…0001" in keys
    assert "12.50" in keys
    for wrong in ("-1", "much", "NaN"):
        mark = f"--low-balance-below={wrong}"
        refused = rentgate("key", "add-upstream", tenant_id, "b", mark, **settings, SMSPVA_API_KEY="k" * 20)
        assert refused.returncode == 2
    with running_gateway(tmp_path / "log", "--no-worker", **settings) as gateway:
        with gateway.client(token) as client:
            assert ok(client.get("/me"))["scopes"] == ["rentals:read"]
            rentgate("tenant", "suspend", tenant_id, **settings)
            eventually(lambda: client.get("/me").status_code, lambda status: status == 403)
            rentgate("tenant", "resume", tenant_id, **settings)
            me = eventually(lambda: client.get("/me"), lambda answer: answer.status_code == 200).json()
            rentgate("key", "revoke", tenant_id, me["api_key"]["id"], **settings)
            eventually(lambda: client.get("/me").status_code, lambda status: status == 401)
    unknown = rentgate("key", "list", "01890a5d-ac96-774b-bcce-b302099a8057", **settings)
    assert unknown.returncode == 1
    assert "There is no such tenant." in unknown.stderr


def test_a_worker_of_its_own_does_the_background(
    settings: dict[str, str], tmp_path: Path, sandbox: ServedSandbox
) -> None:
    worker = Forked(("worker",), environment(**settings), tmp_path / "worker")
    with running_gateway(tmp_path / "log", "--no-worker", **settings) as gateway:
        with gateway.client(ADMIN_TOKEN) as admin:
            tenant = Tenant.create(gateway.client, admin, sandbox)
            rental = tenant.rent(activate=True)
            tenant.until(rental["id"], number_state="active")
            eventually(lambda: tenant.messages(rental["id"])["items"], lambda items: items)
            tenant.close()
    worker.terminate()
    assert worker.wait(30) == 0


def test_the_openapi_document_is_written(tmp_path: Path) -> None:
    checked_in = (PROJECT / "openapi" / "openapi.json").read_text()
    assert rentgate("openapi").stdout == checked_in
    rentgate("openapi", "--output", str(tmp_path / "openapi.json"))
    assert (tmp_path / "openapi.json").read_text() == checked_in


def test_a_taken_port_is_said_plainly(settings: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for command in ("serve", "sandbox", "demo"):
            done = rentgate(command, "--port", port, **settings)
            assert done.returncode == 1
            assert f"127.0.0.1:{port} can't be listened on" in done.stderr
            assert "Traceback" not in done.stderr + done.stdout


def test_the_sandbox_runs_alone() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "sandbox", "--port", "0", "--account", "k=5"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
    )
    assert process.stdout is not None
    url = process.stdout.readline().split()[2]
    answer = httpx.get(url, params={"method": "orders", "apikey": "k"})
    assert answer.json() == {"status": 1, "data": []}
    process.terminate()
    assert process.wait(10) == 0


def test_the_demo_serves_the_journey_and_ends_on_ctrl_c(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "demo", "--port", "0"],
        env=environment(RENTGATE_DATA_DIR=str(tmp_path / "data")),
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
    )
    env_file = tmp_path / "data" / "demo.env"
    eventually(env_file.exists, bool, seconds=60)
    assert env_file.stat().st_mode & 0o777 == 0o600
    given = dict(line.split("=", 1) for line in env_file.read_text().splitlines())
    headers = {"Authorization": f"Bearer {given['RENTGATE_TOKEN']}"}
    with httpx.Client(base_url=given["RENTGATE_URL"], headers=headers, timeout=30) as client:
        body: dict[str, Any] = {"country": "GB", "service": "opt20", "period": {"unit": "week", "count": 1}}
        rental = ok(client.post("/rentals", json={**body, "activate": True}), 201)
        eventually(
            lambda: ok(client.get(f"/rentals/{rental['id']}/sms"))["items"], lambda items: items, seconds=30
        )
        ok(client.get("/tenants", headers={"Authorization": f"Bearer {given['RENTGATE_ADMIN_TOKEN']}"}))
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "curl" in output
    assert "nothing is left running" in output
    assert not env_file.exists()
    psutil.wait_procs(children, 10)
    assert not any(child.is_running() for child in children)


def test_the_audit_trail_is_verified_exported_and_pruned(
    settings: dict[str, str], sandbox: ServedSandbox, postgres: str, tmp_path: Path
) -> None:
    with running_gateway(tmp_path / "log", **settings) as gateway, gateway.client(ADMIN_TOKEN) as admin:
        tenant = Tenant.create(gateway.client, admin, sandbox)
        rental = tenant.rent()
        of_tenant = ("--tenant", tenant.id)

        def verify(*further: str) -> subprocess.CompletedProcess[str]:
            return rentgate("audit", "verify", *further, **settings)

        told = eventually(lambda: verify(*of_tenant).stdout, lambda text: " 0 waiting" in text, seconds=20)
        assert "ok; " in told
        noted = told.split()[-1]
        assert int(noted.partition(":")[0]) > 3
        assert verify(*of_tenant, "--noted", noted).returncode == 0
        assert verify().stdout.count(" ok;") >= 2  # the platform's own, too
        forged = verify(*of_tenant, "--noted", noted[:-1] + ("1" if noted[-1] == "0" else "0"))
        assert (forged.returncode, "does not contain the seal" in forged.stdout) == (1, True)
        for wrong in (["--noted", "12:x", *of_tenant], ["--noted", noted]):
            assert verify(*wrong).returncode == 2
        stranger = verify("--tenant", str(uuid4()))
        assert (stranger.returncode, "no such tenant" in stranger.stderr) == (1, True)

        exported = rentgate("audit", "export", *of_tenant, **settings).stdout
        rows = [json.loads(line) for line in exported.splitlines()]
        assert {"operation.create", "upstream.create"} <= {row["action"] for row in rows}
        assert any(row["details"].get("rental_id") == rental["id"] for row in rows)
        assert all(row["seal"] for row in rows[:3])
        assert rentgate("audit", "export", *of_tenant, "--until", "2020-01-01", **settings).stdout == ""

        prune = ("audit", "prune", "--before", "2020-01-01", *of_tenant)
        database = make_url(settings["RENTGATE_DATABASE_URL"]).database or ""
        owner = migrate.prepare_embedded(postgres, database)[1]
        assert "0 rows removed" in rentgate(*prune, **settings, RENTGATE_DATABASE_OWNER_URL=owner).stdout
        refused = rentgate(*prune, **settings)
        assert (refused.returncode, "RENTGATE_DATABASE_OWNER_URL" in refused.stderr) == (1, True)
        tenant.close()
