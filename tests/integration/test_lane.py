"""The money lane: one holder at a time, taken over only when its lease has run out."""

from __future__ import annotations

import asyncio
import time
from uuid import UUID

from app.accounts import lane
from app.database import new_id
from app.database.pipeline import run
from tests.integration.conftest import OpenHouse
from tests.integration.house import House


async def take(house: House, holder: UUID, call_timeout: float = 5.0) -> lane.Lease | None:
    async with house.database.transaction(house.tenant) as connection:
        return await run(connection, lane.taking(house.tenant_id, house.key_id, holder, call_timeout))


def test_one_holder_until_it_is_given_back(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            first, second = new_id(), new_id()
            lease = await take(house, first)
            assert lease is not None
            assert lease.send_by <= time.monotonic() + lane.SEND_WITHIN
            assert await take(house, second) is None
            renewed = await take(house, first)
            assert renewed is not None
            assert renewed.fence > lease.fence
            async with house.database.transaction(house.tenant) as connection:
                lane.release(connection, house.tenant_id, house.key_id, second)
            assert await take(house, second) is None
            async with house.database.transaction(house.tenant) as connection:
                lane.release(connection, house.tenant_id, house.key_id, first)
            assert await take(house, second) is not None

    asyncio.run(scenario())


def test_a_dead_holders_lease_ends_within_time_out_plus_five_seconds() -> None:
    assert lane.lease_seconds(20.0) <= 20.0 + 5.0


def test_after_the_lease_another_takes_over(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            assert await take(house, new_id(), -lane.lease_seconds(0.0)) is not None
            await asyncio.sleep(0.01)
            assert await take(house, new_id()) is not None

    asyncio.run(scenario())


def test_of_many_at_once_one_gets_it(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            leases = await asyncio.gather(*(take(house, new_id()) for _ in range(10)))
            assert sum(lease is not None for lease in leases) == 1

    asyncio.run(scenario())
