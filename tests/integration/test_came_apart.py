"""What a look finds of operations that a person decides about, or of which a part is done: never a guess."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal

from app.kinds.prolong import prolong
from app.kinds.restore import restore
from app.operations.operation import Operation
from app.operations.states import State
from app.sandbox.faults import FaultKind
from app.sandbox.world import Order
from app.settlement import resolution
from app.values import Period, PeriodUnit
from tests.integration.conftest import OpenHouse
from tests.integration.house import House

THREE_DAYS = Period(PeriodUnit.DAY, 3)


async def resolve(house: House, operation: Operation, *, succeeded: bool) -> None:
    async with house.database.transaction(house.tenant) as connection:
        await resolution.resolve(
            connection, house.caller, operation.id, succeeded=succeeded, upstream_order_id=None
        )


def test_what_a_person_called_failed_stays_so(open_house: OpenHouse) -> None:
    """Both candidates were bought by hand, says the person: they are rentals of their own from then on."""

    async def scenario() -> None:
        async with open_house(upstream_timeout=2.0, reconcile_seconds=30) as house:
            await house.look()
            house.fault("create", FaultKind.HANG, seconds=20)
            pending = (await house.buy()).rental
            strangers = {str(house.order_from_elsewhere().id) for _ in range(2)}
            await house.look()
            (operation,) = await house.operations()
            assert operation.state is State.REVIEW
            await resolve(house, operation, succeeded=False)
            for _ in range(2):
                await house.look()
            assert (await house.rental(pending.id)).status == "failed"
            (operation,) = await house.operations()
            assert operation.state is State.FAILED
            assert {c["upstream_order_id"] for c in operation.candidates or ()} == strangers
            assert await house.spent() == 0
            late = house.order_from_elsewhere()
            await house.look()
            assert (await house.rental(pending.id)).upstream_order_id == str(late.id)

    asyncio.run(scenario())


async def of_two_services(house: House) -> tuple[Order, Order]:
    """The orders of the account's one rental."""
    await house.buy(services=("opt1", "opt2"))
    first, second = house.sandbox.world.living.values()
    return first, second


def test_a_rental_half_of_which_lives_may_be_restored_under_a_new_id(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=2.0) as house:
            first, _ = await of_two_services(house)
            (operation,) = await house.operations()
            first.until = time.time() - 60
            for _ in range(4):
                await house.look()
            assert (await house.rental(operation.rental_id)).status == "active"
            house.fault("restore_user", FaultKind.DROP, "after")
            await restore(
                house.services.changes, house.caller, operation.rental_id, max_price=None, claim=None
            )
            living = house.sandbox.world.living
            del living[first.id]
            first.id = 999_999
            living[first.id] = first
            found = await house.look_until_settled(operation.rental_id)
            assert {order.id for order in found.upstream_orders} >= {"999999"}
            restoring = (await house.operations())[0]
            assert (restoring.kind, restoring.state) == ("restore", State.SUCCEEDED)

    asyncio.run(scenario())


def test_a_purchase_may_get_a_number_that_the_account_has_already(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=2.0) as house:
            first = (await house.buy(services=("opt2",))).rental
            (number,) = [order.number for order in house.sandbox.world.living.values()]
            house.fault("create", FaultKind.DROP, "after")
            pending = (await house.buy()).rental
            made = max(house.sandbox.world.living.values(), key=lambda order: order.id)
            made.number = number
            found = await house.look_until_settled(pending.id)
            assert (found.status, found.upstream_order_id) == ("active", str(made.id))
            assert len((await house.rental(first.id)).upstream_orders) == 1

    asyncio.run(scenario())


def test_the_orders_of_one_purchase_are_one_rental_though_one_was_seen_before_its_answer(
    open_house: OpenHouse,
) -> None:
    """The page has `create_multi` answer as `create` does: with one order."""

    async def scenario() -> None:
        async with open_house(upstream_timeout=8.0) as house:
            await house.look()
            house.fault("create_multi", FaultKind.HANG, "after", seconds=2)
            buying = asyncio.ensure_future(house.buy(services=("opt1", "opt2")))
            for _ in range(200):
                if len(house.sandbox.world.living) == 2:
                    break
                await asyncio.sleep(0.02)
            await house.look()
            assert not buying.done()
            found = (await buying).rental
            for _ in range(2):
                await house.look()
            found = await house.rental(found.id)
            assert len(found.upstream_orders) == 2
            assert "rental.imported" not in await house.history(found.id)

    asyncio.run(scenario())


def test_an_order_of_a_number_that_is_rented_joins_its_rental(open_house: OpenHouse) -> None:
    """Somebody added a service on the provider's website."""

    async def scenario() -> None:
        async with open_house() as house:
            bought = (await house.buy()).rental
            await house.look()
            world = house.sandbox.world
            (order,) = world.living.values()
            world.new_order(order.account, order.number, "opt29", 7)
            for _ in range(2):
                await house.look()
            found = await house.rental(bought.id)
            assert [order.service for order in found.upstream_orders] == ["opt1", "opt29"]
            assert [service.code for service in found.services] == ["opt1", "opt29"]

    asyncio.run(scenario())


def test_what_is_left_of_a_rental_that_came_apart_is_a_persons_to_do(open_house: OpenHouse) -> None:
    """He prolonged the others on the website before he said so: none of them is paid for again."""

    async def scenario() -> None:
        async with open_house() as house:
            await house.buy(services=("opt1", "opt2", "opt20"))
            world = house.sandbox.world
            _, second, third = world.living.values()
            account = world.accounts[house.api_key]
            account.balance = world.price_of_day("RU", "opt1", 3) * 3  # enough for the first
            (bought,) = await house.operations()
            await house.look()
            await prolong(
                house.services.changes, house.caller, bought.rental_id, THREE_DAYS, max_price=None, claim=None
            )
            operation = (await house.operations())[0]
            assert (operation.state, operation.step) == (State.REVIEW, 1)
            account.balance = Decimal(100)
            second.until += 3 * 86_400
            for _ in range(3):
                await house.look()
                await asyncio.sleep(0.1)
            operation = (await house.operations())[0]
            assert (operation.state, operation.step) == (State.REVIEW, 1)
            third.until += 3 * 86_400
            await resolve(house, operation, succeeded=True)
            assert house.charged() == ["create_multi", "prolong_max"]

    asyncio.run(scenario())


def test_a_step_that_was_refused_does_not_turn_up_late(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            await house.buy(services=("opt1", "opt2"))
            world = house.sandbox.world
            _, second = world.living.values()
            world.accounts[house.api_key].balance = world.price_of_day("RU", "opt1", 3) * 3
            (bought,) = await house.operations()
            await house.look()
            await prolong(
                house.services.changes, house.caller, bought.rental_id, THREE_DAYS, max_price=None, claim=None
            )
            operation = (await house.operations())[0]
            assert (operation.state, operation.step) == (State.REVIEW, 1)
            await resolve(house, operation, succeeded=False)
            before = await house.spent()
            second.until += 3 * 86_400  # somebody does it by hand
            for _ in range(2):
                await house.look()
            operation = (await house.operations())[0]
            assert operation.state is State.FAILED
            assert operation.error is not None
            assert operation.error["code"] == "insufficient_balance"
            assert await house.spent() == before

    asyncio.run(scenario())


def test_a_step_that_turns_up_late_does_not_send_the_next(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=2.0) as house:
            await house.buy(services=("opt1", "opt2", "opt20"))
            _, second, third = house.sandbox.world.living.values()
            (bought,) = await house.operations()
            await house.look()
            house.fault("prolong_max", FaultKind.LATE, seconds=0)  # the first of them is made
            house.fault("prolong_max", FaultKind.DROP, "before")
            await prolong(
                house.services.changes, house.caller, bought.rental_id, THREE_DAYS, max_price=None, claim=None
            )
            for _ in range(100):
                await house.look()
                operation = (await house.operations())[0]
                if operation.state is State.REVIEW:
                    break
                await asyncio.sleep(0.02)
            assert (operation.state, operation.step) == (State.REVIEW, 1)
            second.until += 3 * 86_400  # the upstream finished after all
            for _ in range(3):
                await house.look()
                await asyncio.sleep(0.05)
            operation = (await house.operations())[0]
            assert (operation.state, operation.step) == (State.REVIEW, 2)
            assert house.charged().count("prolong_max") == 1
            await resolve(house, operation, succeeded=False)
            price = operation.charged_before
            assert price > 0
            assert await house.spent() == price + (bought.price or 0)
            third.until += 3 * 86_400
            for _ in range(2):
                await house.look()
            operation = (await house.operations())[0]
            assert operation.state is State.SUCCEEDED
            assert await house.spent() == (operation.price or 0) + (bought.price or 0)

    asyncio.run(scenario())


def test_a_late_order_of_a_rented_number_finds_its_failed_purchase(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=2.0) as house:
            await house.buy(services=("opt2",))
            (number,) = [order.number for order in house.sandbox.world.living.values()]
            failed = await house.given_up()
            late = house.order_from_elsewhere()
            late.number = number
            await house.look()
            found = await house.rental(failed)
            assert (found.status, found.upstream_order_id) == ("active", str(late.id))

    asyncio.run(scenario())
