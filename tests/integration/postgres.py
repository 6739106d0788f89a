"""What tests see of Postgres' own, and what they change there behind the gateway's back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy as sa

from app.database import Access, Database

ITS_OWN_LOGIN = Access(None)
"""Who alone is told by Postgres what its own sessions wait for."""


async def waits_for_a_lock(database: Database) -> None:
    waits = sa.text("select exists (select from pg_stat_activity where wait_event_type = 'Lock')")
    async with asyncio.timeout(5):
        while True:  # a transaction sees the same all along
            async with database.transaction(ITS_OWN_LOGIN) as connection:
                if await connection.scalar(waits):
                    return
            await asyncio.sleep(0.01)


def die(superuser_url: str) -> None:
    """Let the time pass in which the process would have been heard of."""
    with psycopg.connect(superuser_url) as connection:
        connection.execute("update operations set attended_until = now() - interval '1 second'")


@contextmanager
def statements_of(database: Database) -> Iterator[dict[str, Any]]:
    """The statements that a database's driver runs meanwhile, each with parameters that it was run with."""
    found: dict[str, Any] = {}

    class Noting(psycopg.AsyncCursor[Any]):
        async def execute(self, query: Any, params: Any = None, **more: Any) -> Any:
            found.setdefault(query, params)
            return await super().execute(query, params, **more)

    def note(_adapted: Any, record: Any, _proxy: Any) -> None:
        record.driver_connection.cursor_factory = Noting

    engine = database._engine.sync_engine
    sa.event.listen(engine, "checkout", note)
    yield found
    sa.event.remove(engine, "checkout", note)
