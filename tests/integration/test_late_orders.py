"""Orders that turn up after their operation was given up, and orders that are no purchase of ours."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from app.kinds.restore import restore
from app.operations.states import State
from app.sandbox.faults import FaultKind
from tests.integration.conftest import OpenHouse


def test_a_late_order_is_joined_to_its_failed_purchase(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=2.0) as house:
            rental_id = await house.given_up()
            assert await house.spent() == 0
            late = house.order_from_elsewhere()
            await house.look()
            found = await house.rental(rental_id)
            assert (found.status, found.upstream_order_id) == ("active", str(late.id))
            assert (await house.history(rental_id))[-1] == "rental.recovered"
            (operation,) = await house.operations()
            assert operation.state is State.SUCCEEDED
            assert operation.error is None
            assert await house.spent() == Decimal("4.2")

    asyncio.run(scenario())


def test_each_of_two_late_orders_finds_a_purchase_of_its_own(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=2.0) as house:
            both = {await house.given_up(), await house.given_up()}
            orders = {str(house.order_from_elsewhere().id) for _ in range(2)}
            for _ in range(3):
                await house.look()
            found = [await house.rental(rental_id) for rental_id in both]
            assert {item.upstream_order_id for item in found} == orders
            assert await house.spent() == Decimal("8.4")

    asyncio.run(scenario())


def test_an_order_of_something_else_is_not_joined(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=2.0) as house:
            rental_id = await house.given_up()
            house.order_from_elsewhere(service="opt2")
            house.order_from_elsewhere(days=30)
            await house.look()
            assert (await house.rental(rental_id)).status == "failed"

    asyncio.run(scenario())


def test_a_refused_purchase_takes_no_later_order(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=2.0) as house:
            house.sandbox.world.stock["RU", "opt1"] = 0
            await asyncio.gather(house.buy(), return_exceptions=True)
            house.order_from_elsewhere()
            await house.look()
            assert [operation.state for operation in await house.operations()] == [State.FAILED]

    asyncio.run(scenario())


def test_a_fitting_order_after_a_review_settles_it(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=2.0, reconcile_seconds=30) as house:
            await house.look()
            house.fault("create", FaultKind.HANG, seconds=20)
            pending = (await house.buy()).rental
            house.order_from_elsewhere()
            house.order_from_elsewhere()
            await house.look()
            assert (await house.rental(pending.id)).status == "review"
            assert (await house.history(pending.id))[-1] == "rental.review"
            late = house.order_from_elsewhere()
            await house.look()
            found = await house.rental(pending.id)
            assert (found.status, found.upstream_order_id) == ("active", str(late.id))
            assert (await house.history(pending.id))[-1] == "rental.recovered"

    asyncio.run(scenario())


def test_what_an_account_held_before_its_first_look_is_not_taken_for_a_purchase(
    open_house: OpenHouse,
) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=2.0) as house:
            house.order_from_elsewhere()
            house.fault("create", FaultKind.DROP, "before")
            pending = (await house.buy()).rental
            assert (await house.look_until_settled(pending.id)).status == "failed"

    asyncio.run(scenario())


def test_a_restore_that_lives_on_under_a_new_id_is_found(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=2.0, reconcile_seconds=30) as house:
            bought = (await house.buy()).rental
            (old,) = house.sandbox.world.living.values()
            house.sandbox.world.age(8 * 86_400)
            for _ in range(3):
                await house.look()
            house.fault("restore_user", FaultKind.DROP, "after")
            await restore(house.services.changes, house.caller, bought.id, max_price=None, claim=None)
            living = house.sandbox.world.living
            del living[old.id]
            old.id = 999_999
            living[old.id] = old
            settled = await house.look_until_settled(bought.id)
            assert (settled.status, settled.upstream_order_id) == ("active", "999999")
            assert len(settled.upstream_orders) == 1

    asyncio.run(scenario())


def test_a_second_restore_does_not_wake_the_first(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=2.0) as house:
            bought = (await house.buy()).rental
            house.sandbox.world.age(8 * 86_400)
            for _ in range(3):
                await house.look()
            house.fault("restore_user", FaultKind.DROP, "before")
            await restore(house.services.changes, house.caller, bought.id, max_price=None, claim=None)
            assert (await house.look_until_settled(bought.id)).status == "expired"
            await restore(house.services.changes, house.caller, bought.id, max_price=None, claim=None)
            await house.look()
            states = [(operation.kind, operation.state) for operation in await house.operations()]
            assert states == [("restore", "succeeded"), ("restore", "failed"), ("create", "succeeded")]

    asyncio.run(scenario())


def test_an_order_of_a_purchase_under_way_is_not_taken_for_a_late_one(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=2.0) as house:
            old = await house.given_up()
            house.fault("create", FaultKind.HANG, "after", seconds=20)  # made, but not answered yet
            buying = asyncio.ensure_future(house.buy())
            await asyncio.sleep(0.5)
            assert house.sandbox.world.ledger
            await house.look()
            assert (await house.rental(old)).status == "failed"
            bought = (await buying).rental
            found = await house.look_until_settled(bought.id)
            assert found.status == "active"
            assert (await house.rental(old)).status == "failed"
            assert await house.spent() == Decimal("4.2")

    asyncio.run(scenario())
