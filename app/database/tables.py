"""What every table is made of: the metadata, the types of columns, ids, and the expressions of time."""

from __future__ import annotations

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


def new_id() -> UUID:
    """A new UUIDv7: unique, and sorted by the time of its making."""
    return uuid7()


def violated(error: sa.exc.IntegrityError) -> str | None:
    """The name of the constraint that refused a row."""
    return error.orig.diag.constraint_name if isinstance(error.orig, psycopg.Error) else None
