"""Limits that several gateways share through a real Redis, and go on without it."""

from __future__ import annotations

import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.acceptance.conftest import ADMIN_TOKEN, Gateway, running_gateway
from tests.acceptance.tenant import SCOPES, Tenant, eventually, ok, problem
from tests.ports import free_port
from tests.served import ServedSandbox

PASSWORD = secrets.token_hex(16)
PATIENCE = 5.0
"""Seconds that a request may take on a loaded machine; one that waited for Redis would take longer."""


class Redis:
    """A Redis of the test's own, which keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self.url = f"redis://:{PASSWORD}@127.0.0.1:{self._port}/1"

    def start(self) -> None:
        """Start it, empty, on its port, and wait until it listens."""
        program = shutil.which("redis-server")
        assert program, "redis-server is not installed; `make test-services` installs it"
        settings = {"port": str(self._port), "bind": "127.0.0.1", "dir": str(self._folder), "save": ""}
        options = [word for name, value in settings.items() for word in (f"--{name}", value)]
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [program, *options, "--requirepass", PASSWORD], stdout=log, stderr=log, cwd=self._folder
            )
        eventually(self._listens, bool)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    def kill(self) -> None:
        """End it without a word."""
        self.process.kill()
        self.process.wait()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    """A running Redis."""
    folder = tmp_path / "redis"
    folder.mkdir()
    server = Redis(folder)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def gateways(redis: Redis, settings: dict[str, str], tmp_path: Path) -> Iterator[list[Gateway]]:
    """Two gateway processes on one database and one Redis."""
    settings |= {
        "RENTGATE_REDIS_URL": redis.url,
        "RENTGATE_RATE_LIMIT": "30",
        "RENTGATE_TENANT_RATE_LIMIT": "40",
    }
    with ExitStack() as stack:
        yield [
            stack.enter_context(running_gateway(tmp_path / f"log{number}", "--no-worker", **settings))
            for number in range(2)
        ]
    for number in range(2):
        assert PASSWORD not in (tmp_path / f"log{number}").read_text()


@pytest.fixture
def tenant(gateways: list[Gateway], sandbox: ServedSandbox) -> Iterator[Tenant]:
    """A tenant that the first gateway made."""
    with gateways[0].client(ADMIN_TOKEN) as admin:
        made = Tenant.create(gateways[0].client, admin, sandbox, with_account=False)
        yield made
        made.close()


def left(answer: httpx.Response, policy: str) -> int:
    """What an answer says is left of a policy's requests."""
    told = dict(item.split(";", 1) for item in answer.headers["RateLimit"].split(", "))
    return int(told[f'"{policy}"'].removeprefix("r=").partition(";")[0])


def me(gateway: Gateway, token: str, times: int) -> list[httpx.Response]:
    """The answers to some requests in a row; none takes long."""
    with gateway.client(token) as client:
        answers = []
        for _ in range(times):
            started = time.monotonic()
            answers.append(client.get("/me"))
            assert time.monotonic() - started < PATIENCE
        return answers


def statuses(gateway: Gateway, token: str, times: int) -> list[int]:
    return [answer.status_code for answer in me(gateway, token, times)]


def not_shared(gateway: Gateway) -> float:
    """What the gateway's metrics say of its limits."""
    lines = gateway.metrics().splitlines()
    return float(next(line for line in lines if line.startswith("rentgate_limits_not_shared")).split()[1])


def test_two_gateways_share_the_limits_of_a_key_and_of_its_tenant(
    gateways: list[Gateway], tenant: Tenant
) -> None:
    first, second = gateways
    body = {"name": "second", "scopes": SCOPES}
    other = ok(tenant.admin.post(f"/tenants/{tenant.id}/api-keys", json=body), 201)["token"]

    assert statuses(first, tenant.token, 20) == [200] * 20
    answers = me(second, tenant.token, 11)
    assert [answer.status_code for answer in answers] == [200] * 10 + [429]
    assert (left(answers[0], "key"), left(answers[0], "tenant")) == (9, 19)
    assert answers[0].headers["RateLimit-Policy"] == '"key";q=30;w=60, "tenant";q=40;w=60'
    refused = problem(answers[-1], 429, "rate_limited")
    assert "key" in refused["detail"]
    assert 1 <= refused["retry_after"] <= 60

    assert statuses(first, other, 5) == [200] * 5
    answers = me(second, other, 6)
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert "tenant" in problem(answers[-1], 429, "rate_limited")["detail"]
    assert left(answers[-1], "tenant") == 0
    assert [not_shared(gateway) for gateway in gateways] == [0, 0]


def test_wrong_tokens_are_counted_over_all_gateways(gateways: list[Gateway], tenant: Tenant) -> None:
    first, second = gateways
    assert statuses(first, "rg_wrong", 15) == [401] * 15
    assert statuses(second, "rg_wrong", 7) == [401] * 5 + [429] * 2
    assert statuses(first, "rg_wrong", 1) == [429]
    assert statuses(second, tenant.token, 3) == [200] * 3


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hanging"])
def test_without_redis_each_goes_on_for_itself_until_it_is_back(
    gateways: list[Gateway], tenant: Tenant, redis: Redis, how: signal.Signals
) -> None:
    first, second = gateways
    assert statuses(first, tenant.token, 10) == [200] * 10
    assert left(me(second, tenant.token, 1)[0], "key") == 19

    redis.process.send_signal(how)
    for gateway in gateways:
        answers = me(gateway, tenant.token, 31)
        assert [answer.status_code for answer in answers] == [200] * 30 + [429]
        assert not_shared(gateway) == 1
        away = [line for line in gateway.log_lines() if line["event"] == "limits.redis_away"]
        assert [line["level"] for line in away] == ["warning"]

    if how is signal.SIGKILL:
        redis.process.wait()
        redis.start()
    else:
        redis.process.send_signal(signal.SIGCONT)
    for gateway in gateways:
        eventually(partial(_not_shared_when_asked, gateway), lambda found: found == 0)
    body = {"name": "fresh", "scopes": SCOPES}
    fresh = ok(tenant.admin.post(f"/tenants/{tenant.id}/api-keys", json=body), 201)["token"]
    assert left(me(first, fresh, 1)[0], "key") == 29
    assert left(me(second, fresh, 1)[0], "key") == 28


def _not_shared_when_asked(gateway: Gateway) -> float:
    """Likewise after a request that had something to count."""
    statuses(gateway, "rg_wrong", 1)
    return not_shared(gateway)
