"""Rows of any table, made up from the schema alone: a table that comes tomorrow gets its rows too."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

_VALUES: tuple[tuple[type[Any], Callable[[], Any]], ...] = (
    (ARRAY, list),
    (JSONB, dict),
    (sa.Uuid, uuid4),
    (sa.Boolean, lambda: True),
    (sa.Integer, lambda: 1),
    (sa.Double, lambda: 1.0),
    (sa.Numeric, lambda: 1),
    (sa.LargeBinary, lambda: uuid4().bytes),
    (sa.Text, lambda: uuid4().hex),
    (sa.DateTime, lambda: sa.text("now()")),
    (sa.Date, lambda: sa.text("current_date")),
)
"""A value for each type of column; what may have to be unique is random."""


def tenant_column(table: sa.Table) -> sa.Column[Any]:
    """The column that tells whose a row is."""
    return table.c.id if table.name == "tenants" else table.c.tenant_id


def row_of(table: sa.Table, tenant_id: UUID) -> dict[str, Any]:
    """A row of a tenant's with all that has to be there; foreign keys may lead nowhere."""
    needed = [c for c in table.columns if not c.nullable and c.server_default is None]
    values = {column.name: _value(table, column) for column in needed}
    return values | {tenant_column(table).name: tenant_id}


def insert_rows(superuser_url: str, tables: Iterable[sa.Table], *tenant_ids: UUID) -> None:
    """Put a row of each tenant into each table, past policies, foreign keys and triggers."""
    engine = sa.create_engine(superuser_url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(sa.text("set local session_replication_role = replica"))
        for table in tables:
            for tenant_id in tenant_ids:
                connection.execute(table.insert().values(**row_of(table, tenant_id)))
    engine.dispose()


def _value(table: sa.Table, column: sa.Column[Any]) -> Any:
    chosen = _choices(table).get(column.name)
    if chosen is not None:
        return chosen
    for kind, make in _VALUES:
        if isinstance(column.type, kind):
            return make()
    raise AssertionError(f"say in {__name__} what a {column.type!r} may hold ({table.name}.{column.name})")


def _choices(table: sa.Table) -> dict[str, str]:
    """The first value that a check of the form `column in ('a', 'b')` allows, by its column."""
    checks = [str(c.sqltext) for c in table.constraints if isinstance(c, sa.CheckConstraint)]
    return {found[1]: found[2] for check in checks for found in re.finditer(r"(\w+) in \('([^']*)'", check)}
