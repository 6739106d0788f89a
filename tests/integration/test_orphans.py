"""What a dead process leaves behind: never sent means failed, sent means looked up; nothing is rebought."""

from __future__ import annotations

import asyncio
from typing import Any

from app.database import new_id
from app.database.pipeline import run
from app.idempotency import repository as idempotency
from app.idempotency.repository import Claim
from app.kinds import create, delete
from app.operations import ledger
from app.operations.operation import Operation
from app.operations.states import State
from app.rentals import repository, views
from app.rentals.views import RentalFilter
from app.sandbox.shop import COUNTRIES
from app.settlement import outcomes
from app.settlement.recovery import adopt_orphans
from tests.integration.conftest import OpenHouse
from tests.integration.house import House
from tests.integration.postgres import die

REQUEST: dict[str, Any] = {
    "country": "RU",
    "upstream_country": "RU",
    "services": ["opt1"],
    "service_names": {},
    "period": {"unit": "week", "count": 1},
    "operator": None,
    "activate": False,
    "metadata": {},
}


async def begun(house: House, *, sent: bool) -> Operation:
    """An operation whose process died right after its commit."""
    async with house.database.transaction(house.tenant) as connection:
        operation = await ledger.commit_intent(
            connection,
            house.caller,
            create.KIND,
            upstream_key_id=house.key_id,
            rental_id=new_id(),
            request=REQUEST,
            price=None,
        )
        claim = await idempotency.claim(connection, house.tenant_id, f"key-{sent}", b"request", 60)
        assert isinstance(claim, Claim)
        await idempotency.attach(connection, claim, operation.id)
    if sent:
        async with house.database.transaction(house.tenant) as connection:
            assert await run(connection, ledger.marking_sent(operation, 60))
    return operation


def test_attended_operations_are_left_alone(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            await begun(house, sent=False)
            await begun(house, sent=True)
            assert await adopt_orphans(house.database, house.services.executor.resume) == 0

    asyncio.run(scenario())


def test_what_was_never_sent_fails_and_its_key_is_free_again(
    open_house: OpenHouse, superuser_url: str
) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            operation = await begun(house, sent=False)
            die(superuser_url)
            assert await adopt_orphans(house.database, house.services.executor.resume) == 1
            (settled,) = await house.operations()
            assert settled.state is State.FAILED
            async with house.database.transaction(house.tenant) as connection:
                again = await idempotency.claim(connection, house.tenant_id, "key-False", b"request", 60)
            assert isinstance(again, Claim)
            assert not house.sandbox.world.ledger
            assert operation.id == settled.id

    asyncio.run(scenario())


def test_a_dead_processs_sent_purchase_is_found(open_house: OpenHouse, superuser_url: str) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            operation = await begun(house, sent=True)
            account = house.sandbox.world.accounts[house.api_key]
            number = house.sandbox.world.new_number(COUNTRIES["RU"])
            house.sandbox.world.new_order(account, number, "opt1", 7)
            die(superuser_url)
            assert await adopt_orphans(house.database, house.services.executor.resume) == 1
            assert (await house.rental(operation.rental_id)).status == "pending"
            settled = await house.look_until_settled(operation.rental_id)
            assert settled.status == "active"
            assert await house.history(settled.id) == ["rental.pending", "rental.created"]

    asyncio.run(scenario())


def test_a_process_that_comes_back_too_late_does_not_send(open_house: OpenHouse, superuser_url: str) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            operation = await begun(house, sent=False)
            die(superuser_url)
            async with house.database.transaction(house.tenant) as connection:
                assert not await run(connection, ledger.marking_sent(operation, 60))
            await adopt_orphans(house.database, house.services.executor.resume)
            async with house.database.transaction(house.tenant) as connection:
                assert not await ledger.attend(connection, operation)

    asyncio.run(scenario())


def test_a_dead_process_leaves_the_second_order_to_another_one(
    open_house: OpenHouse, superuser_url: str
) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            account = house.sandbox.world.accounts[house.api_key]
            number = house.sandbox.world.new_number(COUNTRIES["RU"])
            made = [
                house.sandbox.world.new_order(account, number, service, 7) for service in ("opt1", "opt2")
            ]
            await house.look()
            async with house.database.transaction(house.tenant) as connection:
                (found,) = await views.listed(
                    connection, house.tenant_id, RentalFilter(), limit=2, before=None
                )
                operation = await ledger.commit_intent(
                    connection,
                    house.caller,
                    delete.KIND,
                    upstream_key_id=house.key_id,
                    rental_id=found.id,
                    request={"orders": [{"id": str(order.id)} for order in made]},
                    price=None,
                )
                await repository.reserve(connection, house.tenant_id, found.id, operation.id)
                assert await run(connection, ledger.marking_sent(operation, 60))
                advanced = await outcomes.made(connection, operation, ())
                assert advanced is not None
                assert (advanced.state, advanced.step) == (State.QUEUED, 1)
            die(superuser_url)
            assert await adopt_orphans(house.database, house.services.executor.resume) == 1
            assert await adopt_orphans(house.database, house.services.executor.resume) == 0
            for _ in range(200):
                (settled,) = await house.operations()
                if settled.is_open:
                    await asyncio.sleep(0.02)
            assert (settled.state, settled.step) == (State.SUCCEEDED, 1)
            assert list(house.sandbox.world.archive) == [made[1].id]
            assert (await house.rental(found.id)).status == "deleted"

    asyncio.run(scenario())
