"""Jobs: deferred by a transaction, done by one of all processes, and found again when one has died."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.resources import files

import psycopg
import pytest

from app.database import WORKER, Database
from app.events.notifications import Notifications
from app.jobs.engine import Jobs
from app.kinds.delete import delete
from app.webhooks import deliveries, repository
from app.wiring import DatabaseUrls
from app.worker import Worker
from tests.integration.conftest import House, OpenHouse
from tests.integration.test_purchases import buy, history
from tests.receiver import receiving

ADDED = "insert into jobs.procrastinate_jobs (queue_name, task_name, args) values ('default', 'note', '{}')"


@asynccontextmanager
async def engine(urls: DatabaseUrls, work: Callable[[], Awaitable[None]]) -> AsyncIterator[Jobs]:
    """An engine that does `note`."""
    database, notifications = Database(urls.app), Notifications(urls.app)
    jobs, stop = Jobs(database, notifications), asyncio.Event()
    jobs.does("note", work)
    notifications.start()
    working = asyncio.ensure_future(jobs.run(stop))
    try:
        yield jobs
    finally:
        stop.set()
        await working
        await notifications.aclose()
        await database.aclose()


async def until(found: Callable[[], object], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not found():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.02)


def waiting(superuser_url: str) -> list[tuple[str, str]]:
    with psycopg.connect(superuser_url) as connection:
        rows = connection.execute("select task_name, status::text from jobs.procrastinate_jobs order by id")
        return rows.fetchall()


def test_a_job_is_done_once_by_one_of_several_engines_and_leaves_nothing(
    database_urls: DatabaseUrls, superuser_url: str
) -> None:
    done: list[str] = []

    async def scenario() -> None:
        async def one() -> None:
            done.append("one")

        async def other() -> None:
            done.append("other")

        async with engine(database_urls, one) as jobs, engine(database_urls, other):
            for n in range(10):
                await jobs.defer("note", once=str(n))
            await until(lambda: len(done) >= 10)
            await until(lambda: not waiting(superuser_url))

    asyncio.run(scenario())
    assert len(done) == 10


def test_one_that_waits_is_not_deferred_again(database_urls: DatabaseUrls, superuser_url: str) -> None:
    async def scenario() -> None:
        database = Database(database_urls.app)
        jobs = Jobs(database, Notifications(database_urls.app))
        jobs.does("note", never)
        for _ in range(3):
            await jobs.defer("note", once="the same")
        await database.aclose()

    asyncio.run(scenario())
    assert waiting(superuser_url) == [("note", "todo")]


async def never() -> None:
    """Stands for work that no engine of the test does."""


def test_the_jobs_of_a_dead_process_are_put_back(database_urls: DatabaseUrls, superuser_url: str) -> None:
    done: list[int] = []
    with psycopg.connect(superuser_url) as connection:
        connection.execute("set search_path = jobs")
        dead = connection.execute(
            "insert into procrastinate_workers (last_heartbeat) values (now() - interval '1 minute')"
            " returning id"
        ).fetchone()
        assert dead is not None
        connection.execute(
            "insert into procrastinate_jobs (queue_name, task_name, status, worker_id)"
            " values ('default', 'note', 'doing', %s)",
            dead,
        )

    async def scenario() -> None:
        async def work() -> None:
            done.append(1)

        async with engine(database_urls, work) as jobs:
            await asyncio.sleep(0.3)
            assert not done
            await asyncio.gather(jobs.sweep(), jobs.sweep())
            await until(lambda: done)

    asyncio.run(scenario())
    assert waiting(superuser_url) == []


def test_a_job_that_an_answer_was_lost_of_is_forgotten_in_the_end(
    database_urls: DatabaseUrls, superuser_url: str
) -> None:
    with psycopg.connect(superuser_url) as connection:
        connection.execute("set search_path = jobs")
        connection.execute("insert into procrastinate_workers default values")
        connection.execute(ADDED)
        connection.execute("update procrastinate_jobs set status = 'doing', worker_id = 1")
        connection.execute("update procrastinate_events set at = now() - interval '11 minutes'")

    async def scenario() -> None:
        database = Database(database_urls.app)
        await Jobs(database, Notifications(database_urls.app)).sweep()
        await database.aclose()

    asyncio.run(scenario())
    assert waiting(superuser_url) == []


def test_the_engine_goes_on_when_the_database_was_away(
    database_urls: DatabaseUrls, superuser_url: str
) -> None:
    done: list[int] = []

    async def scenario() -> None:
        async def work() -> None:
            done.append(1)

        async with engine(database_urls, work) as jobs:
            for round_ in range(3):
                with psycopg.connect(superuser_url, autocommit=True) as connection:
                    connection.execute(
                        "select pg_terminate_backend(pid) from pg_stat_activity"
                        " where datname = current_database() and pid <> pg_backend_pid()"
                    )
                await jobs.defer("note", once=str(round_))
                await until(lambda wanted=round_ + 1: len(done) >= wanted)  # type: ignore[misc]

    asyncio.run(scenario())


def test_who_changes_something_may_defer_jobs_and_read_none(superuser_url: str) -> None:
    with psycopg.connect(superuser_url) as connection:
        connection.execute("set role rentgate_app")
        connection.execute(ADDED)
        for statement in (
            "select args from jobs.procrastinate_jobs",
            "update jobs.procrastinate_jobs set status = 'failed'",
            "delete from jobs.procrastinate_jobs",
            "select * from jobs.procrastinate_workers",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute(statement)


def test_the_librarys_schema_is_the_one_that_the_migration_made() -> None:
    """Its next one needs a migration of ours, which runs what the library's own since this one do."""
    known = sorted(entry.name for entry in files("procrastinate.sql").joinpath("migrations").iterdir())
    assert [name for name in known if name.endswith(".sql")][-1] == (
        "03.04.00_50_post_add_retry_failed_job_procedure.sql"
    )


async def hooked(house: House, url: str) -> None:
    async with house.database.transaction(house.tenant) as connection:
        await repository.add(
            connection, house.services.keyring, house.tenant_id, url=url, events=["*"], description=None
        )


def test_a_delivery_has_a_job_if_and_when_its_event_is_committed(
    open_house: OpenHouse, superuser_url: str
) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            await hooked(house, "https://example.com")
            assert waiting(superuser_url) == []
            for _ in range(3):
                await buy(house)
            assert waiting(superuser_url) == [("deliver", "todo")]  # of the endpoint, whatever comes to it

    asyncio.run(scenario())


def test_an_event_is_written_though_its_webhook_is_deleted_at_that_moment(
    open_house: OpenHouse, superuser_url: str
) -> None:
    waiting_for_it = "select from pg_locks where not granted and locktype = 'transactionid'"

    async def scenario() -> None:
        async with open_house() as house:
            await hooked(house, "https://example.com")
            with (
                psycopg.connect(superuser_url) as deleting,
                psycopg.connect(superuser_url, autocommit=True) as watching,
            ):
                deleting.execute("delete from webhooks")
                buying = asyncio.ensure_future(buy(house))
                await until(lambda: watching.execute(waiting_for_it).fetchall())
                deleting.commit()
                bought = (await buying).rental
            assert await history(house, bought.id) == ["rental.created"]
            assert (await queued(house)).pending == 0

    asyncio.run(scenario())


def test_a_delivery_whose_job_was_lost_is_swept_up(open_house: OpenHouse, superuser_url: str) -> None:
    async def scenario() -> None:
        with receiving() as receiver:
            async with open_house(webhook_allow_private=True) as house:
                await hooked(house, receiver.url)
                await buy(house)
                with psycopg.connect(superuser_url) as connection:
                    connection.execute("delete from jobs.procrastinate_jobs")
                stop = asyncio.Event()
                working = asyncio.ensure_future(Worker(house.services).run(stop))
                await until(lambda: receiver.received)
                stop.set()
                await working
                assert receiver.types == ["rental.created"]

    asyncio.run(scenario())


def test_what_waits_behind_an_earlier_event_is_nobodys_to_deliver(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            await hooked(house, "https://example.com")
            bought = (await buy(house)).rental
            await delete(house.services.changes, house.caller, bought.id, None)
            async with house.database.transaction(house.tenant) as connection:
                await connection.exec_driver_sql(
                    "update webhook_deliveries set next_at = now() + interval '1 hour' where position ="
                    " (select min(position) from webhook_deliveries)"
                )
            queue = await queued(house)
            assert (queue.pending, queue.due) == (2, 0)

    asyncio.run(scenario())


async def queued(house: House) -> deliveries.Queue:
    async with house.database.transaction(WORKER) as connection:
        return await deliveries.queue(connection)
