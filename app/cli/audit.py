"""`rentgate audit`: verify, export and prune the audit trails from a shell."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import typer
from psycopg.errors import InsufficientPrivilege
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit import seals
from app.audit.export import export
from app.audit.seals import Head
from app.audit.verification import Verdict, verify
from app.cli.terminal import complain, out
from app.cli.wired import transact, with_services
from app.database import PLATFORM, Access, Database
from app.errors import RentgateError
from app.idempotency.repository import NO_TENANT
from app.migrate import database_urls
from app.settings import Settings
from app.tenants import service as tenants
from app.wiring import Services


class PruningRefused(RentgateError):
    """Rows can only be removed in the name of the database's owner."""

    title = "Pruning was refused"
    remedy = "Set RENTGATE_DATABASE_OWNER_URL to the user that `rentgate migrate` uses."


audit_commands = typer.Typer(no_args_is_help=True)

OfTenant = Annotated[UUID | None, typer.Option(help="Of this tenant only; of all, and the platform's own.")]
Moment = Annotated[datetime | None, typer.Option(help="As 2026-11-23 or 2026-11-23T10:00:00, in UTC.")]


@audit_commands.command("verify")
def verify_trails(
    tenant: OfTenant = None,
    noted: Annotated[
        str | None, typer.Option(help="A newest seal that was noted before; the trail has to contain it.")
    ] = None,
) -> None:
    """Check every seal; prints each trail's newest one, to be noted elsewhere. Exits with 1 on a finding."""
    if noted is not None and tenant is None:
        complain("--noted is about one trail: name its --tenant.")
        raise typer.Exit(2)
    known = None if noted is None else _head(noted)

    async def work(built: Services) -> dict[UUID, Verdict]:
        keyed = await built.audit_hash()
        verdicts = {}
        for tenant_id in await _trails(built.database, tenant):
            verdicts[tenant_id] = await transact(
                built.database, Access.sealer(tenant_id), verify, tenant_id, keyed, noted=known
            )
        return verdicts

    verdicts = with_services(work)
    for tenant_id, verdict in verdicts.items():
        found = f"{len(verdict.findings)} findings" if verdict.findings else "ok"
        typer.echo(
            f"{tenant_id}: {found}; {verdict.checked} sealed rows, {verdict.waiting} waiting;"
            f" newest seal {verdict.head}"
        )
        for finding in verdict.findings:
            place = "" if finding.position is None else f" at seal {finding.position}"
            typer.echo(f"  {finding.what}{place}" + (f": {finding.audit_id}" if finding.audit_id else ""))
    if any(verdict.findings for verdict in verdicts.values()):
        raise typer.Exit(1)


@audit_commands.command("export")
def export_trails(tenant: OfTenant = None, since: Moment = None, until: Moment = None) -> None:
    """Write rows as NDJSON to standard output, each trail's oldest first."""

    async def write(connection: AsyncConnection, tenant_id: UUID) -> None:
        async for row in export(connection, tenant_id, _utc(since), _utc(until)):
            typer.echo(json.dumps(row, ensure_ascii=False))

    async def work(built: Services) -> None:
        for tenant_id in await _trails(built.database, tenant):
            await transact(built.database, Access.tenant(tenant_id), write, tenant_id)

    with_services(work)


@audit_commands.command("prune")
def prune_trails(
    before: Annotated[datetime, typer.Option(help="Rows that are older go; as 2026-11-23, in UTC.")],
    tenant: OfTenant = None,
) -> None:
    """Remove old sealed rows, as the database's owner; what is left can still be verified."""
    settings = Settings()

    async def run() -> None:
        async with database_urls(settings) as urls:
            database, owner = Database(urls.app), Database(urls.owner)
            try:
                for tenant_id in await _trails(database, tenant):
                    until = before.replace(tzinfo=UTC)
                    gone = await transact(owner, Access.owner(tenant_id), seals.prune, tenant_id, until)
                    out.print(f"{tenant_id}: {gone} rows removed")
            except ProgrammingError as error:
                if isinstance(error.orig, InsufficientPrivilege):
                    raise PruningRefused(
                        "The database user may not remove rows of the audit trail."
                    ) from None
                raise
            finally:
                await database.aclose()
                await owner.aclose()

    asyncio.run(run())


async def _trails(database: Database, tenant_id: UUID | None) -> Sequence[UUID]:
    """The one that was named, or all tenants' and the platform's own.

    Raises:
        NotFound: there is no such tenant.
    """
    if tenant_id is not None:
        if tenant_id != NO_TENANT:
            await transact(database, Access.tenant(tenant_id), tenants.get_tenant, tenant_id)
        return [tenant_id]
    return [NO_TENANT, *await transact(database, PLATFORM, tenants.tenant_ids)]


def _head(text: str) -> Head:
    try:
        return Head.parse(text)
    except ValueError:
        complain(f"{text} is no seal: give what `rentgate audit verify` printed, such as 12:ab34….")
        raise typer.Exit(2) from None


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)
