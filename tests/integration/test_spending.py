"""The spend limit: however many purchases come at once, held + spent never passes it."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from app.database import PLATFORM, new_id
from app.database.pipeline import run
from app.errors import PriceUnknown, SpendLimitExceeded
from app.kinds import create
from app.operations import ledger, spending
from app.operations.operation import Operation
from app.operations.states import State
from app.tenants import service as tenants
from tests.integration.conftest import OpenHouse
from tests.integration.house import House


async def intend(house: House, price: Decimal | None) -> Operation:
    async with house.database.transaction(house.tenant) as connection:
        return await ledger.commit_intent(
            connection,
            house.caller,
            create.KIND,
            upstream_key_id=house.key_id,
            rental_id=new_id(),
            request={},
            price=price,
        )


async def limit(house: House, dollars: int | None) -> None:
    async with house.database.transaction(PLATFORM) as connection:
        value = None if dollars is None else Decimal(dollars)
        await tenants.change_tenant(connection, house.caller, house.tenant_id, {"spend_limit": value})


async def figures(house: House) -> tuple[Decimal, Decimal]:
    async with house.database.transaction(house.tenant) as connection:
        month = await spending.this_month(connection, house.tenant_id)
    return month.held, month.spent


def test_many_at_once_never_pass_the_limit(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            await limit(house, 50)
            results = await asyncio.gather(
                *(intend(house, Decimal(7)) for _ in range(20)), return_exceptions=True
            )
            made = [result for result in results if isinstance(result, Operation)]
            refused = [result for result in results if isinstance(result, SpendLimitExceeded)]
            assert (len(made), len(refused)) == (7, 13)
            assert refused[0].required == Decimal(7)
            assert await figures(house) == (Decimal(49), Decimal(0))

    asyncio.run(scenario())


def test_a_hold_is_spent_or_released_once(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            operation = await intend(house, Decimal(5))
            async with house.database.transaction(house.tenant) as connection:
                await run(connection, ledger.marking_sent(operation, 10))
                assert await ledger.settle(connection, operation, State.SUCCEEDED)
                assert await ledger.settle(connection, operation, State.SUCCEEDED) is None
                assert await ledger.settle(connection, operation, State.FAILED) is None
            assert await figures(house) == (Decimal(0), Decimal(5))

            failed = await intend(house, Decimal(3))
            async with house.database.transaction(house.tenant) as connection:
                await ledger.settle(connection, failed, State.FAILED, error=PriceUnknown())
            assert await figures(house) == (Decimal(0), Decimal(5))

    asyncio.run(scenario())


def test_an_order_that_turns_up_late_is_spent_after_all(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            operation = await intend(house, Decimal(5))
            async with house.database.transaction(house.tenant) as connection:
                await ledger.settle(connection, operation, State.FAILED, error=PriceUnknown())
                assert await ledger.settle(connection, operation, State.SUCCEEDED)
            assert await figures(house) == (Decimal(0), Decimal(5))

    asyncio.run(scenario())


def test_a_limit_needs_a_price(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            assert (await intend(house, None)).price is None
            await limit(house, 50)
            with pytest.raises(PriceUnknown):
                await intend(house, None)

    asyncio.run(scenario())
