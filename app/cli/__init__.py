"""The `rentgate` command: serve, work, migrate, look, and administrate from a shell."""

from __future__ import annotations

import sys

import typer
from pydantic import ValidationError

from app.cli import admin, audit, demo, doctor, operations, probe, running, top, vault
from app.cli.terminal import complain
from app.errors import RentgateError

app = typer.Typer(name="rentgate", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command()(running.serve)
app.command()(running.worker)
app.command()(running.migrate)
app.command()(running.sandbox)
app.command()(running.openapi)
app.command()(doctor.doctor)
app.command()(demo.demo)
app.command(context_settings={"allow_extra_args": True})(probe.probe)
app.command()(top.top)
app.add_typer(admin.tenant_commands, name="tenant", help="Make, list and change tenants.")
app.add_typer(admin.key_commands, name="key", help="Make, list and revoke API keys; store upstream keys.")
app.add_typer(audit.audit_commands, name="audit", help="Verify, export and prune the audit trails.")
app.add_typer(operations.operation_commands, name="operations", help="The ledger of paid calls.")

app.add_typer(
    vault.vault_commands, name="vault", help="The keys of the vault: rotate them, and see how far that is."
)


def main() -> None:
    """Run the command; what goes wrong is said plainly, and never with a secret in it."""
    try:
        app()
    except RentgateError as error:
        fields = "".join(f" {field.location}: {field.message}" for field in error.fields)
        complain(error.detail + fields, error.remedy)
        sys.exit(1)
    except ValidationError as error:
        for wrong in error.errors(include_input=False, include_url=False):
            name = "_".join(["RENTGATE", *(str(part) for part in wrong["loc"])]).upper()
            complain(f"{name}: {wrong['msg']}", "Mend the environment variable, or its line in .env.")
        sys.exit(1)
