"""The vault from a shell, and at the HTTP face while its key service is away."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.commands import environment, rentgate
from tests.acceptance.conftest import ADMIN_TOKEN, running_gateway
from tests.acceptance.tenant import Tenant, ok, problem
from tests.conftest import PROJECT, MakeDatabase, new_vault_key
from tests.keyservices import TOKEN, served_transit
from tests.served import ServedSandbox


@pytest.fixture
def own_settings(make_database: MakeDatabase, sandbox: ServedSandbox) -> dict[str, str]:
    """A gateway's settings on an own database."""
    return {
        "RENTGATE_DATABASE_URL": make_database().app,
        "RENTGATE_ADMIN_TOKEN": ADMIN_TOKEN,
        "RENTGATE_UPSTREAM_URL": sandbox.url,
        "RENTGATE_VAULT_KEY": new_vault_key(),
    }


def test_the_vault_key_rotates_while_requests_are_served(
    own_settings: dict[str, str], tmp_path: Path, sandbox: ServedSandbox
) -> None:
    with served_transit() as transit:
        new = transit.key("new")
        service = {"RENTGATE_HCVAULT_TOKEN": TOKEN}
        # First every process may open by the new key, then each wraps by it: none meets what it can't open.
        prepared = {**own_settings, **service, "RENTGATE_VAULT_OLD_KEYS": new}
        changed = {
            **prepared,
            "RENTGATE_VAULT_KEY": new,
            "RENTGATE_VAULT_OLD_KEYS": own_settings["RENTGATE_VAULT_KEY"],
        }
        with running_gateway(tmp_path / "log", "--no-worker", **prepared) as gateway:
            with gateway.client(ADMIN_TOKEN) as admin:
                tenant = Tenant.create(gateway.client, admin, sandbox)
                rotating = subprocess.Popen(
                    [sys.executable, "-m", "app.cli", "vault", "rotate", "--key"],
                    env=environment(**changed),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    cwd=PROJECT,
                )
                verify = f"/tenants/{tenant.id}/upstream-keys/{tenant.upstream_key_id}/verify"
                while rotating.poll() is None:
                    assert ok(tenant.http.post(verify))["status"] == "active"
                output, complaint = rotating.communicate()
                assert rotating.returncode == 0, complaint
                assert "1 of 1 done, 0 failed; finished" in output
                assert ok(tenant.http.post(verify))["status"] == "active"
                tenant.close()
        assert "vault.key_is_local" in (tmp_path / "log").read_text()
        shown = rentgate("vault", "status", **changed).stdout
        assert new in shown
        assert "current" in shown
        again = rentgate("vault", "rotate", "--tenants", **changed)
        assert "1 of 1 done" in again.stdout, again.stderr
        neither = rentgate("vault", "rotate", **changed)
        assert (neither.returncode, "--key or --tenants" in neither.stderr) == (2, True)


def test_a_key_service_that_is_away_is_a_503(
    own_settings: dict[str, str], tmp_path: Path, sandbox: ServedSandbox
) -> None:
    with served_transit() as transit:
        settings = {
            **own_settings,
            "RENTGATE_VAULT_KEY": transit.key("a"),
            "RENTGATE_HCVAULT_TOKEN": TOKEN,
            "RENTGATE_VAULT_CACHE_SECONDS": "0.01",
        }
        with running_gateway(tmp_path / "log", "--no-worker", **settings) as gateway:
            with gateway.client(ADMIN_TOKEN) as admin:
                tenant = Tenant.create(gateway.client, admin, sandbox)
                tenant.rent()
                transit.server.shutdown()
                transit.server.server_close()
                body = {"country": "GB", "service": "opt20", "period": {"unit": "week", "count": 1}}
                refused = tenant.http.post("/rentals", json=body)
                assert problem(refused, 503, "vault_unavailable")["retry_after"] == 1
                assert len(ok(tenant.http.get("/operations"))["items"]) == 1  # none for what was refused
                tenant.close()
        assert "vault.key_is_local" not in (tmp_path / "log").read_text()
