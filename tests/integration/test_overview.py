"""What operators are shown: accounts and their looks, the pace, open operations, webhooks."""

from __future__ import annotations

import asyncio

import sqlalchemy as sa

from app.accounts import leases, schedule
from app.accounts import overview as accounts
from app.database import WORKER, new_id
from app.operations.states import State
from app.overview import Overview, overview
from app.sandbox.faults import Fault, FaultKind
from app.webhooks import deliveries, repository
from tests.integration.conftest import OpenHouse
from tests.integration.house import House, add_account


async def seen(house: House, limit: int = 50) -> Overview:
    return await overview(house.database, house.services.pace, limit)


def test_an_account_is_shown_with_its_rentals_and_its_last_look(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(sync_interval=500, sync_idle_interval=600) as house:
            await house.buy()
            await house.buy()
            await house.look()
            (account,) = (await seen(house)).accounts
            assert (account.tenant, account.label, account.status) == ("test", "a", "active")
            assert (account.watched, account.held, account.failures) == (True, False, 0)
            assert account.seen_ago is not None
            assert 0 <= account.seen_ago < 60
            assert 400 < account.due_in <= 600
            now = await seen(house)
            assert (now.living, now.lag.accounts, now.more) == ({house.key_id: 2}, 0, False)

    asyncio.run(scenario())


def test_looks_that_are_late_or_under_way_or_failed(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(sync_interval=500, sync_idle_interval=600) as house:
            async with house.database.transaction(house.tenant) as connection:
                await schedule.make_due(connection, house.tenant_id, house.key_id)
            await asyncio.sleep(0.2)
            late = await seen(house)
            assert late.accounts[0].due_in <= -0.2
            assert late.lag.accounts == 1
            assert late.lag.seconds == late.lag.longest_seconds >= 0.2

            async with house.database.transaction(WORKER) as connection:
                worker = new_id()
                await leases.register(connection, worker, 60)
                assert await leases.take(connection, worker, 1)
            under_way = await seen(house)
            assert under_way.accounts[0].held
            assert under_way.lag.accounts == 0

            async with house.database.transaction(WORKER) as connection:
                await leases.reap(connection, worker)
            house.sandbox.faults.waiting.append(Fault(method="orders", kind=FaultKind.STATUS_500))
            await house.look()
            (failed,) = (await seen(house)).accounts
            assert (failed.failures, failed.error_code) == (1, "upstream_unavailable")
            assert 20 < failed.due_in <= 30  # the longest back-off

    asyncio.run(scenario())


def test_a_deleted_account_is_neither_shown_nor_said_to_be_unseen(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            await house.look()
            await asyncio.sleep(0.1)
            async with house.database.transaction(WORKER) as connection:
                assert await accounts.oldest_look_age(connection) >= 0.1
            async with house.database.transaction(house.tenant) as connection:
                await house.services.vault.delete(connection, house.tenant_id, house.key_id)
            async with house.database.transaction(WORKER) as connection:
                assert await accounts.oldest_look_age(connection) == 0
            assert not (await seen(house)).accounts
            assert (await seen(house)).lag.accounts == 0

    asyncio.run(scenario())


def test_what_is_left_of_the_pace(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(upstream_rate=0.01, upstream_burst=30, upstream_global_rate=0.5) as house:
            whole = (await seen(house)).pace
            assert (whole[house.key_id].left, whole[house.key_id].burst) == (30, 30)
            assert (whole[None].left, whole[None].burst) == (1, 1)
            await house.look()
            drawn = (await seen(house)).pace
            assert 28 <= drawn[house.key_id].left < 29.5
            assert drawn[None].left <= 1
        async with open_house(upstream_rate=0, upstream_global_rate=0) as house:
            assert (await seen(house)).pace == {}

    asyncio.run(scenario())


def test_open_operations_with_the_age_of_the_oldest(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(reconcile_seconds=60) as house:
            house.sandbox.faults.waiting.append(Fault(method="create", kind=FaultKind.STATUS_500))
            await house.buy()
            await asyncio.sleep(0.1)
            operations = (await seen(house)).operations
            assert list(operations) == [State.QUEUED, State.SENT, State.UNKNOWN, State.REVIEW]
            assert [standing.count for standing in operations.values()] == [0, 0, 1, 0]
            assert operations[State.UNKNOWN].oldest_seconds >= 0.1

    asyncio.run(scenario())


def test_webhooks_that_wait_are_late_or_disabled(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            async with house.database.transaction(house.tenant) as connection:
                for name in ("waits", "late", "off"):
                    made, _ = await repository.add(
                        connection,
                        house.services.keyring,
                        house.tenant_id,
                        url=f"https://{name}.example",
                        events=["*"],
                        description=None,
                    )
                    test = await deliveries.add_test(connection, house.tenant_id, made.id, "webhook.test", {})
                    if name == "waits":
                        later = sa.text(
                            "update webhook_deliveries set next_at = now() + interval '1 hour' where id = :id"
                        )
                        await connection.execute(later, {"id": test.id})
                await repository.disable(connection, house.tenant_id, made.id)
            queue = (await seen(house)).webhooks
            assert (queue.pending, queue.due, queue.disabled) == (3, 1, 1)
            assert 0 < queue.oldest_due_seconds < 60

    asyncio.run(scenario())


def test_no_more_accounts_are_shown_than_were_asked_for(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            await add_account(house.services, house.tenant_id, "second", label="b")
            two, one = await seen(house), await seen(house, limit=1)
            assert ([a.label for a in two.accounts], two.more) == (["a", "b"], False)
            assert ([a.label for a in one.accounts], one.more) == (["a"], True)

    asyncio.run(scenario())
