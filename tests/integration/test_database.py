"""Connections come back to the pool, whatever happened to the server and to who used them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
import pytest
import sqlalchemy as sa

from app import migrate
from app.audit.caller import background
from app.database import PLATFORM, Access, Database, Role
from app.database.embedded import EmbeddedPostgres
from app.errors import DatabaseUnavailable, NotFound
from app.idempotency.repository import NO_TENANT
from app.migrate import DatabaseUrls
from app.tenants import service as tenants

ANYBODY = Access(Role.APP)


@dataclass(frozen=True, slots=True)
class OwnServer:
    """An embedded server that a test may freeze and crash."""

    server: EmbeddedPostgres
    data_dir: Path
    app_url: str

    def processes(self) -> list[psutil.Process]:
        """The server's processes, its head first."""
        pid_file = next(self.data_dir.rglob("postmaster.pid"))
        postmaster = psutil.Process(int(pid_file.read_text().split("\n", 1)[0]))
        return [postmaster, *postmaster.children(recursive=True)]


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[OwnServer]:
    """A server of the test's own, migrated."""
    server = EmbeddedPostgres(tmp_path / "data", durable=False)
    app_url, owner_url = migrate.prepare_embedded(server.start())
    migrate.upgrade(owner_url)
    yield OwnServer(server, tmp_path, app_url)
    server.stop()


async def use(database: Database, *, sleep: float = 0.0) -> None:
    async with database.transaction(ANYBODY) as connection:
        await connection.execute(sa.text("select pg_sleep(:seconds)"), {"seconds": sleep})


async def all_come_back(database: Database) -> None:
    async with asyncio.timeout(30):
        while database.connections_in_use():  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    await asyncio.gather(*(use(database) for _ in range(4)))


def test_a_frozen_server_keeps_no_connection_for_ever(own_server: OwnServer) -> None:
    async def scenario() -> None:
        database = Database(own_server.app_url, pool_size=4)
        for _ in range(3):
            await asyncio.gather(*(use(database) for _ in range(4)))
            under_way = [asyncio.ensure_future(use(database, sleep=0.5)) for _ in range(2)]
            await asyncio.sleep(0.2)
            frozen = own_server.processes()
            for process in frozen:
                process.suspend()
            try:
                for result in await asyncio.gather(
                    *(use(database) for _ in range(8)), return_exceptions=True
                ):
                    assert isinstance(result, DatabaseUnavailable)
            finally:
                for process in frozen:
                    process.resume()
            await asyncio.gather(*under_way)
            await all_come_back(database)
        await database.aclose()

    asyncio.run(scenario())


def test_a_crashed_server_keeps_no_connection_for_ever(own_server: OwnServer) -> None:
    async def scenario() -> None:
        database = Database(own_server.app_url, pool_size=4)
        for _ in range(3):
            under_way = [asyncio.ensure_future(use(database, sleep=5)) for _ in range(3)]
            await asyncio.sleep(0.3)
            os.kill(own_server.processes()[0].pid, signal.SIGQUIT)
            for result in await asyncio.gather(*under_way, return_exceptions=True):
                assert isinstance(result, DatabaseUnavailable)
            await asyncio.to_thread(own_server.server.start)
            async with asyncio.timeout(30):
                while True:
                    with contextlib.suppress(DatabaseUnavailable):
                        await use(database)
                        break
            await all_come_back(database)
        await database.aclose()

    asyncio.run(scenario())


def test_who_is_cancelled_gives_back_what_it_had(database_urls: DatabaseUrls) -> None:
    async def scenario() -> None:
        database = Database(database_urls.app, pool_size=4)
        for delay in range(60):
            task = asyncio.ensure_future(use(database))
            for _ in range(delay):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await all_come_back(database)
        await database.aclose()

    asyncio.run(scenario())


def test_what_fails_leaves_no_transaction_open(database_urls: DatabaseUrls, superuser_url: str) -> None:
    async def scenario() -> None:
        database = Database(database_urls.app, pool_size=1)
        with contextlib.suppress(NotFound):
            async with database.transaction(PLATFORM) as connection:
                await tenants.create_tenant(connection, background(NO_TENANT), name="never")
                raise NotFound
        with psycopg.connect(superuser_url) as admin:
            left = admin.execute(
                "select count(*) from pg_stat_activity"
                " where datname = current_database() and state like 'idle in transaction%'"
            ).fetchone()
        assert left == (0,)
        async with database.transaction(PLATFORM) as connection:
            assert await tenants.list_tenants(connection, limit=5, before=None) == []
        await database.aclose()

    asyncio.run(scenario())
