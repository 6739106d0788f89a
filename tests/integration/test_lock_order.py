"""The account is locked before its orders and its key: else two transactions would wait for each other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
import structlog

from app.accounts import schedule
from app.database import new_id
from app.errors import DatabaseUnavailable
from app.events import repository as events
from app.events.types import EventType
from app.kinds import create
from app.operations import ledger, spending
from app.operations.models import spending_months
from app.operations.operation import Operation
from app.rentals.models import upstream_orders
from app.sandbox.faults import Fault, FaultKind
from app.vault.models import upstream_keys
from tests.integration.conftest import OpenHouse
from tests.integration.house import House
from tests.integration.postgres import waits_for_a_lock

Work = Awaitable[Any]


async def want_messages(house: House) -> Work:
    rental = (await house.buy()).rental
    return house.services.refresher.want(house.caller, house.key_id, rental.id, 5)


async def look_at_messages(house: House) -> Work:
    await house.buy()
    house.arrive("code 1")
    house.sandbox.faults.waiting.append(Fault(method="sms", kind=FaultKind.LATE, seconds=0.5))
    looking = asyncio.ensure_future(house.look())
    while house.sandbox.faults.waiting:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    return looking


async def replace_the_secret(house: House) -> Work:
    await house.buy()
    another = f"key-{uuid4().hex}"
    house.sandbox.world.accounts[another] = house.sandbox.world.accounts[house.api_key]
    return house.services.calls.trials.replace(house.caller, house.key_id, another)


@pytest.mark.parametrize("prepare", [want_messages, look_at_messages, replace_the_secret])
def test_who_waits_for_the_account_keeps_nothing_of_it(
    open_house: OpenHouse, prepare: Callable[[House], Awaitable[Work]]
) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            work = await prepare(house)
            async with house.database.transaction(house.tenant) as connection:
                await schedule.lock(connection, house.tenant_id, house.key_id)
                working = asyncio.ensure_future(work)
                await waits_for_a_lock(house.database)
                await connection.execute(sa.update(upstream_orders).values(end_outdated=True))
                await connection.execute(sa.update(upstream_keys).values(label="changed"))
            await working

    asyncio.run(scenario())


def test_two_that_wait_for_each_other_are_reported_as_what_they_are(open_house: OpenHouse) -> None:
    async def cross(house: House, first: sa.Update, then: sa.Update, met: asyncio.Barrier) -> None:
        async with house.database.transaction(house.tenant) as connection:
            await connection.execute(first)
            await met.wait()
            await connection.execute(then)

    async def scenario() -> None:
        async with open_house() as house:
            await house.buy()
            orders = sa.update(upstream_orders).values(end_outdated=True)
            keys = sa.update(upstream_keys).values(label="changed")
            met = asyncio.Barrier(2)
            with structlog.testing.capture_logs() as logs:
                ended = await asyncio.gather(
                    cross(house, orders, keys, met), cross(house, keys, orders, met), return_exceptions=True
                )
            assert sum(isinstance(end, DatabaseUnavailable) for end in ended) == 1
            assert [line["log_level"] for line in logs if line["event"] == "database.deadlock"] == ["error"]

    asyncio.run(scenario())


def test_who_waits_for_the_months_spending_keeps_no_event_of_the_tenant_waiting(
    open_house: OpenHouse,
) -> None:
    async def announce(house: House) -> None:
        async with house.database.transaction(house.tenant) as connection:
            events.emit(connection, house.caller, EventType.RENTAL_EXPIRING, {})

    async def announce_and_settle(house: House, operation: Operation) -> None:
        async with house.database.transaction(house.tenant) as connection:
            events.emit(connection, house.caller, EventType.RENTAL_EXPIRING, {})
            spending.settle(connection, house.tenant_id, operation.id, spent=spending.NOTHING)

    async def scenario() -> None:
        async with open_house() as house:
            async with house.database.transaction(house.tenant) as connection:
                operation = await ledger.commit_intent(
                    connection,
                    house.caller,
                    create.KIND,
                    upstream_key_id=house.key_id,
                    rental_id=new_id(),
                    request={},
                    price=Decimal(1),
                )
            async with house.database.transaction(house.tenant) as connection:
                await connection.execute(sa.update(spending_months).values(held=spending_months.c.held))
                settling = asyncio.ensure_future(announce_and_settle(house, operation))
                await waits_for_a_lock(house.database)
                async with asyncio.timeout(5):
                    await announce(house)
            await settling

    asyncio.run(scenario())


def test_who_stands_still_in_a_transaction_is_ended_before_others_give_up(open_house: OpenHouse) -> None:
    async def stand_still(house: House, standing: asyncio.Event) -> None:
        async with house.database.transaction(house.tenant) as connection:
            await schedule.lock(connection, house.tenant_id, house.key_id)
            standing.set()
            await asyncio.sleep(8)

    async def scenario() -> None:
        async with open_house() as house:
            standing = asyncio.Event()
            holder = asyncio.ensure_future(stand_still(house, standing))
            await standing.wait()
            async with house.database.transaction(house.tenant) as connection:
                await schedule.lock(connection, house.tenant_id, house.key_id)
            with pytest.raises(DatabaseUnavailable):
                await holder

    asyncio.run(scenario())
