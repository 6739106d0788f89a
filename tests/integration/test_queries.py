"""Queries that go to the database together: answered in order, and no connection is lost by an error."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from app.database import Access, Database, Role, new_id
from app.database.pipeline import Answer, Query, atomic_pipeline, raw_connection, run, run_together
from app.errors import DatabaseUnavailable
from tests.conftest import MakeDatabase

ANYBODY = Access(Role.APP)
ITSELF = Access(None)  # the login, which alone may end its own connections

SET = "select set_config('rentgate.test', %(value)s, true) as given"
READ = "select current_setting('rentgate.test', true) as found"
BROKEN = "select 1 / %(divisor)s as never"
BACKEND = "select pg_backend_pid() as pid"
ENDED = "select pg_terminate_backend(pg_backend_pid())"
ECHO = """
    select %(document)s::jsonb as document, %(nothing)s::jsonb is null as nothing,
        jsonb_typeof(%(empty)s::jsonb) as empty, %(ids)s::uuid[] as ids
"""

setting = Query(SET, {"value": "seen"}, lambda answer: answer.row.given)
reading = Query(READ, {}, lambda answer: answer.row.found)
breaking = Query(BROKEN, {"divisor": 0}, lambda answer: answer)


@pytest.fixture
def app_url(make_database: MakeDatabase) -> str:
    """A database of the test's own."""
    return make_database().app


async def use(database: Database, access: Access, *queries: Query[Any]) -> None:
    """Run queries in a transaction of their own: one alone, or several together."""
    async with database.transaction(access) as connection:
        if len(queries) == 1:
            await run(connection, queries[0])
        else:
            await run_together(connection, *queries)


def row_of(answer: Answer) -> Any:
    return answer.row


def test_each_sees_what_those_before_it_did(app_url: str) -> None:
    async def scenario() -> None:
        database = Database(app_url)
        async with database.transaction(ANYBODY) as connection:
            assert await run_together(connection, reading, setting, reading) == (None, "seen", "seen")
            assert await run(connection, reading) == "seen"
            assert await run(connection, reading.then(str.upper)) == "SEEN"
        await database.aclose()

    asyncio.run(scenario())


def test_values_are_bound_as_psycopg_takes_them(app_url: str) -> None:
    async def scenario() -> None:
        database = Database(app_url)
        async with database.transaction(ANYBODY) as connection:
            ids = [new_id(), new_id()]
            document = {"a": ["ü", None]}
            given = {"document": Jsonb(document), "nothing": None, "empty": Jsonb(None), "ids": ids}
            row = await run(connection, Query(ECHO, given, row_of))
            assert tuple(row) == (document, True, "null", ids)
        await database.aclose()

    asyncio.run(scenario())


@pytest.mark.parametrize("together", [True, False])
def test_an_error_undoes_the_transaction_and_leaves_the_connection_good(app_url: str, together: bool) -> None:
    async def scenario() -> None:
        database = Database(app_url, pool_size=1)
        backends = set()
        for _ in range(3):
            with pytest.raises(psycopg.errors.DivisionByZero):
                await use(database, ANYBODY, *([setting, breaking, reading] if together else [breaking]))
            async with database.transaction(ANYBODY) as connection:
                backends.add(await run(connection, Query(BACKEND, {}, lambda answer: answer.row.pid)))
            assert database.connections_in_use() == 0
            async with database.transaction(ANYBODY) as connection:
                assert not await run(connection, reading)
        assert len(backends) == 1
        await database.aclose()

    asyncio.run(scenario())


@pytest.mark.parametrize("together", [True, False])
def test_a_connection_that_breaks_is_replaced(app_url: str, together: bool) -> None:
    async def scenario() -> None:
        database = Database(app_url, pool_size=1)
        ending = Query(ENDED, {}, lambda answer: answer)
        with pytest.raises(DatabaseUnavailable):
            await use(database, ITSELF, *([setting, ending, reading] if together else [ending]))
        async with database.transaction(ANYBODY) as connection:
            assert await run_together(connection, setting, reading) == ("seen", "seen")
        assert database.connections_in_use() == 0
        await database.aclose()

    asyncio.run(scenario())


def test_nothing_of_a_pipeline_is_sent_before_all_of_it(app_url: str, postgres: str) -> None:
    async def scenario() -> None:
        database = Database(app_url)
        async with database.transaction(ITSELF) as connection:
            pid = await run(connection, Query(BACKEND, {}, lambda answer: answer.row.pid))
            async with raw_connection(connection) as driver:
                async with atomic_pipeline(driver):
                    cursor = await driver.execute("select pg_advisory_xact_lock(4712)")
                    await driver.execute("select 2")
                    await asyncio.sleep(0.2)
                    assert locks(postgres, pid) == 0
                assert locks(postgres, pid) == 1
                assert await cursor.fetchone() == ("",)
        await database.aclose()

    asyncio.run(scenario())


def locks(superuser_url: str, pid: int) -> int:
    """How many advisory locks a connection has."""
    with psycopg.connect(superuser_url) as connection:
        row = connection.execute(
            "select count(*) from pg_locks where locktype = 'advisory' and pid = %s", [pid]
        ).fetchone()
        return int(row[0]) if row else 0


def test_an_abandoned_pipeline_gives_its_connection_up(app_url: str) -> None:
    async def scenario() -> None:
        database = Database(app_url, pool_size=1)
        sleeping = Query("select pg_sleep(30)", {}, lambda answer: answer)

        task = asyncio.ensure_future(use(database, ANYBODY, sleeping, reading))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(10), database.transaction(ANYBODY) as connection:
            assert await run_together(connection, setting, reading) == ("seen", "seen")
        await database.aclose()

    asyncio.run(scenario())
