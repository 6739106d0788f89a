"""Queries in plain SQL that are sent together, in one round trip, by the driver itself.

To run a statement costs SQLAlchemy more than it costs the server, and a round trip each: too much where a
caller waits, or where a poll of each of thousands of accounts does. What is run here is what these run.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Generic, LiteralString, TypeVar, cast, overload

import psycopg
from psycopg import AsyncPipeline
from psycopg.abc import PQGen
from psycopg.pq import PipelineStatus
from psycopg.rows import namedtuple_row
from psycopg.types.json import Jsonb
from sqlalchemy.ext.asyncio import AsyncConnection

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")

Driver = psycopg.AsyncConnection[Any]
Cursor = psycopg.AsyncCursor[Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the database answered to a query: rows with a name for each column, and how many it touched."""

    rows: Sequence[Any]
    count: int

    @property
    def row(self) -> Any:
        """The row of a query that gives one at most; None for none."""
        return self.rows[0] if self.rows else None


@dataclass(frozen=True, slots=True)
class Query(Generic[T]):
    """Plain SQL with its values, and how its answer is read.

    Attributes:
        sql: as psycopg takes it, with `%(name)s` for values; what it selects is listed, since a prepared
            `select *` fails once a migration has added a column.
        values: as psycopg binds them: JSON in `Jsonb`, several of a kind as a list for `= any(...)`.
    """

    sql: LiteralString
    values: Mapping[str, Any]
    read: Callable[[Answer], T]

    def then(self, further: Callable[[T], A]) -> Query[A]:
        """This query, what was read of its answer taken further."""
        return Query(self.sql, self.values, lambda answer: further(self.read(answer)))


def records(rows: Iterable[Any]) -> Jsonb:
    """Dataclasses as `jsonb_to_recordset` reads them."""
    return Jsonb([asdict(row) for row in rows], dumps=partial(json.dumps, default=str))


async def run(connection: AsyncConnection, query: Query[T]) -> T:
    """Run one query; what it came to.

    Raises:
        psycopg.Error: it failed, and with it the transaction.
    """
    async with raw_connection(connection) as driver:
        answer = await _answer(await _send(driver, query))
    return query.read(answer)


@overload
async def run_together(connection: AsyncConnection, first: Query[A], second: Query[B], /) -> tuple[A, B]: ...
@overload
async def run_together(
    connection: AsyncConnection, first: Query[A], /, *more: Query[Any]
) -> tuple[A, *tuple[Any, ...]]: ...
async def run_together(connection: AsyncConnection, /, *queries: Query[Any]) -> tuple[Any, ...]:
    """Run queries in their order; what each came to. Each sees what those before it did, and is run whatever
    they came to, unless one fails.

    Raises:
        psycopg.Error: one failed, and with it the transaction.
    """
    async with raw_connection(connection) as driver:
        async with atomic_pipeline(driver):
            cursors = [await _send(driver, query) for query in queries]
        return tuple(
            [query.read(await _answer(cursor)) for query, cursor in zip(queries, cursors, strict=True)]
        )


async def _send(driver: Driver, query: Query[Any]) -> Cursor:
    cursor = driver.cursor(row_factory=namedtuple_row)
    return await cursor.execute(query.sql, query.values)


async def _answer(cursor: Cursor) -> Answer:
    return Answer(await cursor.fetchall() if cursor.description else (), cursor.rowcount)


@asynccontextmanager
async def atomic_pipeline(driver: Driver) -> AsyncIterator[None]:
    """A pipeline of which nothing is sent before its end.

    Psycopg sends each statement of a pipeline as it comes. A process that is stopped between two of them
    would keep its locks for as long as it is: Postgres ends who stands still in a transaction, but doesn't
    see that of one who has begun a pipeline.
    """
    async with driver.pipeline() as pipeline:
        pipeline._communicate_gen = partial(_communicate_when_whole, pipeline)  # type: ignore[method-assign]
        yield


def _communicate_when_whole(pipeline: AsyncPipeline) -> PQGen[None]:
    """Stands in for psycopg's own generator, which sends what is queued and reads what has come."""
    queue = pipeline.command_queue
    if queue and queue[-1] == pipeline.pgconn.pipeline_sync:
        while queue:
            queue.popleft()()  # libpq only takes it down, until the synchronisation at the end sends it all
        yield from AsyncPipeline._communicate_gen(pipeline)


@asynccontextmanager
async def raw_connection(connection: AsyncConnection) -> AsyncIterator[Driver]:
    """The driver's own connection. If it breaks, or is left in the middle of a pipeline, it doesn't go back
    to the pool.
    """
    raw = await connection.get_raw_connection()
    driver = cast("Driver", raw.driver_connection)
    try:
        yield driver
    except BaseException:
        if driver.closed or driver.pgconn.pipeline_status != PipelineStatus.OFF:
            await connection.invalidate()
        raise
