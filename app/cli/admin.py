"""`rentgate tenant` and `rentgate key`: administration from a shell, without the API."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal, InvalidOperation
from typing import Annotated, TypeVar
from uuid import UUID

import typer
from rich.table import Table

from app.accounts import balances, schedule
from app.audit import repository as audit
from app.audit.caller import Caller
from app.cli.terminal import complain, out
from app.database import PLATFORM, Access
from app.migrate import database_urls
from app.settings import Settings
from app.telemetry import configure_logging
from app.tenants import service as tenants
from app.tenants.scopes import Scope
from app.values import amount_text
from app.wiring import Services, services

T = TypeVar("T")
SHELL = "shell"
MOST_ROWS = 1000

tenant_commands = typer.Typer(no_args_is_help=True)
key_commands = typer.Typer(no_args_is_help=True)

TenantId = Annotated[UUID, typer.Argument(metavar="TENANT_ID")]
SpendLimit = Annotated[str | None, typer.Option(help="US dollars a calendar month.")]


def with_services(work: Callable[[Services], Awaitable[T]], *, log_level: str = "WARNING") -> T:
    """Do some work with the process's services, made for it and taken down after it."""
    settings = Settings()
    configure_logging(log_level)

    async def run() -> T:
        async with database_urls(settings) as urls, services(settings, urls.app) as built:
            return await work(built)

    return asyncio.run(run())


def _dollars(text: str | None) -> Decimal | None:
    try:
        amount = None if text is None else Decimal(text)
    except InvalidOperation:
        amount = Decimal(-1)
    if amount is not None and not (amount.is_finite() and 0 <= amount < 10**9):
        complain(f"{text} is no amount of US dollars.")
        raise typer.Exit(2)
    return amount


@tenant_commands.command("create")
def create_tenant(name: str, spend_limit: SpendLimit = None) -> None:
    """Make a tenant and print its id."""
    limit = _dollars(spend_limit)

    async def work(built: Services) -> UUID:
        async with built.database.transaction(PLATFORM) as connection:
            made = await tenants.create_tenant(connection, name=name, spend_limit=limit)
            audit.record(connection, Caller(made.id, SHELL), "tenant.create", target=made.id)
            return made.id

    typer.echo(with_services(work))


@tenant_commands.command("list")
def list_tenants() -> None:
    """List the tenants, newest first."""

    async def work(built: Services) -> list[tenants.Tenant]:
        async with built.database.transaction(PLATFORM) as connection:
            return await tenants.list_tenants(connection, limit=MOST_ROWS, before=None)

    table = Table("id", "name", "status", "spend limit", "created")
    for found in with_services(work):
        limit = "none" if found.spend_limit is None else amount_text(found.spend_limit)
        table.add_row(str(found.id), found.name, found.status, limit, f"{found.created_at:%Y-%m-%d %H:%M}")
    out.print(table)


@tenant_commands.command("suspend")
def suspend_tenant(tenant_id: TenantId) -> None:
    """Refuse all keys of a tenant from now on."""
    _set_status(tenant_id, tenants.SUSPENDED)


@tenant_commands.command("resume")
def resume_tenant(tenant_id: TenantId) -> None:
    """Accept a suspended tenant's keys again."""
    _set_status(tenant_id, tenants.ACTIVE)


def _set_status(tenant_id: UUID, status: str) -> None:
    async def work(built: Services) -> None:
        async with built.database.transaction(PLATFORM) as connection:
            await tenants.change_tenant(connection, tenant_id, {"status": status})
            caller = Caller(tenant_id, SHELL)
            audit.record(connection, caller, "tenant.update", target=tenant_id, details={"status": status})

    with_services(work)
    out.print(f"{tenant_id} is {status}.")


@key_commands.command("create")
def create_key(
    tenant_id: TenantId,
    name: str,
    scope: Annotated[
        list[Scope] | None, typer.Option(help="May be given several times; all if none.")
    ] = None,
) -> None:
    """Make an API key and print its token, which is shown this once."""

    async def work(built: Services) -> str:
        async with built.database.transaction(Access.tenant(tenant_id)) as connection:
            await tenants.get_tenant(connection, tenant_id)
            key, token = await tenants.create_api_key(
                connection, tenant_id, name=name, scopes=scope or list(Scope), expires_at=None
            )
            details = {"name": key.name, "scopes": list(key.scopes)}
            caller = Caller(tenant_id, SHELL)
            audit.record(connection, caller, "api_key.create", target=key.id, details=details)
            return token

    typer.echo(with_services(work))


@key_commands.command("list")
def list_keys(tenant_id: TenantId) -> None:
    """List a tenant's API keys and upstream keys."""

    async def work(built: Services) -> Table:
        table = Table("kind", "id", "name", "shown as", "state", "last used", "balance")
        async with built.database.transaction(Access.tenant(tenant_id)) as connection:
            await tenants.get_tenant(connection, tenant_id)
            for key in await tenants.list_api_keys(connection, tenant_id, limit=MOST_ROWS, before=None):
                used = "never" if key.last_used_at is None else f"{key.last_used_at:%Y-%m-%d %H:%M}"
                table.add_row("API key", str(key.id), key.name, f"{key.prefix}…", "active", used, "")
            found = await built.vault.listed(connection, tenant_id, limit=MOST_ROWS, before=None)
            left = await balances.of_accounts(connection, tenant_id, [stored.id for stored in found])
            for stored in found:
                used = "never" if stored.last_used_at is None else f"{stored.last_used_at:%Y-%m-%d %H:%M}"
                state = f"{stored.status}, default" if stored.default else stored.status
                shown = f"…{stored.last_four}"
                balance = _balance(left.get(stored.id, balances.UNKNOWN))
                table.add_row("upstream", str(stored.id), stored.label, shown, state, used, balance)
        return table

    out.print(with_services(work))


def _balance(found: balances.AccountBalance) -> str:
    """What was left on an account, and its mark."""
    parts = [] if found.amount is None else [amount_text(found.amount)]
    if found.low_balance_below is not None:
        parts.append(f"low below {amount_text(found.low_balance_below)}")
    return ", ".join(parts)


@key_commands.command("revoke")
def revoke_key(tenant_id: TenantId, key_id: UUID) -> None:
    """Refuse an API key from now on."""

    async def work(built: Services) -> None:
        async with built.database.transaction(Access.tenant(tenant_id)) as connection:
            await tenants.revoke_api_key(connection, tenant_id, key_id)
            audit.record(connection, Caller(tenant_id, SHELL), "api_key.revoke", target=key_id)

    with_services(work)
    out.print(f"{key_id} is revoked.")


@key_commands.command("add-upstream")
def add_upstream_key(
    tenant_id: TenantId,
    label: str,
    api_key: Annotated[
        str, typer.Option(prompt="Upstream API key", hide_input=True, envvar="SMSPVA_API_KEY", hidden=True)
    ],
    low_balance_below: Annotated[
        str | None, typer.Option(help="US dollars; the tenant is told when the balance falls below.")
    ] = None,
) -> None:
    """Store an upstream account's key, asked for at the terminal or read from SMSPVA_API_KEY."""
    mark = _dollars(low_balance_below)

    async def work(built: Services) -> UUID:
        async with built.database.transaction(Access.tenant(tenant_id)) as connection:
            await tenants.get_tenant(connection, tenant_id)
        await built.vault.make_ready(tenant_id)
        async with built.database.transaction(Access.tenant(tenant_id)) as connection:
            stored = await built.vault.add(
                connection, tenant_id, label=label, api_key=api_key.strip(), default=None
            )
            await schedule.enrol(connection, tenant_id, stored.id)
            await balances.set_mark(connection, Caller(tenant_id, SHELL), stored.id, mark)
            audit.record(connection, Caller(tenant_id, SHELL), "upstream_key.create", target=stored.id)
            return stored.id

    typer.echo(with_services(work))
