"""Claims of deliveries: fair to every endpoint, in order for each rental, and never lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from app.database import WORKER, Access
from app.events import repository as events
from app.events.types import EventType
from app.kinds.delete import delete
from app.webhooks import claims, deliveries, repository
from app.webhooks.claims import LEASE_SECONDS, Claim, Claimed
from app.webhooks.sender import Answer
from tests.integration.conftest import OpenHouse
from tests.integration.endpoints import hooked, queue_up, queued, until
from tests.integration.house import House
from tests.integration.postgres import statements_of

MOST = 4
TAKEN, REFUSED = Answer(0.1, 204), Answer(0.1, 500)

Scenario = Callable[[House], Coroutine[Any, Any, None]]


@pytest.fixture
def in_house(open_house: OpenHouse) -> Callable[[Scenario], None]:
    """Runs a scenario in a house."""

    def run(scenario: Scenario) -> None:
        async def opened() -> None:
            async with open_house() as house:
                await scenario(house)

        asyncio.run(opened())

    return run


async def claim(house: House, holder: UUID, *, endpoints: int = 50, most: int = MOST) -> Claim:
    async with house.database.transaction(WORKER) as connection:
        return await claims.claim(connection, holder, endpoints=endpoints, most=most)


async def end(
    house: House, holder: UUID, ended: Sequence[Claimed], answer: Answer, next_in: float | None = None
) -> None:
    """Have attempts end."""
    for claimed in ended:
        async with house.database.transaction(Access.tenant(claimed.tenant_id)) as connection:
            assert await deliveries.note(connection, claimed, holder, answer, next_in=next_in)


def due_in(superuser_url: str, webhook_id: UUID) -> float | None:
    """In how many seconds an endpoint is due."""
    with psycopg.connect(superuser_url) as connection:
        row = connection.execute(
            "select extract(epoch from due_at - clock_timestamp())::float8 from webhook_schedules"
            " where webhook_id = %s",
            [webhook_id],
        ).fetchone()
    assert row
    found: float | None = row[0]
    return found


def lapse(superuser_url: str) -> None:
    """Let time pass by which every lease has ended."""
    with psycopg.connect(superuser_url) as connection:
        for table, column in (("webhook_deliveries", "next_at"), ("webhook_schedules", "due_at")):
            connection.execute(
                f"update {table} set {column} = {column} - make_interval(secs => %s)", [LEASE_SECONDS]
            )


@asynccontextmanager
async def locked(superuser_url: str, statement: str) -> AsyncIterator[psycopg.Connection[Any]]:
    """Another transaction, which has locked what a statement reads."""
    with psycopg.connect(superuser_url) as connection:
        connection.execute(f"{statement} for update")
        yield connection


def test_every_endpoint_gets_its_share(in_house: Callable[[Scenario], None], superuser_url: str) -> None:
    async def scenario(house: House) -> None:
        many = [await hooked(house) for _ in range(3)]
        few = await hooked(house)
        for webhook_id in many:
            queue_up(superuser_url, house.tenant_id, webhook_id, rentals=9)
        queue_up(superuser_url, house.tenant_id, few, rentals=1)
        found = await claim(house, uuid4())
        shares = Counter(claimed.webhook_id for claimed in found.deliveries)
        assert shares == {few: 1, **dict.fromkeys(many, MOST)}
        assert found.next_in is not None
        assert LEASE_SECONDS - 1 < found.next_in <= LEASE_SECONDS
        assert (await claim(house, uuid4())).deliveries == []

    in_house(scenario)


def test_a_share_is_one_of_all_processes(in_house: Callable[[Scenario], None], superuser_url: str) -> None:
    async def scenario(house: House) -> None:
        one, other = uuid4(), uuid4()
        webhook_id = await hooked(house)
        queue_up(superuser_url, house.tenant_id, webhook_id, rentals=9)
        first = await claim(house, one)
        assert (await claim(house, other)).deliveries == []
        await end(house, one, first.deliveries[:1], TAKEN)
        (fifth,) = (await claim(house, other)).deliveries
        assert fifth.id not in {claimed.id for claimed in first.deliveries}

    in_house(scenario)


def test_25_dead_endpoints_with_followers_keep_nobody_waiting(
    in_house: Callable[[Scenario], None], open_house: OpenHouse, superuser_url: str
) -> None:
    """However often they are due, and whether their attempts end soon, late or not at all."""

    async def scenario(house: House) -> None:
        async with open_house() as other:
            holder, per_claim = uuid4(), 5
            dead: list[UUID] = []
            for tenant in (house, other):
                for _ in range(13):
                    dead.append(await hooked(tenant))
                    queue_up(superuser_url, tenant.tenant_id, dead[-1], rentals=20, of_each=5)
            alive = await hooked(other)
            for _ in range(3):
                queue_up(superuser_url, other.tenant_id, alive, rentals=1)
                served: list[UUID] = []
                while alive not in served:
                    found = await claim(house, holder, endpoints=per_claim)
                    served += dict.fromkeys(claimed.webhook_id for claimed in found.deliveries)
                    hanging = [claimed for claimed in found.deliveries if claimed.webhook_id in dead[:10]]
                    failed = [c for c in found.deliveries if c.webhook_id in dead[10:]]
                    await end(house, holder, failed, REFUSED, 0.0)
                    await end(house, holder, set_apart(found, alive), TAKEN)
                    assert len(hanging) <= MOST * per_claim
                assert len(served) <= len(dead) + per_claim

    in_house(scenario)


FEW_BLOCKS = 1_000
"""A claim that sorts the deliveries of an endpoint reads some 19,000."""


def blocks_read(superuser_url: str, statements: Mapping[str, Any]) -> int:
    """How many blocks Postgres reads for the statements of a claim, were it made once more."""
    with psycopg.connect(superuser_url) as connection:
        connection.execute(claims.BY_INDEX)
        plans = [
            connection.execute(f"explain (analyze, buffers, format json) {statement}", parameters).fetchone()
            for statement, parameters in statements.items()
            if "webhook_deliveries" in statement
        ]
        connection.rollback()
    assert len(plans) >= 3
    blocks = ("Shared Hit Blocks", "Shared Read Blocks")
    return sum(row[0][0]["Plan"][name] for row in plans if row for name in blocks)


def set_apart(found: Claim, webhook_id: UUID) -> list[Claimed]:
    return [claimed for claimed in found.deliveries if claimed.webhook_id == webhook_id]


@pytest.mark.parametrize(("rentals", "of_each"), [(10_000, 1), (100, 100), (1, 10_000)])
def test_an_endpoint_with_10_000_deliveries_costs_others_nothing(
    in_house: Callable[[Scenario], None], superuser_url: str, rentals: int, of_each: int
) -> None:
    async def scenario(house: House) -> None:
        holder = uuid4()
        dead, alive = await hooked(house), await hooked(house)
        queue_up(superuser_url, house.tenant_id, dead, rentals=rentals, of_each=of_each)
        queue_up(superuser_url, house.tenant_id, alive, rentals=1)
        first = await claim(house, holder)
        assert {claimed.webhook_id for claimed in first.deliveries} == {dead, alive}
        assert len(set_apart(first, dead)) == min(MOST, rentals)
        for _ in range(30):  # until what waits behind others is put there
            await end(house, holder, set_apart(first, dead), REFUSED, 3600.0)
            await asyncio.sleep(claims.SKIPPED_SECONDS / 10)
            first = await claim(house, holder)
        for _ in range(20):
            queue_up(superuser_url, house.tenant_id, alive, rentals=1)
            queue_up(superuser_url, house.tenant_id, dead, rentals=1)
            with statements_of(house.database) as ran:
                found = await claim(house, holder)
            assert alive in {claimed.webhook_id for claimed in found.deliveries}
            await end(house, holder, set_apart(found, dead), REFUSED, 3600.0)
            await end(house, holder, set_apart(found, alive), TAKEN)
        assert blocks_read(superuser_url, ran) < FEW_BLOCKS

    in_house(scenario)


def test_what_waits_at_a_dead_endpoint_is_read_once(
    in_house: Callable[[Scenario], None], superuser_url: str
) -> None:
    """Once put behind the first, followers are not due, and the endpoint isn't either."""

    async def scenario(house: House) -> None:
        holder = uuid4()
        webhook_id = await hooked(house)
        queue_up(superuser_url, house.tenant_id, webhook_id, rentals=2, of_each=200)
        found = await claim(house, holder)
        assert len(found.deliveries) == 2
        await end(house, holder, found.deliveries, REFUSED, 3600.0)
        assert (await claim(house, holder)).deliveries == []
        assert (await queued(house)).due == 0
        remaining = due_in(superuser_url, webhook_id)
        assert remaining is not None
        assert remaining > claims.BEHIND_SECONDS - 5

    in_house(scenario)


def test_a_rentals_next_is_due_when_the_one_before_has_ended(
    in_house: Callable[[Scenario], None], superuser_url: str
) -> None:
    async def scenario(house: House) -> None:
        holder = uuid4()
        webhook_id = await hooked(house)
        queue_up(superuser_url, house.tenant_id, webhook_id, rentals=1, of_each=4)
        seen: list[UUID] = []
        for answer, next_in in ((TAKEN, None), (REFUSED, 0.0), (REFUSED, None), (TAKEN, None), (TAKEN, None)):
            (claimed,) = (await claim(house, holder)).deliveries
            seen.append(claimed.id)
            assert (await claim(house, holder)).deliveries == []
            await end(house, holder, [claimed], answer, next_in)
        assert (await claim(house, holder)).deliveries == []
        assert len(set(seen)) == 4
        assert due_in(superuser_url, webhook_id) is None
        with psycopg.connect(superuser_url) as connection:
            rows = connection.execute("select id from webhook_deliveries order by position").fetchall()
        assert list(dict.fromkeys(seen)) == [row[0] for row in rows]

    in_house(scenario)


def test_what_is_behind_keeps_its_own_next_attempt(
    in_house: Callable[[Scenario], None], superuser_url: str
) -> None:
    """A delivery that is retried comes before a later one whose own next attempt is put off; its end is no
    reason to make that one sooner.
    """

    async def scenario(house: House) -> None:
        holder = uuid4()
        webhook_id = await hooked(house)
        queue_up(superuser_url, house.tenant_id, webhook_id, rentals=1, of_each=2)
        (first,) = (await claim(house, holder)).deliveries
        await end(house, holder, [first], TAKEN)
        (second,) = (await claim(house, holder)).deliveries
        await end(house, holder, [second], REFUSED, 3600.0)
        async with house.database.transaction(house.tenant) as connection:
            await deliveries.retry(connection, house.tenant_id, webhook_id, first.id)
        assert (await claim(house, holder)).deliveries == [first]
        await end(house, holder, [first], TAKEN)
        assert (await claim(house, holder)).deliveries == []

    in_house(scenario)


def test_a_lease_that_ends_is_anybodys_and_one_that_is_renewed_is_not(
    in_house: Callable[[Scenario], None], superuser_url: str
) -> None:
    async def scenario(house: House) -> None:
        dead, heir = uuid4(), uuid4()
        webhook_id = await hooked(house)
        queue_up(superuser_url, house.tenant_id, webhook_id, rentals=MOST)
        first = (await claim(house, dead)).deliveries
        lapse(superuser_url)
        async with house.database.transaction(WORKER) as connection:
            await claims.renew(connection, dead, [claimed.id for claimed in first])  # too late
        second = (await claim(house, heir)).deliveries
        assert {claimed.id for claimed in second} == {claimed.id for claimed in first}
        with psycopg.connect(superuser_url) as connection:
            connection.execute("update webhook_deliveries set next_at = next_at - interval '9 s'")
        async with house.database.transaction(WORKER) as connection:
            await claims.renew(connection, heir, [claimed.id for claimed in second])
        with psycopg.connect(superuser_url) as connection:
            connection.execute("update webhook_schedules set due_at = now()")
            connection.execute("update webhook_deliveries set next_at = next_at - interval '9 s'")
        assert (await claim(house, dead)).deliveries == []
        async with house.database.transaction(house.tenant) as connection:
            assert not await deliveries.note(connection, first[0], dead, TAKEN, next_in=None)
        await end(house, heir, second, TAKEN)

    in_house(scenario)


def test_several_processes_claim_each_delivery_once(
    in_house: Callable[[Scenario], None], superuser_url: str
) -> None:
    async def scenario(house: House) -> None:
        for _ in range(10):
            queue_up(superuser_url, house.tenant_id, await hooked(house), rentals=3, of_each=4)
        ended: list[UUID] = []

        async def process() -> None:
            holder = uuid4()
            while len(ended) < 120:
                found = await claim(house, holder, endpoints=3)
                await end(house, holder, found.deliveries, TAKEN)
                ended.extend(claimed.id for claimed in found.deliveries)

        async with asyncio.timeout(60):
            await asyncio.gather(*[process() for _ in range(4)])
        assert len(set(ended)) == len(ended) == 120

    in_house(scenario)


def test_a_claim_waits_for_no_lock(in_house: Callable[[Scenario], None], superuser_url: str) -> None:
    async def scenario(house: House) -> None:
        busy, free = await hooked(house), await hooked(house)
        for webhook_id in (busy, free):
            queue_up(superuser_url, house.tenant_id, webhook_id, rentals=1, of_each=2)
        of_busy = f"where webhook_id = '{busy}'"
        for table in ("webhook_schedules", "webhook_deliveries"):
            async with locked(superuser_url, f"select * from {table} {of_busy}"), asyncio.timeout(5):
                found = await claim(house, uuid4())
                assert {claimed.webhook_id for claimed in found.deliveries} <= {free}
        await asyncio.sleep(claims.SKIPPED_SECONDS)
        assert len(set_apart(await claim(house, uuid4()), busy)) == 1

    in_house(scenario)


def test_a_delivery_that_is_not_yet_committed_is_not_missed(
    in_house: Callable[[Scenario], None], superuser_url: str
) -> None:
    """A claim that looks at the endpoint meanwhile doesn't say that nothing is due there."""

    async def scenario(house: House) -> None:
        webhook_id = await hooked(house)
        queue_up(superuser_url, house.tenant_id, webhook_id, rentals=1)
        with psycopg.connect(superuser_url) as connection:
            # As an event's statement does, in its order.
            connection.execute(
                "insert into webhook_deliveries"
                " (tenant_id, id, webhook_id, event_id, event_type, rental_id, position)"
                " values (%s, new_uuid7(), %s, gen_random_uuid(), 'x', gen_random_uuid(), 9)",
                [house.tenant_id, webhook_id],
            )
            connection.execute("update webhook_schedules set due_at = least(due_at, now())")
            assert (await claim(house, uuid4())).deliveries == []
        assert len((await claim(house, uuid4())).deliveries) == 2

    in_house(scenario)


async def emitted_and_rolled_back(house: House) -> None:
    async with house.database.transaction(house.tenant) as connection:
        events.emit(connection, house.caller, EventType.WEBHOOK_DISABLED, {})
        raise ZeroDivisionError


def test_an_endpoint_is_due_if_and_when_its_event_is_committed(
    in_house: Callable[[Scenario], None], superuser_url: str
) -> None:
    async def scenario(house: House) -> None:
        webhook_id = await hooked(house)
        assert due_in(superuser_url, webhook_id) is None
        with pytest.raises(ZeroDivisionError):
            await emitted_and_rolled_back(house)
        assert due_in(superuser_url, webhook_id) is None
        await house.buy()
        remaining = due_in(superuser_url, webhook_id)
        assert remaining is not None
        assert remaining <= 0

    in_house(scenario)


def test_nothing_is_claimed_of_an_endpoint_that_is_disabled_until_it_is_enabled(
    in_house: Callable[[Scenario], None], superuser_url: str
) -> None:
    async def scenario(house: House) -> None:
        webhook_id = await hooked(house)
        queue_up(superuser_url, house.tenant_id, webhook_id, rentals=1)
        for status, count in (("disabled", 0), ("enabled", 1)):
            async with house.database.transaction(house.tenant) as connection:
                await repository.change(connection, house.tenant_id, webhook_id, {"status": status})
            assert len((await claim(house, uuid4())).deliveries) == count
        async with house.database.transaction(house.tenant) as connection:
            await repository.delete(connection, house.tenant_id, webhook_id)
        with psycopg.connect(superuser_url) as connection:
            for table in ("webhook_deliveries", "webhook_schedules"):
                assert connection.execute(f"select * from {table}").fetchall() == []

    in_house(scenario)


def test_an_event_is_written_though_its_webhook_is_deleted_at_that_moment(
    in_house: Callable[[Scenario], None], superuser_url: str
) -> None:
    waiting_for_it = "select from pg_locks where not granted and locktype = 'transactionid'"

    async def scenario(house: House) -> None:
        await hooked(house)
        with (
            psycopg.connect(superuser_url) as deleting,
            psycopg.connect(superuser_url, autocommit=True) as watching,
        ):
            deleting.execute("delete from webhooks")
            buying = asyncio.ensure_future(house.buy())
            await until(lambda: watching.execute(waiting_for_it).fetchall())
            deleting.commit()
            bought = (await buying).rental
        assert await house.history(bought.id) == ["rental.created"]
        assert (await queued(house)).pending == 0

    in_house(scenario)


def test_what_waits_behind_an_earlier_event_is_nobodys_to_deliver(
    in_house: Callable[[Scenario], None],
) -> None:
    async def scenario(house: House) -> None:
        await hooked(house)
        bought = (await house.buy()).rental
        await delete(house.services.changes, house.caller, bought.id, None)
        async with house.database.transaction(house.tenant) as connection:
            await connection.exec_driver_sql(
                "update webhook_deliveries set next_at = now() + interval '1 hour' where position ="
                " (select min(position) from webhook_deliveries)"
            )
        queue = await queued(house)
        assert (queue.pending, queue.due) == (2, 0)

    in_house(scenario)
