"""`rentgate tenant` and `rentgate key`: administration from a shell, without the API."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated
from uuid import UUID

import typer
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.balances import AccountBalance
from app.cli.terminal import complain, out
from app.cli.wired import MOST_ROWS, in_transaction, shell, transact, with_services
from app.database import PLATFORM, Access
from app.idempotency.repository import NO_TENANT
from app.tenants import service as tenants
from app.tenants.scopes import Scope
from app.upstream_accounts.service import AccountSettings, UpstreamAccounts
from app.values import amount_text
from app.wiring import Services

tenant_commands = typer.Typer(no_args_is_help=True)
key_commands = typer.Typer(no_args_is_help=True)

TenantId = Annotated[UUID, typer.Argument(metavar="TENANT_ID")]
SpendLimit = Annotated[str | None, typer.Option(help="US dollars a calendar month.")]


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
    made = in_transaction(PLATFORM, tenants.create_tenant, shell(NO_TENANT), name=name, spend_limit=limit)
    typer.echo(made.id)


@tenant_commands.command("list")
def list_tenants() -> None:
    """List the tenants, newest first."""
    table = Table("id", "name", "status", "spend limit", "created")
    for found in in_transaction(PLATFORM, tenants.list_tenants, limit=MOST_ROWS, before=None):
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
    in_transaction(PLATFORM, tenants.change_tenant, shell(tenant_id), tenant_id, {"status": status})
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

    async def create(connection: AsyncConnection) -> str:
        await tenants.get_tenant(connection, tenant_id)
        _, token = await tenants.create_api_key(
            connection, shell(tenant_id), name=name, scopes=scope or list(Scope), expires_at=None
        )
        return token

    typer.echo(in_transaction(Access.tenant(tenant_id), create))


@key_commands.command("list")
def list_keys(tenant_id: TenantId) -> None:
    """List a tenant's API keys and upstream keys."""

    table = Table("kind", "id", "name", "shown as", "state", "last used", "balance")

    async def fill(connection: AsyncConnection, accounts: UpstreamAccounts) -> None:
        await tenants.get_tenant(connection, tenant_id)
        for key in await tenants.list_api_keys(connection, tenant_id, limit=MOST_ROWS, before=None):
            used, shown = _moment(key.last_used_at), f"{key.prefix}…"
            table.add_row("API key", str(key.id), key.name, shown, "active", used, "")
        for account in await accounts.listed(connection, tenant_id, limit=MOST_ROWS, before=None):
            stored, used = account.key, _moment(account.key.last_used_at)
            state = f"{stored.status}, default" if stored.default else stored.status
            shown, balance = f"…{stored.last_four}", _balance(account.balance)
            table.add_row("upstream", str(stored.id), stored.label, shown, state, used, balance)

    with_services(
        lambda built: transact(built.database, Access.tenant(tenant_id), fill, built.upstream_accounts)
    )
    out.print(table)


def _moment(used: datetime | None) -> str:
    return "never" if used is None else f"{used:%Y-%m-%d %H:%M}"


def _balance(found: AccountBalance) -> str:
    """What was left on an account, and its mark."""
    parts = [] if found.amount is None else [amount_text(found.amount)]
    if found.low_balance_below is not None:
        parts.append(f"low below {amount_text(found.low_balance_below)}")
    return ", ".join(parts)


@key_commands.command("revoke")
def revoke_key(tenant_id: TenantId, key_id: UUID) -> None:
    """Refuse an API key from now on."""
    in_transaction(Access.tenant(tenant_id), tenants.revoke_api_key, shell(tenant_id), key_id)
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
    settings = AccountSettings(label=label, low_balance_below=_dollars(low_balance_below))

    async def work(built: Services) -> UUID:
        accounts = built.upstream_accounts
        secret = await accounts.secret(tenant_id, api_key.strip())
        access, caller = Access.tenant(tenant_id), shell(tenant_id)
        added = await transact(built.database, access, accounts.add, caller, secret, settings)
        return added.id

    typer.echo(with_services(work))
