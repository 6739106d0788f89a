"""Orders that turn up after their operation was given up, and orders that are no purchase of ours."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from uuid import UUID

from app.kinds.restore import restore
from app.operations import spending
from app.operations.states import State
from app.sandbox.faults import FaultKind
from app.sandbox.shop import COUNTRIES
from app.sandbox.world import Order
from tests.integration.conftest import House, OpenHouse
from tests.integration.test_purchases import (
    buy,
    fault,
    history,
    look_until_settled,
    operations,
    rental,
)


def order_from_elsewhere(house: House, service: str = "opt1", days: int = 7) -> Order:
    world = house.sandbox.world
    account = world.accounts[house.api_key]
    return world.new_order(account, world.new_number(COUNTRIES["RU"]), service, days)


async def given_up(house: House) -> UUID:
    """A purchase that hung, and proved absent for the whole time."""
    fault(house, "create", FaultKind.HANG, seconds=20)
    pending = (await buy(house)).rental
    assert (await look_until_settled(house, pending.id)).status == "failed"
    return pending.id


async def spent(house: House) -> Decimal:
    async with house.database.transaction(house.tenant) as connection:
        month = await spending.this_month(connection, house.tenant_id)
    assert month.held == 0
    return month.spent


def test_a_late_order_is_joined_to_its_failed_purchase(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=2.0) as house:
            rental_id = await given_up(house)
            assert await spent(house) == 0
            late = order_from_elsewhere(house)
            await house.look()
            found = await rental(house, rental_id)
            assert (found.status, found.upstream_order_id) == ("active", str(late.id))
            assert (await history(house, rental_id))[-1] == "rental.recovered"
            (operation,) = await operations(house)
            assert operation.state is State.SUCCEEDED
            assert operation.error is None
            assert await spent(house) == Decimal("4.2")

    asyncio.run(scenario())


def test_each_of_two_late_orders_finds_a_purchase_of_its_own(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=2.0) as house:
            both = {await given_up(house), await given_up(house)}
            orders = {str(order_from_elsewhere(house).id) for _ in range(2)}
            for _ in range(3):
                await house.look()
            found = [await rental(house, rental_id) for rental_id in both]
            assert {item.upstream_order_id for item in found} == orders
            assert await spent(house) == Decimal("8.4")

    asyncio.run(scenario())


def test_an_order_of_something_else_is_not_joined(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=2.0) as house:
            rental_id = await given_up(house)
            order_from_elsewhere(house, service="opt2")
            order_from_elsewhere(house, days=30)
            await house.look()
            assert (await rental(house, rental_id)).status == "failed"

    asyncio.run(scenario())


def test_a_refused_purchase_takes_no_later_order(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=2.0) as house:
            house.sandbox.world.stock["RU", "opt1"] = 0
            await asyncio.gather(buy(house), return_exceptions=True)
            order_from_elsewhere(house)
            await house.look()
            assert [operation.state for operation in await operations(house)] == [State.FAILED]

    asyncio.run(scenario())


def test_a_fitting_order_after_a_review_settles_it(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=2.0, reconcile_seconds=30) as house:
            await house.look()
            fault(house, "create", FaultKind.HANG, seconds=20)
            pending = (await buy(house)).rental
            order_from_elsewhere(house)
            order_from_elsewhere(house)
            await house.look()
            assert (await rental(house, pending.id)).status == "review"
            assert (await history(house, pending.id))[-1] == "rental.review"
            late = order_from_elsewhere(house)
            await house.look()
            found = await rental(house, pending.id)
            assert (found.status, found.upstream_order_id) == ("active", str(late.id))
            assert (await history(house, pending.id))[-1] == "rental.recovered"

    asyncio.run(scenario())


def test_what_an_account_held_before_its_first_look_is_not_taken_for_a_purchase(
    open_house: OpenHouse,
) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=2.0) as house:
            order_from_elsewhere(house)
            fault(house, "create", FaultKind.DROP, "before")
            pending = (await buy(house)).rental
            assert (await look_until_settled(house, pending.id)).status == "failed"

    asyncio.run(scenario())


def test_a_restore_that_lives_on_under_a_new_id_is_found(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=2.0, reconcile_seconds=30) as house:
            bought = (await buy(house)).rental
            (old,) = house.sandbox.world.living.values()
            house.sandbox.world.age(8 * 86_400)
            for _ in range(3):
                await house.look()
            fault(house, "restore_user", FaultKind.DROP, "after")
            await restore(house.services.changes, house.caller, bought.id, max_price=None, claim=None)
            living = house.sandbox.world.living
            del living[old.id]
            old.id = 999_999
            living[old.id] = old
            settled = await look_until_settled(house, bought.id)
            assert (settled.status, settled.upstream_order_id) == ("active", "999999")
            assert len(settled.upstream_orders) == 1

    asyncio.run(scenario())


def test_a_second_restore_does_not_wake_the_first(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=2.0) as house:
            bought = (await buy(house)).rental
            house.sandbox.world.age(8 * 86_400)
            for _ in range(3):
                await house.look()
            fault(house, "restore_user", FaultKind.DROP, "before")
            await restore(house.services.changes, house.caller, bought.id, max_price=None, claim=None)
            assert (await look_until_settled(house, bought.id)).status == "expired"
            await restore(house.services.changes, house.caller, bought.id, max_price=None, claim=None)
            await house.look()
            states = [(operation.kind, operation.state) for operation in await operations(house)]
            assert states == [("restore", "succeeded"), ("restore", "failed"), ("create", "succeeded")]

    asyncio.run(scenario())


def test_an_order_of_a_purchase_under_way_is_not_taken_for_a_late_one(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=2.0) as house:
            old = await given_up(house)
            fault(house, "create", FaultKind.HANG, "after", seconds=20)  # made, but not answered yet
            buying = asyncio.ensure_future(buy(house))
            await asyncio.sleep(0.5)
            assert house.sandbox.world.ledger
            await house.look()
            assert (await rental(house, old)).status == "failed"
            bought = (await buying).rental
            found = await look_until_settled(house, bought.id)
            assert found.status == "active"
            assert (await rental(house, old)).status == "failed"
            assert await spent(house) == Decimal("4.2")

    asyncio.run(scenario())
