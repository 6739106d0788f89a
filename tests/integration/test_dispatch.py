"""Deliveries by a worker: who is dead, slow or cut off keeps no other waiting, and nothing is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from app.kinds.delete import delete
from app.webhooks.claims import LEASE_SECONDS
from app.webhooks.dispatcher import IDLE_SECONDS
from app.webhooks.repository import MOST
from app.worker import Worker
from tests.integration.conftest import OpenHouse
from tests.integration.endpoints import hooked, queue_up, until
from tests.integration.house import House
from tests.receiver import Reply, receiving


@asynccontextmanager
async def working(house: House) -> AsyncIterator[None]:
    """A worker of the house's, for as long as the block lasts."""
    stop = asyncio.Event()
    work = asyncio.ensure_future(Worker(house.services).run(stop))
    try:
        yield
    finally:
        stop.set()
        await work


def test_however_many_endpoints_are_dead_the_others_are_told(open_house: OpenHouse) -> None:
    """Each of the dead has an event that waits behind one which is tried again later."""

    async def scenario() -> None:
        with receiving() as dead, receiving() as alive:
            dead.reply = lambda _: Reply(500, {"Retry-After": "3600"})
            async with (
                open_house(webhook_allow_private=True, upstream_timeout=10.0) as house,
                open_house(webhook_allow_private=True, upstream_timeout=10.0) as other,
                working(house),
            ):
                for one in (house, other):
                    for _ in range(MOST - 1):
                        await hooked(one, dead.url)
                    for _ in range(2):
                        bought = (await one.buy()).rental
                        await delete(one.services.changes, one.caller, bought.id, None)
                await until(lambda: len(dead.received) >= 4 * (MOST - 1), 30)
                await hooked(other, alive.url)
                asked_at = time.monotonic()
                await other.buy()
                await until(lambda: alive.received)
                assert time.monotonic() - asked_at < 5

    asyncio.run(scenario())


def test_an_endpoint_with_10_000_deliveries_keeps_no_other_waiting(
    open_house: OpenHouse, superuser_url: str
) -> None:
    """It refuses each at once, so that all of them are attempted as fast as a worker can."""

    async def scenario() -> None:
        with receiving() as dead, receiving() as alive:
            dead.reply = lambda _: Reply(500)
            async with open_house(webhook_allow_private=True) as house, working(house):
                webhook_id = await hooked(house, dead.url)
                queue_up(superuser_url, house.tenant_id, webhook_id, rentals=1000, of_each=10)
                await until(lambda: len(dead.received) >= 20, 30)
                await hooked(house, alive.url)
                for count in range(1, 6):
                    asked_at = time.monotonic()
                    await house.buy()
                    await until(lambda wanted=count: len(alive.received) >= wanted)  # type: ignore[misc]
                    assert time.monotonic() - asked_at < 5

    asyncio.run(scenario())


def test_who_has_nothing_to_deliver_asks_the_database_almost_nothing(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            await hooked(house)
            stop = asyncio.Event()
            dispatching = asyncio.ensure_future(house.services.dispatcher.run(stop))
            await asyncio.sleep(1)
            transactions: list[None] = []
            sa.event.listen(
                house.database._engine.sync_engine, "checkout", lambda *_: transactions.append(None)
            )
            await asyncio.sleep(IDLE_SECONDS + 1)
            stop.set()
            await dispatching
            assert 0 < len(transactions) <= 2

    asyncio.run(scenario())


def test_an_endpoint_is_due_at_the_time_of_its_next_attempt(
    open_house: OpenHouse, superuser_url: str
) -> None:
    async def scenario() -> None:
        with receiving() as receiver:
            receiver.reply = lambda _: Reply(500, {"Retry-After": "3600"})
            async with open_house(webhook_allow_private=True) as house, working(house):
                await hooked(house, receiver.url)
                await house.buy()
                await until(lambda: receiver.received)
                await until(lambda: scheduled(superuser_url))
                ((seconds,),) = scheduled(superuser_url)
                assert 3590 < seconds <= 3600

    asyncio.run(scenario())


def scheduled(superuser_url: str) -> list[tuple[float]]:
    """In how many seconds each endpoint is due that is so after any lease."""
    with psycopg.connect(superuser_url) as connection:
        return connection.execute(
            "select extract(epoch from due_at - now())::float8 from webhook_schedules"
            " where due_at > now() + make_interval(secs => %s)",
            [LEASE_SECONDS],
        ).fetchall()


def allow_connections(postgres: str, url: str, *, allowed: bool) -> None:
    """Let the gateway reach its database, or not."""
    name = make_url(url).database
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("update pg_database set datallowconn = %s where datname = %s", [allowed, name])
        if not allowed:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name]
            )


def test_what_came_of_an_attempt_is_lost_and_it_is_made_again(
    open_house: OpenHouse, postgres: str, superuser_url: str
) -> None:
    """The database is away when the attempt ends, while another endpoint keeps the process busy."""

    async def scenario() -> None:
        with receiving() as slow, receiving() as receiver:
            slow.reply = lambda _: Reply(200, after=8)
            receiver.reply = lambda _: Reply(200, after=0.5)
            async with open_house(webhook_allow_private=True) as house, working(house):
                await hooked(house, receiver.url)
                await house.buy()
                await until(lambda: receiver.received)
                allow_connections(postgres, superuser_url, allowed=False)
                try:
                    await asyncio.sleep(4)  # longer than anybody waits for a connection
                finally:
                    allow_connections(postgres, superuser_url, allowed=True)
                await hooked(house, slow.url)
                for _ in range(6):
                    await house.buy()
                first = receiver.received[0].id
                await until(lambda: [one.id for one in receiver.received].count(first) == 2, 20)

    asyncio.run(scenario())


def test_a_rentals_events_come_in_order_though_many_are_under_way(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        count = 30
        with receiving() as receiver:
            async with open_house(webhook_allow_private=True) as house, working(house):
                await hooked(house, receiver.url)
                bought = [(await house.buy()).rental for _ in range(count)]
                for rental in bought:
                    await delete(house.services.changes, house.caller, rental.id, None)
                await until(lambda: len(receiver.received) >= 2 * count, 30)
                told = [one.event for one in receiver.received]
                for rental in bought:
                    types = [e["type"] for e in told if e["data"]["id"] == str(rental.id)]
                    assert types == ["rental.created", "rental.deleted"]

    asyncio.run(scenario())
