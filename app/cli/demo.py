"""`rentgate demo`: everything on one machine, set up and running, with a curl line for each step."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import urllib.request
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import SecretStr

from app.cli.servers import Server, bound, run_to_end, server, stop_on_signals
from app.cli.terminal import complain, out
from app.database.embedded import EmbeddedPostgres
from app.main import create_app
from app.sandbox import SandboxOptions, create_sandbox
from app.settings import Settings
from app.telemetry import configure_logging

DEMO_DEFAULTS: Mapping[str, float] = {
    # The sandbox has no feelings about its pace, and a person is watching.
    "upstream_rate": 20.0,
    "upstream_burst": 20,
    "balance_rate": 1.0,
    "sync_interval": 1.0,
    "sync_idle_interval": 3.0,
}


Access = Mapping[str, str]
"""What a person needs to try the gateway, by the names of the shell's variables for it."""


def demo(
    port: Annotated[int, typer.Option(help="The gateway's port.", min=0, max=65535)] = 8000,
) -> None:
    """Run the gateway with an embedded Postgres and a sandbox upstream, and show how to use it."""
    run_to_end(_demo(Settings(), port))


async def _demo(given: Settings, port: int) -> None:
    stop = asyncio.Event()
    stop_on_signals(stop)
    listener = bound("127.0.0.1", port)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    env_file = given.data_dir / "demo.env"
    env_file.unlink(missing_ok=True)
    data_dir = given.data_dir / f"demo-{listener.getsockname()[1]}"

    _step("starting from nothing")
    await asyncio.to_thread(_clear, data_dir)
    log_file = given.data_dir / "demo.log"
    log_file.unlink(missing_ok=True)
    configure_logging(given.log_level, file=log_file)

    _step("starting the sandbox upstream")
    upstream_listener = bound("127.0.0.1", 0)
    sandbox_url = f"http://127.0.0.1:{upstream_listener.getsockname()[1]}"
    upstream_key = secrets.token_hex(16)
    sandbox = server(create_sandbox(SandboxOptions(accounts={upstream_key: Decimal(500)})), grace=1)
    sandbox_task = asyncio.ensure_future(sandbox.serve(sockets=[upstream_listener]))

    _step("starting Postgres, and the gateway with its worker")
    admin = given.admin_token or SecretStr(secrets.token_urlsafe(32))
    settings = _demo_settings(given, data_dir, sandbox_url, admin)
    gateway = server(create_app(settings))
    gateway_task = asyncio.ensure_future(gateway.serve(sockets=[listener]))
    try:
        if not await _started(gateway, gateway_task, stop):
            if not stop.is_set():
                complain("The gateway did not start.", f"See {log_file}.")
                raise typer.Exit(1)
            return
        _step("making a tenant, its upstream key and its API key")
        access = await asyncio.to_thread(_set_up, url, admin.get_secret_value(), upstream_key, sandbox_url)
        _write_env(env_file, access)
        _explain(url, env_file)
        await stop.wait()
    finally:
        env_file.unlink(missing_ok=True)
        _step("stopping")
        gateway.should_exit = True
        await asyncio.wait({gateway_task})
        sandbox.should_exit = True
        await asyncio.wait({sandbox_task})
    _step("stopped; nothing is left running")


def _demo_settings(given: Settings, data_dir: Path, sandbox_url: str, admin: SecretStr) -> Settings:
    """The caller's own settings where there are any, on a database and an upstream of the demo."""
    defaults = {name: value for name, value in DEMO_DEFAULTS.items() if name not in given.model_fields_set}
    own: dict[str, Any] = {
        **given.model_dump(exclude_unset=True),
        **defaults,
        "data_dir": data_dir,
        "database_url": None,
        "database_owner_url": None,
        "database_listen_url": None,
        "vault_key": None,
        "vault_old_keys": None,
        "redis_url": None,
        "admin_token": admin,
        "upstream_url": f"{sandbox_url}/rent.php",
        "balance_url": f"{sandbox_url}/activation/balance",
    }
    return Settings(_env_file=None, **own)


def _clear(data_dir: Path) -> None:
    """Forget an earlier demo; a server that it left running is stopped first."""
    if data_dir.exists():
        left_over = EmbeddedPostgres(data_dir.absolute(), durable=False)
        left_over.start()
        left_over.stop()
        shutil.rmtree(data_dir)
    data_dir.mkdir(parents=True)


async def _started(gateway: Server, task: asyncio.Task[None], stop: asyncio.Event) -> bool:
    while not gateway.started:
        if task.done() or stop.is_set():
            return False
        await asyncio.sleep(0.05)
    return True


def _set_up(url: str, admin_token: str, upstream_key: str, sandbox_url: str) -> Access:
    """Make the demo's tenant over HTTP, as a platform would."""
    tenant = _post(f"{url}/tenants", admin_token, {"name": "demo", "spend_limit": {"amount": "400.00"}})
    keys = f"{url}/tenants/{tenant['id']}"
    _post(f"{keys}/upstream-keys", admin_token, {"label": "sandbox", "api_key": upstream_key})
    scopes = ["catalog:read", "rentals:read", "rentals:write", "audit:read", "keys:manage", "webhooks:manage"]
    api_key = _post(f"{keys}/api-keys", admin_token, {"name": "demo", "scopes": scopes})
    return {
        "RENTGATE_URL": url,
        "RENTGATE_TOKEN": api_key["token"],
        "RENTGATE_ADMIN_TOKEN": admin_token,
        "RENTGATE_TENANT_ID": tenant["id"],
        "SANDBOX_URL": sandbox_url,
    }


def _post(url: str, token: str, body: Mapping[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(  # noqa: S310
        url,
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
        answer: dict[str, Any] = json.load(response)
        return answer


def _write_env(path: Path, access: Access) -> None:
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.writelines(f"{name}={value}\n" for name, value in access.items())
    temporary.replace(path)


def _step(text: str) -> None:
    out.print(f"[dim]·[/] {text}")


def _explain(url: str, env_file: Path) -> None:
    steps = (
        ("Load the addresses and tokens into your shell", f". {env_file}"),
        (
            "Countries, and what can be rented in one of them",
            f"{_curl('/countries')}\n{_curl('/countries/GB/services?unit=week&count=1')}",
        ),
        (
            "Rent a number for WhatsApp for a week, and have it activated",
            f"RENTAL=$({_curl('/rentals', post=_PURCHASE, key='demo-1')} | tee /dev/stderr"
            ' | grep -o \'"id":"[^"]*"\' | head -1 | cut -d\'"\' -f4)',
        ),
        ("The rental: after some seconds its number_state is active", _curl("/rentals/$RENTAL")),
        (
            "Its SMS: one comes by itself about 15 s after the activation",
            _curl("/rentals/$RENTAL/sms?wait=30"),
        ),
        (
            "What happened (with -H 'Accept: text/event-stream' as a stream), and the audit trail",
            f"{_curl('/events')}\n{_curl('/audit-logs')}",
        ),
        (
            "Let 8 days pass in the sandbox, and restore the rental after its end",
            "curl -sS -X POST \"$SANDBOX_URL/control/time\" -H 'Content-Type: application/json'"
            " -d '{\"seconds\": 691200}'\n"
            f"{_curl('/rentals/$RENTAL/restore-quote')}\n{_curl('/rentals/$RENTAL/restore', post='{}')}",
        ),
        ("What it cost", _curl("/me")),
    )
    out.print(f"\n[bold green]rentgate is ready:[/] {url} (docs: {url}/docs)\n")
    for number, (title, lines) in enumerate(steps, 1):
        out.print(f"[bold]{number}. {title}[/]")
        out.print(f"{lines}\n", markup=False)
    out.print("Ctrl-C stops everything.")


_PURCHASE = (
    '{"country": "GB", "service": "opt20", "period": {"unit": "week", "count": 1},'
    ' "activate": true, "max_price": "20.00"}'
)


def _curl(path: str, *, post: str | None = None, key: str | None = None) -> str:
    parts = [f'curl -sS "$RENTGATE_URL{path}" -H "Authorization: Bearer $RENTGATE_TOKEN"']
    if key is not None:
        parts.append(f"-H 'Idempotency-Key: {key}'")
    if post is not None:
        parts.append(f"-H 'Content-Type: application/json' -d '{post}'")
    return " ".join(parts)
