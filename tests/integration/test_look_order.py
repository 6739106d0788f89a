"""What a look reads first, and that nothing that can't be read, or is long, keeps the rest waiting."""

from __future__ import annotations

import asyncio
import time

import psycopg
import pytest

from app.errors import RentgateError
from app.operations.states import State
from app.sandbox.faults import FaultKind
from app.sandbox.world import Arrived, Order
from app.worker import Worker
from tests.integration.conftest import OpenHouse
from tests.integration.house import House


def archived(house: House, count: int) -> list[Order]:
    """Orders that ended long ago."""
    orders = [house.order_from_elsewhere() for _ in range(count)]
    for order in orders:
        order.begin, order.until = order.begin - 40 * 86_400, time.time() - 30 * 86_400
    house.sandbox.world.settle()
    return orders


def test_messages_that_can_not_be_read_keep_no_others_waiting(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            first, second = (await house.buy()).rental, (await house.buy()).rental
            await house.look()
            one, two = house.sandbox.world.living.values()
            for order in (one, two):
                order.number.messages.append(Arrived("opt1", "Google", f"code {order.id}", time.time()))
            del house.sandbox.world.living[one.id]  # its flag stays up
            house.sandbox.world.living[one.id] = one
            house.fault("sms", FaultKind.REFUSE, message="Oops", times=2)
            await house.look()
            house.fault("sms", FaultKind.CUT_JSON)
            await house.look()
            await house.look()
            found = [m.text for r in (first, second) for m in await house.kept(r.id)]
            assert sorted(found) == [f"code {one.id}", f"code {two.id}"]

    asyncio.run(scenario())


def test_who_wants_to_see_a_rental_is_told_what_is_wrong_with_it_alone(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            await house.buy()
            wanted = (await house.buy()).rental
            await house.look()
            house.fault("sms", FaultKind.REFUSE, message="Oops")
            with pytest.raises(RentgateError, match="Oops"):
                await house.refresh(wanted.id)
            house.fault("sms", FaultKind.LATE, seconds=0)  # the wanted one's comes first
            house.fault("sms", FaultKind.REFUSE, message="Oops")
            await asyncio.sleep(0.1)  # past the interval
            assert await house.refresh(wanted.id)

    asyncio.run(scenario())


def test_absence_counts_while_the_list_can_be_read_though_messages_can_not(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            await house.buy(services=("opt2",))
            house.fault("create", FaultKind.DROP, "before")
            await house.buy()
            house.fault("sms", FaultKind.RATE_LIMIT, times=10_000)
            for _ in range(100):
                await house.look()
                operation = (await house.operations())[0]
                if operation.state is State.FAILED:
                    break
                await asyncio.sleep(0.02)
            assert operation.state is State.FAILED

    asyncio.run(scenario())


def test_an_order_that_is_gone_is_looked_for_in_the_archive_though_the_pace_is_slow(
    open_house: OpenHouse,
) -> None:
    """As at the default pace, nearly all of which goes into the lists of orders."""

    async def scenario() -> None:
        async with open_house(upstream_rate=10, upstream_burst=3.0, sync_interval=0.12) as house:
            gone, stays = (await house.buy()).rental, (await house.buy(activate=True)).rental
            archived(house, 450)
            (first, last) = sorted(house.sandbox.world.living)
            del house.sandbox.world.living[first]
            number = house.sandbox.world.living[last].number
            number.active_from, number.active_until = time.time(), time.time() + 3600
            stop = asyncio.Event()
            working = asyncio.ensure_future(Worker(house.services).run(stop))
            for n in range(200):
                if n == 20:
                    number.messages.append(Arrived("opt1", "Google", "code 1", time.time()))
                texts = [message.text for message in await house.kept(stays.id)]
                if (await house.rental(gone.id)).status == "deleted" and "code 1" in texts:
                    break
                await asyncio.sleep(0.1)
            stop.set()
            await working
            assert (await house.rental(gone.id)).status == "deleted"
            assert "code 1" in texts

    asyncio.run(scenario())


def test_an_order_that_came_back_while_its_end_was_looked_for_is_not_closed(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=3.0) as house:
            bought = (await house.buy()).rental
            living = dict(house.sandbox.world.living)
            house.sandbox.world.living.clear()
            for _ in range(2):
                await house.look()
            house.fault("get_rent_history", FaultKind.HANG, "after", seconds=0.6)
            looking = asyncio.ensure_future(house.look())
            await asyncio.sleep(0.3)
            house.sandbox.world.living.update(living)
            await house.services.changes.reader.read(house.caller, house.key_id)
            await looking
            assert (await house.rental(bought.id)).status == "active"

    asyncio.run(scenario())


def test_an_archive_is_read_whole_once_and_then_only_its_news(
    open_house: OpenHouse, superuser_url: str
) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            archived(house, 250)
            for _ in range(6):
                await house.look()
            whole = house.asked("get_rent_history")
            assert whole == 4
            with psycopg.connect(superuser_url) as connection:
                connection.execute("update account_looks set archive_due_at = now()")
            archived(house, 1)
            for _ in range(2):
                await house.look()
            assert (
                house.asked("get_rent_history") == whole + 3
            )  # pages with news and without, and the other end
            with psycopg.connect(superuser_url) as connection:
                (rentals,) = connection.execute("select count(*) from rentals").fetchone() or (0,)
            assert rentals == 251

    asyncio.run(scenario())
