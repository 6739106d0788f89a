"""What passes is tried again, each end is tried by one process, and who died before sending fails nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from app.audit.caller import background
from app.database import WORKER
from app.kinds.prolong import KIND, prolong_by_plan
from app.kinds.purchases import Purchase
from app.operations import ledger
from app.rentals import auto_prolong, repository
from app.rentals.auto_prolong import Plan
from app.rentals.service import Change
from app.sandbox.faults import FaultKind
from app.settlement.recovery import adopt_orphans
from app.values import Period, PeriodUnit
from tests.integration.conftest import OpenHouse
from tests.integration.house import House
from tests.integration.postgres import die

WEEK = Period(PeriodUnit.WEEK, 1)
SIX_DAYS = 6.2 * 86_400


async def planned(house: House) -> UUID:
    """A rental that ends in less than a day, and is to be prolonged by a week."""
    wanted = Purchase(country="RU", services=("opt1",), period=WEEK, metadata={})
    rental = (await house.services.purchases.purchase(house.caller, wanted, None)).rental
    change = Change(prolonging=Plan(WEEK, Decimal("9.99")))
    await house.services.rentals.describe(house.caller, rental.id, change)
    house.sandbox.world.age(SIX_DAYS)
    await house.look()
    return rental.id


async def due(house: House) -> list[UUID]:
    async with house.database.transaction(WORKER) as connection:
        return [rental_id for _, rental_id in await auto_prolong.due(connection, 10)]


async def prolong(house: House, rental_id: UUID) -> None:
    await prolong_by_plan(house.services.changes, background(house.tenant_id), rental_id)


async def intended(house: House, rental_id: UUID) -> None:
    """The intent of a process that died before it sent."""
    async with house.database.transaction(house.tenant) as connection:
        rental = await repository.locked(connection, house.tenant_id, rental_id)
        (order,) = await repository.orders_of(connection, house.tenant_id, rental_id)
        operation = await ledger.commit_intent(
            connection,
            background(house.tenant_id),
            KIND,
            upstream_key_id=house.key_id,
            rental_id=rental_id,
            request={
                "orders": [{"id": order.upstream_order_id}],
                "period": {"unit": "week", "count": 1},
                "automatic": True,
            },
            price=None,
        )
        noted = auto_prolong.tried(rental, rental.expires_at)
        await repository.reserve(connection, house.tenant_id, rental_id, operation.id, **noted)


def retry_now(superuser_url: str) -> None:
    with psycopg.connect(superuser_url) as connection:
        connection.execute("update rentals set auto_prolong_retry_at = now()")


def events(superuser_url: str) -> list[str]:
    with psycopg.connect(superuser_url, row_factory=dict_row) as connection:
        rows: list[dict[str, Any]] = connection.execute(
            "select type from events order by position"
        ).fetchall()
    return [row["type"] for row in rows]


def test_what_passes_is_tried_again_until_it_is_made(open_house: OpenHouse, superuser_url: str) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            rental_id = await planned(house)
            assert await due(house) == [rental_id]
            house.fault("prolong", FaultKind.RATE_LIMIT)
            await prolong(house, rental_id)
            assert await due(house) == []
            assert "rental.auto_prolong_failed" not in events(superuser_url)
            retry_now(superuser_url)
            assert await due(house) == [rental_id]
            await prolong(house, rental_id)
            await house.look()
            assert events(superuser_url)[-1] == "rental.prolonged"
            assert await due(house) == []

    asyncio.run(scenario())


def test_of_several_processes_one_prolongs(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            rental_id = await planned(house)
            await asyncio.gather(*(prolong(house, rental_id) for _ in range(5)))
            states = [op.state for op in await house.operations() if op.kind == "prolong"]
            assert states == ["succeeded"]

    asyncio.run(scenario())


def test_what_a_dead_process_never_sent_is_tried_again(open_house: OpenHouse, superuser_url: str) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            rental_id = await planned(house)
            await intended(house, rental_id)
            assert await due(house) == []
            die(superuser_url)
            assert await adopt_orphans(house.database, house.services.executor.resume) == 1
            assert "rental.auto_prolong_failed" not in events(superuser_url)
            retry_now(superuser_url)
            await prolong(house, rental_id)
            states = [operation.state for operation in await house.operations()]
            assert states == ["succeeded", "failed", "succeeded"]

    asyncio.run(scenario())


def test_a_plan_that_is_made_again_prolongs_no_end_twice(open_house: OpenHouse, superuser_url: str) -> None:
    """The new end was not read back yet, so the rental seems to end within the day still."""

    async def scenario() -> None:
        async with open_house() as house:
            rental_id = await planned(house)
            plan = Change(prolonging=Plan(Period(PeriodUnit.DAY, 3), None))
            await house.services.rentals.describe(house.caller, rental_id, plan)
            house.fault("orders", FaultKind.STATUS_500)
            await prolong(house, rental_id)
            await house.services.rentals.describe(house.caller, rental_id, plan)
            assert await due(house) == [rental_id]
            await prolong(house, rental_id)
            assert house.charged() == ["create", "prolong_max"]
            assert await due(house) == []
            assert "rental.auto_prolong_failed" not in events(superuser_url)

    asyncio.run(scenario())


def test_who_was_late_prolongs_no_further_end(open_house: OpenHouse, superuser_url: str) -> None:
    """One process waits for a price while another prolongs and sees the new end."""

    async def scenario() -> None:
        async with open_house() as house, open_house() as other:
            late = replace(house, services=other.services)
            rental_id = await planned(house)
            plan = Change(prolonging=Plan(Period(PeriodUnit.DAY, 3), None))
            await house.services.rentals.describe(house.caller, rental_id, plan)
            house.fault("getdata", FaultKind.HANG, seconds=1)
            waiting = asyncio.ensure_future(prolong(late, rental_id))
            await asyncio.sleep(0.3)
            await prolong(house, rental_id)
            await waiting
            assert house.charged() == ["create", "prolong_max"]
            assert "rental.auto_prolong_failed" not in events(superuser_url)

    asyncio.run(scenario())
