"""The running gateway over HTTP: its own process, its own database, the sandbox upstream behind it."""

from __future__ import annotations

import json
import os
import secrets
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.sandbox import SandboxOptions
from tests.acceptance.tenant import Tenant
from tests.conftest import MakeDatabase, new_vault_key
from tests.ports import free_port
from tests.processes import Command, Forked, fresh
from tests.served import ServedSandbox

ADMIN_TOKEN = "admin-" + secrets.token_hex(24)

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients of plain HTTP: to load the authorities that a context of its own would trust takes 30 ms."""

QUICK = {
    "RENTGATE_UPSTREAM_RATE": "0",
    "RENTGATE_UPSTREAM_GLOBAL_RATE": "0",
    "RENTGATE_UPSTREAM_TIMEOUT": "2.5",
    "RENTGATE_PURCHASE_WAIT": "3",
    "RENTGATE_SYNC_INTERVAL": "0.2",
    "RENTGATE_SYNC_IDLE_INTERVAL": "0.4",
    "RENTGATE_RECONCILE_SECONDS": "1",
    "RENTGATE_OFFERS_TTL": "0.05",
    "RENTGATE_COUNTRIES_TTL": "0.05",
}


class Gateway:
    """A running `rentgate serve`."""

    def __init__(self, port: int, log: Path, arguments: tuple[str, ...], *, forked: bool = True) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        self._arguments = ("serve", "--port", str(port), *arguments)
        self._started = Forked if forked else fresh

    def start(self, settings: dict[str, str]) -> None:
        """Start the process with these settings, and wait until it answers."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RENTGATE_")}
        self.process: Command = self._started(self._arguments, {**inherited, **QUICK, **settings}, self.log)
        try:
            _wait_until_it_answers(self)
        except BaseException:
            self.process.kill()
            raise

    def client(self, token: str | None = None, **headers: str) -> httpx.Client:
        """A client, with a token or without."""
        given = dict(headers) if token is None else {"Authorization": f"Bearer {token}", **headers}
        return httpx.Client(base_url=self.url, headers=given, timeout=30, verify=NO_TLS)

    def metrics(self) -> str:
        """What it gives at `/metrics`."""
        with self.client() as http:
            return http.get("/metrics").text

    def log_lines(self) -> list[dict[str, Any]]:
        """What it logged so far; each line is a JSON object."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@contextmanager
def running_gateway(log: Path, *arguments: str, **settings: str) -> Iterator[Gateway]:
    """A gateway in its own process with these settings; ended in order."""
    with _running(Gateway(free_port(), log, arguments), settings) as gateway:
        yield gateway


@contextmanager
def fresh_gateway(log: Path, *arguments: str, **settings: str) -> Iterator[Gateway]:
    """Likewise, started from nothing: where it matters what its process is like."""
    with _running(Gateway(free_port(), log, arguments, forked=False), settings) as gateway:
        yield gateway


@contextmanager
def _running(gateway: Gateway, settings: dict[str, str]) -> Iterator[Gateway]:
    gateway.start(settings)
    try:
        yield gateway
    finally:
        gateway.process.terminate()
        gateway.process.wait(90)


def _wait_until_it_answers(gateway: Gateway) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert gateway.process.poll() is None, gateway.log.read_text()[-3000:]
        try:
            httpx.get(f"{gateway.url}/healthz", verify=NO_TLS).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the gateway did not answer")


@pytest.fixture(scope="session")
def served_sandbox() -> Iterator[ServedSandbox]:
    """The upstream of the process's tests."""
    options = SandboxOptions(activation_seconds=0.3, sms_seconds=0.3, stock=10_000)
    with ServedSandbox(options) as served:
        yield served


@pytest.fixture
def sandbox(served_sandbox: ServedSandbox) -> Iterator[ServedSandbox]:
    """The upstream; each test has an account of its own in it, and leaves no fault to the next one."""
    shape = served_sandbox.sandbox.shape
    yield served_sandbox
    served_sandbox.sandbox.faults.waiting.clear()
    served_sandbox.sandbox.shape = shape


def settings_for(app_url: str, sandbox: ServedSandbox) -> dict[str, str]:
    """What a gateway needs to run on a database and a sandbox."""
    return {
        "RENTGATE_DATABASE_URL": app_url,
        "RENTGATE_VAULT_KEY": new_vault_key(),
        "RENTGATE_ADMIN_TOKEN": ADMIN_TOKEN,
        "RENTGATE_UPSTREAM_URL": sandbox.url,
    }


@pytest.fixture
def settings(make_database: MakeDatabase, sandbox: ServedSandbox) -> dict[str, str]:
    """The settings of a gateway of the test's own."""
    return settings_for(make_database().app, sandbox)


@pytest.fixture(scope="session")
def gateway(
    make_database: MakeDatabase, served_sandbox: ServedSandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """The gateway that most tests share."""
    log = tmp_path_factory.mktemp("gateway") / "log.jsonl"
    with running_gateway(log, **settings_for(make_database().app, served_sandbox)) as running:
        yield running
    lines = running.log_lines()
    assert not [line for line in lines if line["level"] == "error"]
    text = log.read_text()
    assert ADMIN_TOKEN not in text
    for account in served_sandbox.sandbox.world.accounts:
        assert account not in text


@pytest.fixture
def admin(gateway: Gateway) -> Iterator[httpx.Client]:
    """The administrator."""
    with gateway.client(ADMIN_TOKEN) as client:
        yield client


MakeTenant = Callable[..., Tenant]


@pytest.fixture
def make_tenant(gateway: Gateway, admin: httpx.Client, sandbox: ServedSandbox) -> Iterator[MakeTenant]:
    """Makes tenants with an upstream account and an API key; their accounts are closed after the test."""
    made: list[Tenant] = []

    def make(**body: Any) -> Tenant:
        tenant = Tenant.create(gateway.client, admin, sandbox, **body)
        made.append(tenant)
        return tenant

    yield make
    for tenant in made:
        tenant.close()


@pytest.fixture
def tenant(make_tenant: MakeTenant) -> Tenant:
    """One tenant with 500 US dollars at the upstream."""
    return make_tenant()
