"""A refresh asks the account's worker: the answer comes in time, with the poll's own error."""

from __future__ import annotations

import asyncio
import time

import psycopg
import pytest
import sqlalchemy as sa

from app.accounts import leases
from app.accounts.models import refresh_requests
from app.audit.models import audit_logs
from app.database import WORKER, new_id
from app.errors import NotFound, UpstreamBusy, UpstreamKeyRejected, UpstreamRefusedError
from app.sandbox.faults import FaultKind
from app.worker import Worker
from tests.integration.conftest import OpenHouse
from tests.integration.house import House


async def left(house: House) -> int:
    async with house.database.transaction(house.tenant) as connection:
        return await connection.scalar(sa.select(sa.func.count()).select_from(refresh_requests)) or 0


def test_without_a_worker_a_refresh_says_so_and_leaves_nothing(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=0.5) as house:
            bought = (await house.buy()).rental
            await asyncio.sleep(0.1)
            began = time.monotonic()
            with pytest.raises(UpstreamBusy, match="No worker answers") as refused:
                await house.services.refresher.refresh(house.caller, bought.id)
            assert 5.5 <= time.monotonic() - began < 6.5
            assert refused.value.retry_after
            assert await left(house) == 0

    asyncio.run(scenario())


def test_a_request_outlives_the_worker_that_heard_of_it(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=5.0, sync_idle_interval=60) as house:
            bought = (await house.buy()).rental
            await house.look()
            await asyncio.sleep(0.1)
            async with house.database.transaction(WORKER) as connection:
                dying = new_id()
                await leases.register(connection, dying, 1)
                await connection.execute(sa.text("update account_looks set due_at = now()"))
                assert await leases.take(connection, dying, 1)
            asking = asyncio.ensure_future(house.services.refresher.refresh(house.caller, bought.id))
            await asyncio.sleep(0.2)
            async with house.database.transaction(WORKER) as connection:
                assert [told.requested for told in await leases.notices(connection, dying)] == [True]
            stop = asyncio.Event()
            working = asyncio.ensure_future(Worker(house.services).run(stop))
            assert await asking
            stop.set()
            await working

    asyncio.run(scenario())


def test_all_who_wait_get_the_error_with_its_words_and_the_calls_are_the_first_ones(
    open_house: OpenHouse,
) -> None:
    async def scenario() -> None:
        async with open_house(sync_interval=1.0) as house:
            bought = (await house.buy()).rental
            await asyncio.sleep(1.1)
            house.fault("sms", FaultKind.REFUSE, message="Oops")
            before = house.asked("sms")
            refresher = house.services.refresher
            asking = [asyncio.ensure_future(refresher.refresh(house.caller, bought.id)) for _ in range(5)]
            await asyncio.sleep(0.2)
            await house.look()
            errors = await asyncio.gather(*asking, return_exceptions=True)
            assert [type(error) for error in errors] == [UpstreamRefusedError] * 5
            assert {error.upstream.message for error in errors} == {"Oops"}  # type: ignore[union-attr]
            assert house.asked("sms") == before + 1
            async with house.database.transaction(house.tenant) as connection:
                query = sa.select(audit_logs.c.actor, audit_logs.c.request_id)
                rows = await connection.execute(query.where(audit_logs.c.action == "upstream.sms"))
                assert [tuple(row) for row in rows] == [(house.caller.actor, house.caller.request_id)]

    asyncio.run(scenario())


def test_one_poll_serves_the_callers_of_several_rentals(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(sync_interval=1.0) as house:
            rentals = [(await house.buy()).rental.id for _ in range(3)]
            await asyncio.sleep(1.1)
            house.arrive("code 1")
            before = house.asked("orders")
            refresher = house.services.refresher
            asking = asyncio.gather(*(refresher.refresh(house.caller, rental) for rental in rentals))
            await asyncio.sleep(0.2)
            await house.look()
            assert await asking == [True] * 3
            assert house.asked("orders") == before + 1
            assert [len(await house.kept(rental)) for rental in rentals].count(1) == 1

    asyncio.run(scenario())


def test_a_rejected_key_is_asked_for_whoever_wants_to_see_it_and_a_deleted_one_is_not(
    open_house: OpenHouse, superuser_url: str
) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            bought = (await house.buy()).rental
            account = house.sandbox.world.accounts.pop(house.api_key)
            await house.look()
            await asyncio.sleep(0.1)
            stop = asyncio.Event()
            working = asyncio.ensure_future(Worker(house.services).run(stop))
            with pytest.raises(UpstreamKeyRejected):
                await house.services.refresher.refresh(house.caller, bought.id)
            house.sandbox.world.accounts[house.api_key] = account
            assert await house.services.refresher.refresh(house.caller, bought.id)
            with psycopg.connect(superuser_url) as connection:
                connection.execute("update upstream_keys set deleted_at = now()")
            await asyncio.sleep(0.1)
            with pytest.raises(NotFound):
                await house.services.refresher.refresh(house.caller, bought.id)
            stop.set()
            await working

    asyncio.run(scenario())
