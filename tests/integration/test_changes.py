"""Changes of rentals by what is known of them at that moment, not by what was seen before the last change."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from app.errors import PriceAboveMax
from app.kinds.add_service import add_service
from app.kinds.delete import delete
from app.kinds.prolong import prolong
from app.sandbox.faults import FaultKind
from app.values import Period, PeriodUnit
from tests.integration.conftest import OpenHouse


def test_a_service_is_priced_until_the_end_that_was_not_read_back(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            bought = (await house.buy()).rental
            house.sandbox.world.age(6 * 86_400)
            await house.look()
            changes, caller = house.services.changes, house.caller
            house.fault("orders", FaultKind.STATUS_500)
            month = Period(PeriodUnit.MONTH, 1)
            await prolong(changes, caller, bought.id, month, max_price=None, claim=None)
            with pytest.raises(PriceAboveMax):
                await add_service(changes, caller, bought.id, "opt29", max_price=Decimal(3), claim=None)
            assert house.charged() == ["create", "prolong"]

    asyncio.run(scenario())


def test_a_list_from_before_a_deletion_brings_nothing_back(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=3.0) as house:
            bought = (await house.buy()).rental
            await house.look()
            house.fault("orders", FaultKind.HANG, "after", seconds=0.6)
            looking = asyncio.ensure_future(house.look())
            await asyncio.sleep(0.3)
            await delete(house.services.changes, house.caller, bought.id, None)
            await looking
            assert (await house.rental(bought.id)).status == "deleted"
            assert await house.history(bought.id) == ["rental.created", "rental.deleted"]

    asyncio.run(scenario())


def test_a_list_from_before_brings_back_no_part_of_a_deleted_rental(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=3.0) as house:
            bought = (await house.buy(services=("opt1", "opt2"))).rental
            await house.look()
            house.fault("orders", FaultKind.HANG, "after", seconds=1)
            house.fault("delete", FaultKind.LATE, seconds=0)
            house.fault("delete", FaultKind.HANG, "after", seconds=1.5)
            looking = asyncio.ensure_future(house.look())
            await asyncio.sleep(0.3)
            deleting = asyncio.ensure_future(delete(house.services.changes, house.caller, bought.id, None))
            await looking  # between the first order's deletion and the second's
            await deleting
            found = await house.rental(bought.id)
            assert found.status == "deleted"
            assert (await house.history(bought.id)).count("rental.deleted") == 1

    asyncio.run(scenario())


def test_all_orders_of_a_purchase_are_told_though_its_answer_named_one(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            bought = (await house.buy(services=("opt1", "opt2"))).rental
            assert [order.service for order in bought.upstream_orders] == ["opt1", "opt2"]
            assert await house.history(bought.id) == ["rental.created"]

    asyncio.run(scenario())


def test_a_rental_is_deleted_whole_though_its_purchase_named_one_of_its_orders(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            await house.look()
            house.fault("orders", FaultKind.STATUS_500)
            bought = (await house.buy(services=("opt1", "opt2"))).rental
            assert len(bought.upstream_orders) == 1
            await delete(house.services.changes, house.caller, bought.id, None)
            assert not house.sandbox.world.living
            assert (await house.rental(bought.id)).status == "deleted"

    asyncio.run(scenario())
