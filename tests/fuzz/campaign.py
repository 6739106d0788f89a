"""One campaign: a gateway with the sandbox behind it, and schemathesis on every operation of its document."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from app.sandbox.faults import Fault, FaultKind
from tests.acceptance.conftest import ADMIN_TOKEN, Gateway
from tests.acceptance.tenant import Tenant
from tests.conftest import PROJECT
from tests.served import ServedSandbox

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")

PHASES = "examples,coverage,fuzzing,stateful"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the document, and in whose name it is fuzzed."""

    name: str
    paths: str
    headers: tuple[str, ...]


def parts(tenant: Tenant, admin_token: str) -> list[Part]:
    """The tenant's own operations with its key, which can't manage keys and so can't revoke itself; and the
    administration with the administrator's token.
    """
    return [
        Part("tenant", "^/(?!tenants|platform-keys)", (f"Authorization: Bearer {tenant.token}",)),
        Part("admin", "^/(tenants|platform-keys)", (f"Authorization: Bearer {admin_token}",)),
    ]


def tenant_for_fuzzing(gateway: Gateway, sandbox: ServedSandbox) -> Tenant:
    """A tenant that can't run out of money, with a key that can do all but manage keys."""
    with gateway.client(ADMIN_TOKEN) as admin:
        tenant = Tenant.create(gateway.client, admin, sandbox)
        tenant.account.balance = Decimal(10**9)
        scopes = ["catalog:read", "rentals:read", "rentals:write", "webhooks:manage", "audit:read"]
        made = admin.post(f"/tenants/{tenant.id}/api-keys", json={"name": "fuzz", "scopes": scopes})
        tenant.token = made.raise_for_status().json()["token"]
    return tenant


def fuzz(
    gateway: Gateway,
    part: Part,
    folder: Path,
    *,
    seed: int,
    examples: int | None = None,
    seconds: int | None = None,
    excluded: tuple[str, ...] = (),
    phases: str = PHASES,
) -> str:
    """Run schemathesis over a part of the document; returns what it found, nothing if all is well.

    Args:
        examples: how many requests to make up for each operation; or
        seconds: for how long to go on.
    """
    bounds = ["--max-examples", str(examples)] if examples else ["--max-time", str(seconds)]
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        *("--config-file", str(CONFIGURATION)),
        "run",
        str(PROJECT / "openapi" / "openapi.json"),
        *("--url", gateway.url),
        *(("--exclude-checks", ",".join(excluded)) if excluded else ()),
        *("--phases", phases),
        *("--include-path-regex", part.paths),
        *(argument for header in part.headers for argument in ("--header", header)),
        *("--seed", str(seed)),
        *("--warnings", "off"),
        *("--request-timeout", "30"),
        "--continue-on-failure",
        "--no-color",
        *bounds,
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@contextmanager
def faults(tenant: Tenant, seed: int) -> Iterator[None]:
    """Have calls of the tenant's account, and keyless ones, go wrong in every way until the block ends."""
    stop, chance = threading.Event(), random.Random(seed)
    waiting = tenant.sandbox.sandbox.faults.waiting

    def play() -> None:
        while not stop.wait(0.05):
            if len(waiting) < 5:
                account = chance.choice([tenant.upstream_key[-8:], None])
                kind = chance.choice(list(FaultKind))
                when = "before" if kind in (FaultKind.REFUSE, FaultKind.RATE_LIMIT) else "after"
                waiting.append(Fault(account=account, kind=kind, when=when, seconds=2))

    player = threading.Thread(target=play)
    player.start()
    try:
        yield
    finally:
        stop.set()
        player.join()
        waiting.clear()


def crashes(gateway: Gateway) -> list[str]:
    """The routes that answered 500, as the gateway's log has them."""
    return [
        f"{line['method']} {line['route']}: 500"
        for line in gateway.log_lines()
        if line["event"] == "request" and line["status"] == 500
    ]
