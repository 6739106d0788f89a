"""`rentgate operations`: the ledger from a shell, and settling by hand what is in review."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

import typer
from rich.table import Table

from app.cli.terminal import out
from app.cli.wired import MOST_ROWS, in_transaction, shell, transact, with_services
from app.database import PLATFORM, Access
from app.operations import lookup
from app.operations.operation import Operation
from app.operations.states import State
from app.settlement.resolution import resolve
from app.tenants import service as tenants
from app.values import amount_text
from app.wiring import Services

operation_commands = typer.Typer(no_args_is_help=True)

OfTenant = Annotated[UUID | None, typer.Option(help="Of this tenant only.")]


async def _found(built: Services, tenant_id: UUID | None, state: State | None) -> list[Operation]:
    """Operations of one tenant or of all, newest first within a tenant."""
    of = [tenant_id] if tenant_id else await transact(built.database, PLATFORM, tenants.tenant_ids)
    found: list[Operation] = []
    for one in of:
        found += await transact(
            built.database,
            Access.tenant(one),
            lookup.listed,
            one,
            state=state,
            kind=None,
            rental_id=None,
            limit=MOST_ROWS,
            before=None,
        )
    return found


@operation_commands.command("list")
def list_operations(
    tenant: OfTenant = None,
    state: Annotated[State | None, typer.Option(help="In this state only.")] = None,
) -> None:
    """List paid and changing calls, newest first."""
    table = Table("tenant", "id", "kind", "state", "price", "error", "created", "sent", "settled")
    for operation in with_services(lambda built: _found(built, tenant, state)):
        price = "" if operation.price is None else amount_text(operation.price)
        error = operation.error["code"] if operation.error else ""
        times = (operation.created_at, operation.sent_at, operation.settled_at)
        table.add_row(
            str(operation.tenant_id),
            str(operation.id),
            operation.kind,
            operation.state.value,
            price,
            error,
            *("" if at is None else f"{at:%m-%d %H:%M:%S}" for at in times),
        )
    out.print(table)


@operation_commands.command("review")
def review_operations(tenant: OfTenant = None) -> None:
    """Show the operations in review, each with the orders that it could have made."""
    found = with_services(lambda built: _found(built, tenant, State.REVIEW))
    for operation in found:
        out.print(
            f"[bold]{operation.id}[/] {operation.kind} of tenant {operation.tenant_id},"
            f" sent {operation.sent_at:%Y-%m-%d %H:%M:%S}, asked for {operation.request.get('country')}"
            f" {', '.join(operation.request.get('services', []))}"
        )
        for candidate in operation.candidates or ():
            facts = (f"{name} {value}" for name, value in candidate.items() if value is not None)
            out.print(f"  could be: {', '.join(facts)}", markup=False)
        out.print(
            f"  settle it: rentgate operations resolve {operation.tenant_id} {operation.id}"
            " succeeded --order <upstream_order_id>   (or: failed)",
            markup=False,
        )
    if not found:
        out.print("Nothing is in review.")


@operation_commands.command("resolve")
def resolve_operation(
    tenant_id: UUID,
    operation_id: UUID,
    outcome: Literal["succeeded", "failed"],
    order: Annotated[str | None, typer.Option(help="The upstream's order that it made.")] = None,
) -> None:
    """Settle an operation in review, as you found it to be at the upstream."""
    settled = in_transaction(
        Access.tenant(tenant_id),
        resolve,
        shell(tenant_id),
        operation_id,
        succeeded=outcome == "succeeded",
        upstream_order_id=order,
    )
    out.print(f"{operation_id} is {settled.state.value}.")
