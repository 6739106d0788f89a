"""What every table is made of: the metadata, the types of columns, ids, and the expressions of time."""

from __future__ import annotations

from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import sqlalchemy as sa
from uuid_utils.compat import uuid7

metadata = sa.MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)

Timestamp = sa.TIMESTAMP(timezone=True)
Money = sa.Numeric(14, 4)


NOW: sa.ColumnElement[datetime] = sa.func.clock_timestamp(type_=Timestamp)
"""The database's time at the moment, not that of the transaction's beginning."""


def columns(table: sa.Table, alias: str = "") -> LiteralString:
    """All of a table's columns, as plain SQL selects them."""
    return ", ".join(f"{alias}.{column.name}" if alias else column.name for column in table.c)


def seconds(interval: sa.ColumnElement[Any]) -> sa.ColumnElement[float]:
    """An interval in seconds."""
    return sa.func.extract("epoch", interval).cast(sa.Double)


def this_account(
    table: sa.Table | sa.Alias, tenant_id: UUID, upstream_key_id: UUID
) -> tuple[sa.ColumnElement[bool], ...]:
    """What finds a tenant's rows of one upstream account."""
    return table.c.tenant_id == tenant_id, table.c.upstream_key_id == upstream_key_id


def new_id() -> UUID:
    """A new UUIDv7: unique, and sorted by the time of its making."""
    return uuid7()


def violated(error: sa.exc.IntegrityError) -> str | None:
    """The name of the constraint that refused a row."""
    return error.orig.diag.constraint_name if isinstance(error.orig, psycopg.Error) else None
