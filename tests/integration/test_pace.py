"""The pace, shared through the database: two processes together make no more calls than one may."""

from __future__ import annotations

import asyncio
import time

import pytest
import sqlalchemy as sa

from app.accounts.buckets import Limit
from app.accounts.pace import NotYet, Pace
from app.database import Access, Database, Role, new_id
from app.errors import UpstreamBusy
from app.migrate import DatabaseUrls
from app.sandbox.faults import Fault, FaultKind
from app.telemetry import Metrics
from tests.integration.conftest import OpenHouse

NO_LIMIT = Limit(0, 1)


def pace(database: Database, account: Limit, *, everything: Limit = NO_LIMIT, patience: float = 30) -> Pace:
    return Pace(database, Metrics(), account=account, everything=everything, patience=patience)


def test_two_processes_share_a_bucket(database_urls: DatabaseUrls) -> None:
    async def scenario() -> None:
        databases = [Database(database_urls.app) for _ in range(2)]
        key, limit = new_id(), Limit(20, 4)
        paces = [pace(database, limit) for database in databases]
        started = time.monotonic()
        await asyncio.gather(*(p.wait_for_turn(key) for p in paces * 10))
        # 20 calls, 4 of them at once: the other 16 need 0.8 s at 20 a second
        assert time.monotonic() - started >= 16 / 20 - 0.05
        for database in databases:
            await database.aclose()

    asyncio.run(scenario())


def test_accounts_do_not_slow_each_other_but_all_share_the_global_bucket(
    database_urls: DatabaseUrls,
) -> None:
    async def scenario() -> None:
        database = Database(database_urls.app)
        single = pace(database, Limit(0.01, 1), patience=0.5)
        await single.wait_for_turn(new_id())
        await single.wait_for_turn(new_id())
        together = pace(database, NO_LIMIT, everything=Limit(0.01, 1), patience=0.5)
        await together.wait_for_turn(new_id())
        with pytest.raises(UpstreamBusy) as refused:
            await together.wait_for_turn(None)
        assert refused.value.retry_after
        await database.aclose()

    asyncio.run(scenario())


def test_who_would_wait_too_long_is_refused_and_takes_nothing(database_urls: DatabaseUrls) -> None:
    async def scenario() -> None:
        database = Database(database_urls.app)
        key, impatient = new_id(), pace(database, Limit(1, 1), patience=0.5)
        await impatient.wait_for_turn(key)
        for _ in range(5):
            with pytest.raises(UpstreamBusy):
                await impatient.wait_for_turn(key)
        patient = pace(database, Limit(1, 1), patience=1.5)
        await patient.wait_for_turn(key)
        await database.aclose()

    asyncio.run(scenario())


def test_no_limit_asks_the_database_nothing() -> None:
    async def scenario() -> None:
        nowhere = Database("postgresql://nobody@127.0.0.1:1/nothing")
        await pace(nowhere, NO_LIMIT).wait_for_turn(new_id())
        await nowhere.aclose()

    asyncio.run(scenario())


def test_many_in_the_background_wait_in_line_for_what_all_share(database_urls: DatabaseUrls) -> None:
    async def scenario() -> None:
        database = Database(database_urls.app)
        shared = pace(database, NO_LIMIT, everything=Limit(20, 1))
        asked = 0

        def note(*_: object) -> None:
            nonlocal asked
            asked += 1

        sa.event.listen(database._engine.sync_engine, "begin", note)
        sa.event.listen(database._engine.sync_engine, "before_cursor_execute", note)
        started = time.monotonic()
        await asyncio.gather(*(shared.wait_for_spare(new_id()) for _ in range(20)))
        assert time.monotonic() - started >= 19 / 20 - 0.05
        # Each asks for its turn, and once more or twice when it should have come; not all anew for each turn.
        assert 20 < asked < 700  # all anew would be a thousand and more
        await database.aclose()

    asyncio.run(scenario())


def test_an_account_without_room_keeps_nobody_waiting(database_urls: DatabaseUrls) -> None:
    async def scenario() -> None:
        database = Database(database_urls.app)
        single, poor = pace(database, Limit(0.01, 1), everything=Limit(100, 10)), new_id()
        await single.wait_for_spare(poor)
        with pytest.raises(NotYet) as refused:
            await single.wait_for_spare(poor)
        assert refused.value.seconds > 1
        await single.wait_for_spare(new_id())
        await database.aclose()

    asyncio.run(scenario())


def test_turns_are_reserved_for_many_accounts_at_once(database_urls: DatabaseUrls) -> None:
    async def scenario() -> None:
        database = Database(database_urls.app)
        shared = pace(database, Limit(0.25, 5), everything=Limit(0.5, 20))
        keys = [new_id() for _ in range(6)]
        for key in keys:
            await shared.wait_for_spare(key)
        stranger = new_id()  # one that has made no call yet
        await shared.reserve(dict.fromkeys([*keys, stranger], 3))
        turns = [sum(shared.take_reserved(key) for _ in range(3)) for key in keys]
        assert turns == [2] * 5 + [0]  # half of what an account has, and of what all have together
        assert not shared.take_reserved(stranger)
        await shared.reserve(dict.fromkeys(keys, 1))
        assert any(shared.take_reserved(key) for key in keys)  # those before were used
        unlimited = pace(database, NO_LIMIT)
        await unlimited.reserve({keys[0]: 1})
        assert not unlimited.take_reserved(keys[0])
        await database.aclose()

    asyncio.run(scenario())


def test_what_somebody_draws_on_just_now_is_not_reserved(database_urls: DatabaseUrls) -> None:
    async def scenario() -> None:
        database = Database(database_urls.app)
        single, busy, free = pace(database, Limit(0.25, 5)), new_id(), new_id()
        for key in (busy, free):
            await single.wait_for_spare(key)
        async with database.transaction(Access(Role.APP)) as connection:
            await single.draw(connection, busy)
            await single.reserve({busy: 1, free: 1})
        assert not single.take_reserved(busy)
        assert single.take_reserved(free)
        await database.aclose()

    asyncio.run(scenario())


def test_an_account_that_is_held_off_gets_no_turn_in_any_process(database_urls: DatabaseUrls) -> None:
    async def scenario() -> None:
        databases = [Database(database_urls.app) for _ in range(2)]
        key, limit = new_id(), Limit(1, 10)
        told, other = (pace(database, limit, patience=30) for database in databases)
        await told.reserve({key: 2})
        await told.wait_for_turn(key)
        await told.reserve({key: 2})
        await told.hold_off(key, 120)
        assert not told.take_reserved(key)
        for process in (told, other):
            with pytest.raises(UpstreamBusy) as refused:
                await process.wait_for_turn(key)
            assert refused.value.retry_after == pytest.approx(90, abs=5)
            with pytest.raises(NotYet) as turn:
                await process.wait_for_spare(key)
            assert turn.value.seconds == pytest.approx(120, abs=5)
            await process.wait_for_turn(new_id())
        for database in databases:
            await database.aclose()

    asyncio.run(scenario())


def test_without_a_limit_nothing_is_held_off(database_urls: DatabaseUrls) -> None:
    async def scenario() -> None:
        database = Database(database_urls.app)
        unlimited, key = pace(database, NO_LIMIT), new_id()
        await unlimited.hold_off(key, 120)
        await unlimited.wait_for_turn(key)
        await database.aclose()

    asyncio.run(scenario())


def test_an_account_whose_calls_the_upstream_limits_is_held_off(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(upstream_rate=0.5, upstream_burst=100) as house:
            process = pace(house.database, Limit(0.5, 100), patience=0.1)
            await house.look()
            await process.wait_for_turn(house.key_id)
            fault = Fault(method="orders", kind=FaultKind.RATE_LIMIT)
            house.sandbox.faults.waiting.append(fault)
            await house.look()
            with pytest.raises(UpstreamBusy):
                await process.wait_for_turn(house.key_id)

    asyncio.run(scenario())
