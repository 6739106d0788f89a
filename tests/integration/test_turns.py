"""Whose turn it is at an account: a purchase that could be mistaken for an unknown one waits for it."""

from __future__ import annotations

import asyncio

import psycopg

from app.accounts import lane
from app.database import new_id
from app.database.pipeline import run
from app.kinds import create
from app.kinds.purchases import Purchase
from app.operations import ledger
from app.operations.states import State
from tests.integration.conftest import OpenHouse
from tests.integration.house import WANTED, House
from tests.integration.postgres import waits_for_a_lock


def test_an_outcome_that_becomes_unknown_while_a_purchase_waits_for_the_lane_is_seen(
    open_house: OpenHouse,
) -> None:
    async def scenario() -> None:
        async with open_house(purchase_wait=1.0) as house:
            await house.look()
            async with house.database.transaction(house.tenant) as connection:
                holder = new_id()
                await run(connection, lane.taking(house.tenant_id, house.key_id, holder, 5.0))
                buying = asyncio.ensure_future(
                    house.services.purchases.purchase(house.caller, Purchase(**WANTED), None)
                )
                await waits_for_a_lock(house.database)
                await leave_unknown(house)
                lane.release(connection, house.tenant_id, house.key_id, holder)
            outcome = await buying
            assert not outcome.settled
            assert house.charged() == []
            states = {operation.rental_id: operation.state for operation in await house.operations()}
            assert states[outcome.rental.id] is State.QUEUED

    asyncio.run(scenario())


async def leave_unknown(house: House) -> None:
    """A purchase of the same country and service was sent, and nobody knows what came of it."""
    request = {"country": "RU", "services": ["opt1"]}
    async with house.database.transaction(house.tenant) as connection:
        operation = await ledger.commit_intent(
            connection,
            house.caller,
            create.KIND,
            upstream_key_id=house.key_id,
            rental_id=new_id(),
            request=request,
            price=None,
        )
        assert await run(connection, ledger.marking_sent(operation, 5.0))
        assert await ledger.settle(connection, operation, State.UNKNOWN)


def test_who_waits_long_for_the_pace_is_not_taken_for_dead(open_house: OpenHouse, superuser_url: str) -> None:
    async def scenario() -> None:
        pace = {"upstream_rate": 0.06, "upstream_burst": 1.0, "upstream_timeout": 30.0}
        async with open_house(purchase_wait=0.3, **pace) as house:
            outcome = await house.services.purchases.purchase(house.caller, Purchase(**WANTED), None)
            assert not outcome.settled  # its turn comes in 16 s
            with psycopg.connect(superuser_url) as connection:
                query = "select extract(epoch from attended_until - now())::float from operations"
                (attended_for,) = connection.execute(query).fetchone() or (0.0,)
            assert attended_for > 16
        with psycopg.connect(superuser_url) as connection:  # it was closed when the process stopped
            settled = connection.execute("select state, error ->> 'code' from operations").fetchall()
        assert settled == [("failed", "upstream_busy")]

    asyncio.run(scenario())
