"""Looks: states, ends and messages come from the upstream's lists; one empty list closes nothing."""

from __future__ import annotations

import asyncio
import time
from uuid import UUID

import psycopg

from app.accounts import schedule
from app.messages import repository as messages
from app.messages.schemas import Message
from app.sandbox.faults import Fault, FaultKind
from app.sandbox.forms.variations import Variation
from app.sandbox.options import Shape
from app.worker import Worker
from tests.integration.conftest import OpenHouse
from tests.integration.house import House
from tests.integration.postgres import statements_of


async def feed(house: House, rental_id: UUID, scope: str | None, position: int) -> list[tuple[int, Message]]:
    async with house.database.transaction(house.tenant) as connection:
        return await messages.after(
            connection, house.tenant_id, rental_id, scope=scope, position=position, limit=10
        )


def test_an_expired_order_expires_its_rental_after_three_looks(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            bought = (await house.buy()).rental
            await house.look()
            house.sandbox.world.age(8 * 86_400)
            for _ in range(2):
                await house.look()
                assert (await house.rental(bought.id)).status == "active"
            await house.look()
            expired = await house.rental(bought.id)
            assert (expired.status, expired.number_state) == ("expired", "inactive")
            assert (await house.history(bought.id))[-1] == "rental.expired"

    asyncio.run(scenario())


def test_an_order_that_vanishes_before_its_end_is_deleted(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            bought = (await house.buy()).rental
            house.sandbox.world.living.clear()
            for _ in range(3):
                await house.look()
            assert (await house.rental(bought.id)).status == "deleted"

    asyncio.run(scenario())


def test_an_order_that_comes_back_is_not_closed(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            bought = (await house.buy()).rental
            living = dict(house.sandbox.world.living)
            for _ in range(3):
                house.sandbox.world.living.clear()
                await house.look()
                await house.look()
                house.sandbox.world.living.update(living)
                await house.look()
            assert (await house.rental(bought.id)).status == "active"

    asyncio.run(scenario())


def test_broken_lists_close_nothing(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            bought = (await house.buy()).rental
            house.sandbox.faults.waiting.append(
                Fault(method="orders", kind=FaultKind.REFUSE, message="Oops", times=5)
            )
            for _ in range(5):
                await house.look()
            assert (await house.rental(bought.id)).status == "active"
            async with house.database.transaction(house.tenant) as connection:
                state = await schedule.state(connection, house.tenant_id, house.key_id)
            assert state is not None
            assert (state.failures, state.error_code) == (5, "upstream_error")

    asyncio.run(scenario())


def test_messages_are_kept_once_each_in_both_scopes_and_every_form(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            seen_in_full(house)
            bought = (await house.buy()).rental
            now = int(time.time())
            house.arrive("code 1", at=now)
            house.arrive("code 1", at=now)
            house.arrive("for another", service="opt2", at=now)
            for _ in range(3):
                await house.look()
            house.arrive("code 2", at=now + 1)
            for _ in range(2):
                await house.look()
            found = await house.kept(bought.id)
            assert sorted((m.text, m.scope) for m in found) == [
                ("code 1", "rented"),
                ("code 1", "rented"),
                ("code 2", "rented"),
                ("for another", "other"),
            ]
            assert (await house.history(bought.id)).count("sms.received") == 4

    asyncio.run(scenario())


def test_what_the_upstream_forgets_is_kept(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            bought = (await house.buy()).rental
            house.arrive("code 1")
            await house.look()
            (order,) = house.sandbox.world.living.values()
            order.number.messages.clear()
            order.seen = 0
            house.arrive("code 2")
            await house.look()
            assert [m.text for m in await house.kept(bought.id)] == ["code 1", "code 2"]

    asyncio.run(scenario())


def seen_in_full(house: House) -> None:
    """All forms that were seen but those that keep back by what a message is known: its sender and time."""
    kept_back = (
        Variation.FIELDS_MISSING,
        Variation.SMS_STRINGS,
        Variation.DATE_TEXT,
        Variation.OTHER_SMS_NAMES,
    )
    house.sandbox.shape = Shape.SEEN
    house.sandbox.variations = frozenset(Variation).difference(kept_back)


def test_a_message_that_turns_out_to_be_rented_is_not_missed_by_who_follows_those(
    open_house: OpenHouse,
) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            seen_in_full(house)
            bought = (await house.buy()).rental
            now = int(time.time())
            house.arrive("moves", service="opt2", at=now)
            await house.look()
            house.arrive("code 1", at=now + 1)
            await house.look()
            ((position, first),) = await feed(house, bought.id, "rented", 0)
            assert first.text == "code 1"
            (order,) = house.sandbox.world.living.values()
            for message in order.number.messages:
                message.service = "opt1"
            order.seen = 0
            await house.look()
            ((_, moved),) = await feed(house, bought.id, "rented", position)
            assert (moved.text, moved.scope) == ("moves", "rented")
            assert [m.text for _, m in await feed(house, bought.id, None, 0)] == ["moves", "code 1"]
            assert (await house.history(bought.id)).count("sms.received") == 2

    asyncio.run(scenario())


def test_a_message_seen_through_two_orders_of_one_number_is_one(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            seen_in_full(house)
            bought = (await house.buy(services=("opt1", "opt2"))).rental
            await house.look()
            house.arrive("code 1")
            await house.look()
            (message,) = await house.kept(bought.id)
            assert message.scope == "rented"

    asyncio.run(scenario())


def test_many_who_want_to_see_it_now_cost_one_look(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(sync_interval=1.0, sync_idle_interval=30.0) as house:
            bought = (await house.buy()).rental
            await asyncio.sleep(1.1)
            before = len([c for c in house.sandbox.calls if c["method"] == "orders"])
            asking = asyncio.gather(
                *(house.services.refresher.refresh(house.caller, bought.id) for _ in range(20))
            )
            await asyncio.sleep(0.3)
            await house.look()
            assert await asking == [True] * 20
            assert not await house.services.refresher.refresh(house.caller, bought.id)
            looks = len([c for c in house.sandbox.calls if c["method"] == "orders"]) - before
            assert looks == 1

    asyncio.run(scenario())


def test_two_workers_never_look_at_once_and_the_account_goes_on_after_a_stop(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(sync_interval=0.1, sync_idle_interval=0.1) as house:
            bought = (await house.buy(activate=True)).rental
            stop = asyncio.Event()
            workers = [asyncio.ensure_future(Worker(house.services).run(stop)) for _ in range(2)]
            for _ in range(200):
                if await house.kept(bought.id):
                    break
                await asyncio.sleep(0.05)
            stop.set()
            await asyncio.gather(*workers)
            assert len(await house.kept(bought.id)) == 1
            async with house.database.transaction(house.tenant) as connection:
                state = await schedule.state(connection, house.tenant_id, house.key_id)
            assert state is not None
            assert state.failures == 0

    asyncio.run(scenario())


def test_looks_that_find_nothing_new_write_nothing(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(sync_interval=0.05, sync_idle_interval=0.05) as house:
            bought = (await house.buy(activate=True)).rental
            stop = asyncio.Event()
            working = asyncio.ensure_future(Worker(house.services).run(stop))
            for _ in range(200):
                if await house.kept(bought.id):
                    break
                await asyncio.sleep(0.05)
            await asyncio.sleep(1)
            asked = len(house.sandbox.calls)
            with statements_of(house.database) as found:
                await asyncio.sleep(2)
            assert len(house.sandbox.calls) > asked + 20
            stop.set()
            await working
        tables = ("rentals", "upstream_orders", "messages", "events", "upstream_keys")
        written = [s for s in found if s.lower().lstrip().startswith(("update", "insert", "delete", "with"))]
        of_them = [s for s in written for table in tables if f" {table} " in s]
        # But for when messages were read, of all accounts in one statement every five seconds.
        assert [s for s in of_them if "set messages_read_at = " not in s] == []
        assert len(of_them) <= 1

    asyncio.run(scenario())


def test_an_order_that_came_and_went_between_two_looks_is_seen_to_be_gone(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(sync_interval=0.4, sync_idle_interval=0.4) as house:
            stop = asyncio.Event()
            working = asyncio.ensure_future(Worker(house.services).run(stop))
            await asyncio.sleep(2.5)
            bought = (await house.buy()).rental
            house.sandbox.world.living.clear()  # so that the list is what it was before
            for _ in range(200):
                if (await house.rental(bought.id)).status == "deleted":
                    break
                await asyncio.sleep(0.05)
            stop.set()
            await working
            assert (await house.rental(bought.id)).status == "deleted"

    asyncio.run(scenario())


def test_looks_of_which_turns_are_reserved_ask_for_none(open_house: OpenHouse, superuser_url: str) -> None:
    async def scenario() -> None:
        pace = {"upstream_rate": 4, "upstream_burst": 20, "upstream_global_rate": 40}
        async with open_house(sync_interval=0.5, sync_idle_interval=0.5, **pace) as house:
            await house.buy()
            stop = asyncio.Event()
            working = asyncio.ensure_future(Worker(house.services).run(stop))
            drawn = set[float]()

            async def until(calls: int) -> None:
                async with asyncio.timeout(30):
                    while len(house.sandbox.calls) < calls:
                        await asyncio.sleep(0.02)
                        drawn.update(row[0] for row in connection.execute(DRAWN))

            with psycopg.connect(superuser_url, autocommit=True) as connection:
                await until(len(house.sandbox.calls) + 15)  # each is drawn by itself until some are reserved
                drawn.clear()
                await until(len(house.sandbox.calls) + 15)
            stop.set()
            await working
            assert len(drawn) < 8  # each turn by itself would be seen, but for two within 20 ms

    asyncio.run(scenario())


DRAWN = "select refilled_at from pace_buckets where name <> 'all'"
"""When the account's bucket was last drawn on."""
