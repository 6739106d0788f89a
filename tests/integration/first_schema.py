"""A database at the first schema, with a row in each state of an operation: what migrations start from."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

FIRST = "schema_0001"

KINDS = ("create", "activate", "restore", "prolong", "add_service", "delete")
STATES = ("queued", "sent", "unknown", "review", "succeeded", "failed")

TENANT, ACCOUNT, WEBHOOK = (UUID(int=number) for number in (101, 102, 103))

_FILLING = Path(__file__).with_suffix(".sql")
"""Text, not the models: those move on with each migration, this schema does not."""

Rows = dict[str, list[dict[str, Any]]]


def fill(superuser_url: str) -> None:
    """Put rows into each table of a database that is at the first schema."""
    given = {
        "tenant": TENANT,
        "account": ACCOUNT,
        "webhook": WEBHOOK,
        "kinds": list(KINDS),
        "states": list(STATES),
    }
    with psycopg.connect(superuser_url) as connection, psycopg.ClientCursor(connection) as cursor:
        cursor.execute(_FILLING.read_bytes(), given)


def lost(before: Rows, after: Rows) -> Rows:
    """The rows of `before` that `after` doesn't have as they were, by table; columns may be added."""
    found: Rows = {}
    for table, rows in before.items():
        left = list(after.get(table, ()))
        for row in rows:
            same = next((other for other in left if row.items() <= other.items()), None)
            if same is None:
                found.setdefault(table, []).append(row)
            else:
                left.remove(same)
    return found


def rows(superuser_url: str) -> Rows:
    """All rows of our tables, as JSON objects."""
    with psycopg.connect(superuser_url) as connection:
        tables = connection.execute(
            "select tablename from pg_tables where schemaname = 'public' and tablename <> 'alembic_version'"
        ).fetchall()
        return {
            table: [row[0] for row in connection.execute(f"select to_jsonb(t) from {table} t")]
            for (table,) in tables
        }
