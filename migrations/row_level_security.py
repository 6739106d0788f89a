"""Row-level security in words: who may do what with which table, as migrations apply it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import op

APP, WORKER, PLATFORM = "rentgate_app", "rentgate_worker", "rentgate_platform"

THIS_TENANT = "nullif(current_setting('rentgate.tenant_id', true), '')::uuid"
"""The tenant that the transaction set for itself; null, which equals nothing, when it set none."""

THIS_TOKEN = "decode(current_setting('rentgate.token_hash', true), 'hex')"  # noqa: S105
"""The hash of the bearer token that a request came with."""

NO_TENANT = "tenant_id = '00000000-0000-0000-0000-000000000000'"
"""Rows that belong to no tenant: the administrator's own."""


def protect(table: str) -> None:
    """Let nobody, not even the owner, see a row of the table without a policy."""
    op.execute(f"alter table {table} enable row level security")
    op.execute(f"alter table {table} force row level security")


@contextmanager
def every_row(*tables: str) -> Iterator[None]:
    """Let a migration read and change these tables' rows of all tenants within the block; what protects them
    hides them from the owner, who migrates, too.
    """
    for table in tables:
        op.execute(f"alter table {table} no force row level security")
    yield
    for table in tables:
        op.execute(f"alter table {table} force row level security")


def fence(table: str, privileges: str, *, column: str = "tenant_id") -> None:
    """Give the app a tenant table's rows of the transaction's tenant, with these privileges."""
    protect(table)
    allow(table, APP, privileges, where=f"{column} = {THIS_TENANT}")


def allow(table: str, role: str, privileges: str, *, where: str = "true", name: str | None = None) -> None:
    """Grant privileges (`select, insert`) on the rows that fulfil a condition."""
    verbs = [verb.strip().split(" ")[0].split("(")[0] for verb in privileges.split("; ")]
    op.execute(f"grant {privileges.replace('; ', ', ')} on {table} to {role}")
    for verb in verbs:
        clauses = {
            "select": f"using ({where})",
            "delete": f"using ({where})",
            "insert": f"with check ({where})",
            "update": f"using ({where}) with check ({where})",
        }
        op.execute(f"create policy {name or role}_{verb} on {table} for {verb} to {role} {clauses[verb]}")
