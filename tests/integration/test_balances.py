"""Balances: read after each paid call and now and then, kept, and held against a mark."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from app.accounts import balances, overview, schedule
from app.accounts.balances import AccountBalance
from app.accounts.buckets import Limit
from app.accounts.models import account_balances, balance_readings
from app.accounts.pace import Pace
from app.audit.models import upstream_usage
from app.database import WORKER, new_id
from app.errors import RentgateError
from app.events import repository as events
from app.events.models import events as events_table
from app.kinds.activate import activate
from app.kinds.add_service import add_service
from app.kinds.delete import delete
from app.sandbox.faults import Fault, FaultKind
from app.sync.balances import BalanceReader, BalanceTimes
from app.telemetry import Metrics
from app.upstream.balance import BalanceClient
from app.upstream.transport import Transport
from app.vault.models import upstream_keys
from app.vault.stored import REJECTED
from tests.balance_server import BalanceServer, Reply
from tests.integration.conftest import OpenHouse
from tests.integration.house import House

DOCUMENTED = (
    b'{"statusCode":200,"data":{"balance":10.5}}',
    b'{"statusCode":200,"data":{"balance":"10.5"}}',
)
REFUSED = b'{"statusCode":401,"error":{"type":"Unauthorized","description":"Invalid apikey"}}'


@pytest.fixture
def server() -> Iterator[BalanceServer]:
    with BalanceServer() as serving:
        yield serving


@dataclass(frozen=True, slots=True)
class Readers:
    """A house whose balances are read by `reader`."""

    house: House
    reader: BalanceReader
    server: BalanceServer
    pace: Pace

    def says(self, amount: Any) -> None:
        """What the provider says from now on."""
        self.server.replies[self.house.api_key] = Reply.balance(amount)

    async def step(self) -> int:
        """Read what is due; how many calls that made."""
        before = len(self.server.asked)
        await self.reader.step()
        await self.reader.idle()
        return len(self.server.asked) - before

    async def reading(self, amount: Any) -> None:
        """Have the account's balance read now, and find this."""
        self.says(amount)
        await self.set(due_at=sa.func.now(), failures=0)
        assert await self.step() == 1

    async def set(self, **values: Any) -> None:
        """Change the account's row."""
        async with self.house.database.transaction(self.house.tenant) as connection:
            await connection.execute(account_balances.update().values(**values))

    async def row(self) -> Any:
        """The account's row, with the seconds until it is due."""
        due_in = sa.func.extract("epoch", account_balances.c.due_at - sa.func.clock_timestamp())
        async with self.house.database.transaction(self.house.tenant) as connection:
            query = sa.select(account_balances, due_in.cast(sa.Double).label("due_in"))
            return (await connection.execute(query)).one()

    async def readings(self) -> Sequence[Any]:
        """All readings, oldest first."""
        query = sa.select(balance_readings).order_by(balance_readings.c.asked_at)
        async with self.house.database.transaction(self.house.tenant) as connection:
            return (await connection.execute(query)).all()

    async def known(self) -> AccountBalance:
        """What is known of the account's balance."""
        async with self.house.database.transaction(self.house.tenant) as connection:
            return await balances.of_account(connection, self.house.tenant_id, self.house.key_id)

    async def mark(self, mark: str | None) -> None:
        """Set the account's mark."""
        async with self.house.database.transaction(self.house.tenant) as connection:
            amount = None if mark is None else Decimal(mark)
            await balances.set_mark(connection, self.house.caller, self.house.key_id, amount)

    async def told(self) -> list[Any]:
        """The data of the events that tell of a low balance."""
        async with self.house.database.transaction(self.house.tenant) as connection:
            found = await events.after(connection, self.house.tenant_id, 0, types=None, limit=100)
        return [row.data for row in found if row.type == "upstream_key.balance_low"]


@asynccontextmanager
async def reading(
    open_house: OpenHouse,
    server: BalanceServer,
    *,
    times: BalanceTimes | None = None,
    balance: Limit = Limit(0, 1),
    everything: Limit = Limit(0, 1),
    call_timeout: float = 2.0,
    **settings: Any,
) -> AsyncIterator[Readers]:
    async with open_house(**settings) as house:
        transport = Transport(server.url, call_timeout)
        services = house.services
        pace = Pace(
            house.database,
            services.metrics,
            account=Limit(0.001, 1),
            everything=everything,
            patience=call_timeout,
            balance=balance,
        )
        reader = BalanceReader(
            house.database,
            services.calls,
            BalanceClient(transport),
            pace,
            services.metrics,
            call_timeout=call_timeout,
            times=times or BalanceTimes(),
        )
        yield Readers(house, reader, server, pace)
        await reader.stop()
        await transport.aclose()


@pytest.mark.parametrize("body", DOCUMENTED)
def test_a_reading_is_kept_and_the_next_waits_for_its_interval(
    open_house: OpenHouse, server: BalanceServer, body: bytes
) -> None:
    async def scenario() -> None:
        async with reading(open_house, server) as at:
            server.replies[at.house.api_key] = Reply(body)
            assert (await at.known()).shown is None
            assert await at.step() == 1
            known = await at.known()
            assert (known.amount, known.low_balance_below) == (Decimal("10.5"), None)
            (kept,) = await at.readings()
            assert (kept.amount, kept.read_at) == (Decimal("10.5"), known.read_at)
            assert timedelta(0) < kept.read_at - kept.asked_at < timedelta(seconds=5)
            assert 590 < (await at.row()).due_in <= 600
            assert await at.step() == 0
            (asked,) = server.asked
            assert asked.path == "/activation/balance"
            assert asked.headers["apikey"] == at.house.api_key
            assert asked.headers["accept-encoding"] == "identity"
            usage = await uses(at.house)
            assert usage == {("balance", "succeeded"): 1}
            assert 'calls_total{method="balance",outcome="succeeded"} 1' in metrics(at.house)

    asyncio.run(scenario())


async def uses(house: House) -> dict[tuple[str, str], int]:
    async with house.database.transaction(house.tenant) as connection:
        rows = (await connection.execute(sa.select(upstream_usage))).all()
    return {(row.method, row.outcome): row.calls for row in rows}


def metrics(house: House) -> str:
    return house.services.metrics.render().decode()


def test_each_paid_call_is_followed_by_a_reading_and_no_other_is(
    open_house: OpenHouse, server: BalanceServer
) -> None:
    async def scenario() -> None:
        async with reading(open_house, server) as at:
            services, caller = at.house.services, at.house.caller
            at.says("500")
            assert await at.step() == 1
            bought = (await at.house.buy()).rental
            assert await at.step() == 1
            await activate(services.changes, caller, bought.id, None)
            assert await at.step() == 0
            await add_service(services.changes, caller, bought.id, "opt20", max_price=None, claim=None)
            assert await at.step() == 1
            at.house.sandbox.faults.waiting.append(
                Fault(method="create", kind=FaultKind.REFUSE, message="No numbers available")
            )
            with pytest.raises(RentgateError):
                await at.house.buy()
            assert await at.step() == 1
            await at.house.look()
            await delete(services.changes, caller, bought.id, None)
            assert await at.step() == 0

    asyncio.run(scenario())


def test_an_outcome_that_turns_out_later_is_followed_by_a_reading(
    open_house: OpenHouse, server: BalanceServer
) -> None:
    async def scenario() -> None:
        async with reading(open_house, server, reconcile_seconds=30) as at:
            at.says("500")
            at.house.sandbox.faults.waiting.append(Fault(method="create", kind=FaultKind.DROP, when="after"))
            pending = (await at.house.buy()).rental
            while await at.step():
                pass
            await at.house.look_until_settled(pending.id)
            assert await at.step() == 1

    asyncio.run(scenario())


def test_a_call_that_is_settled_while_the_balance_is_read_has_it_read_again(
    open_house: OpenHouse, server: BalanceServer
) -> None:
    async def scenario() -> None:
        async with reading(open_house, server) as at:
            server.replies[at.house.api_key] = Reply(DOCUMENTED[0], after=1.0)
            await at.reader.step()
            while not server.asked:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await at.house.buy()
            assert await at.step() == 0  # one at a time
            assert await at.step() == 1

    asyncio.run(scenario())


def test_a_crossing_is_told_once(open_house: OpenHouse, server: BalanceServer) -> None:
    async def scenario() -> None:
        async with reading(open_house, server) as at:
            await at.mark("10")
            for amount in ("12", "10", "9.99", 9, "10.5", "-1"):
                await at.reading(amount)
            first, second = await at.told()
            assert first == {
                "upstream_key_id": str(at.house.key_id),
                "balance": {
                    "amount": "9.99",
                    "currency": "USD",
                    "read_at": first["balance"]["read_at"],
                },
                "low_balance_below": {"amount": "10.00", "currency": "USD"},
            }
            assert second["balance"]["amount"] == "-1.00"

    asyncio.run(scenario())


def test_a_mark_that_is_raised_above_the_balance_is_a_crossing(
    open_house: OpenHouse, server: BalanceServer
) -> None:
    async def scenario() -> None:
        async with reading(open_house, server) as at:
            await at.mark("10")
            assert await at.told() == []  # nothing was read yet
            await at.reading("50")
            await at.mark("60")
            await at.mark("70")  # it was below before
            assert len(await at.told()) == 1
            await at.reading("40")
            assert len(await at.told()) == 1
            await at.mark(None)
            await at.mark("40.0001")
            assert [data["low_balance_below"]["amount"] for data in await at.told()] == ["60.00", "40.0001"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(REFUSED, 401), "upstream_unavailable"),
        (Reply(REFUSED), "upstream_key_rejected"),
        (Reply(b"<html>", 404), "upstream_unavailable"),
        (Reply(b"", 302, headers={"Location": "/elsewhere"}), "upstream_unavailable"),
        (Reply(b"", 429), "upstream_busy"),
        (Reply(b"<html>Just a moment</html>"), "upstream_bad_response"),
        (Reply.balance("1e999999999"), "upstream_bad_response"),
        (Reply(b" " * (3 * 1024 * 1024)), "upstream_bad_response"),
        (Reply(DOCUMENTED[0], after=1.5), "upstream_timeout"),
    ],
)
def test_a_balance_that_can_not_be_read_is_tried_again_and_nothing_else_comes_of_it(
    open_house: OpenHouse, server: BalanceServer, reply: Reply, code: str
) -> None:
    async def scenario() -> None:
        times = BalanceTimes(interval=600, retry=10)
        async with reading(open_house, server, times=times, call_timeout=0.8) as at:
            await at.reading("77")
            server.replies[at.house.api_key] = reply
            for failures, shortest in enumerate((10, 20, 40), 1):
                await at.set(due_at=sa.func.now())
                assert await at.step() == 1
                row = await at.row()
                assert (row.failures, row.error_code) == (failures, code)
                assert shortest - 1 < row.due_in <= shortest * 1.25
            await at.house.buy()  # what it costs is not known soon, and it is not made dearer by that
            assert await at.step() == 0
            assert (await at.known()).amount == 77
            async with at.house.database.transaction(at.house.tenant) as connection:
                assert await connection.scalar(sa.select(upstream_keys.c.status)) == "active"
                types = set(await connection.scalars(sa.select(events_table.c.type)))
            assert types == {"rental.created"}
            assert (await uses(at.house))["balance", code] == 3
            await at.set(due_at=sa.func.now())
            at.says("60")
            assert await at.step() == 1
            row = await at.row()
            assert (row.amount, row.failures, row.error_code) == (60, 0, None)
            assert await at.step() == 0  # it was asked for after the purchase was settled
            assert len(await at.readings()) == 2

    asyncio.run(scenario())


def test_a_host_that_is_away_opens_no_breaker_and_keeps_nobody_waiting(
    open_house: OpenHouse, server: BalanceServer
) -> None:
    async def scenario() -> None:
        async with reading(open_house, server, times=BalanceTimes(retry=0.001, interval=0.01)) as at:
            server.replies[at.house.api_key] = Reply(b"", 503)
            for _ in range(25):
                await at.set(due_at=sa.func.now())
                await at.step()
            assert len(server.asked) == 25
            await at.house.services.calls.read(
                at.house.caller, at.house.key_id, "orders", lambda client, key: client.orders(key)
            )
            server.replies[at.house.api_key] = Reply(b"", after=1.0)
            await at.set(due_at=sa.func.now())
            began = time.monotonic()
            await at.reader.step()
            await at.reader.step()
            await at.house.buy()
            assert time.monotonic() - began < 0.9

    asyncio.run(scenario())


def test_it_has_a_pace_of_its_own_and_is_counted_among_all(
    open_house: OpenHouse, server: BalanceServer
) -> None:
    async def scenario() -> None:
        async with reading(
            open_house, server, balance=Limit(0.1, 1.0), everything=Limit(0.01, 2), offers_ttl=60
        ) as at:
            at.says("500")
            assert await at.step() == 1  # the account's own bucket has none to give
            await at.set(due_at=sa.func.now())
            assert await at.step() == 0
            assert 8 < (await at.row()).due_in <= 10
            async with at.house.database.transaction(WORKER) as connection:
                left = await at.pace.allowances(connection, [at.house.key_id])
            assert left[at.house.key_id].left == 1
            assert 1 <= left[None].left < 1.1

    asyncio.run(scenario())


def test_two_processes_ask_once(open_house: OpenHouse, server: BalanceServer) -> None:
    async def scenario() -> None:
        async with reading(open_house, server) as at:
            server.replies[at.house.api_key] = Reply(DOCUMENTED[0], after=0.3)
            transport = Transport(server.url, 2)
            other = BalanceReader(
                at.house.database,
                at.house.services.calls,
                BalanceClient(transport),
                at.pace,
                Metrics(),
                call_timeout=2,
                times=BalanceTimes(),
            )
            await at.reader.step()
            while not server.asked:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await other.step()
            await asyncio.gather(at.reader.idle(), other.idle())
            assert len(server.asked) == 1
            await transport.aclose()

    asyncio.run(scenario())


def test_what_a_dead_process_began_is_begun_again_and_its_answer_counts_no_more(
    open_house: OpenHouse, server: BalanceServer
) -> None:
    async def scenario() -> None:
        async with reading(open_house, server) as at:
            server.replies[at.house.api_key] = Reply.balance("1")
            server.replies[at.house.api_key] = Reply(server.replies[at.house.api_key].body, after=0.5)
            await at.reader.step()
            while not server.asked:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await at.set(claimed_until=sa.text("now() - interval '1 second'"))  # it took too long
            at.says("2")
            assert await at.step() == 1
            assert [row.amount for row in await at.readings()] == [2]

    asyncio.run(scenario())


@pytest.mark.parametrize("how", ["deleted", "rejected"])
def test_an_account_that_is_not_looked_at_is_not_asked_for(
    open_house: OpenHouse, server: BalanceServer, how: str
) -> None:
    async def scenario() -> None:
        async with reading(open_house, server) as at:
            tenant_id, key_id = at.house.tenant_id, at.house.key_id
            await at.mark("100")
            await at.reading("7")
            async with at.house.database.transaction(WORKER) as connection:
                assert await overview.accounts_below_mark(connection) == 1
                assert 0 < await overview.oldest_balance_reading_age(connection) < 5
            async with at.house.database.transaction(at.house.tenant) as connection:
                if how == "deleted":
                    await at.house.services.vault.delete(connection, tenant_id, key_id)
                    await balances.forget(connection, tenant_id, key_id)
                else:
                    await at.house.services.vault.set_status(connection, tenant_id, key_id, REJECTED)
            await at.set(due_at=sa.func.now())
            assert await at.step() == 0
            async with at.house.database.transaction(WORKER) as connection:
                assert await overview.accounts_below_mark(connection) == 0
                assert await overview.oldest_balance_reading_age(connection) == 0
            assert len(await at.readings()) == 1

    asyncio.run(scenario())


def test_readings_are_kept_for_a_year(open_house: OpenHouse, server: BalanceServer) -> None:
    async def scenario() -> None:
        async with reading(open_house, server) as at:
            await at.reading("7")
            async with at.house.database.transaction(at.house.tenant) as connection:
                for days in (364, 366):
                    then = sa.func.now() - timedelta(days=days)
                    await connection.execute(
                        balance_readings.insert().values(
                            tenant_id=at.house.tenant_id,
                            upstream_key_id=at.house.key_id,
                            asked_at=then,
                            read_at=then,
                            amount=days,
                        )
                    )
            async with at.house.database.transaction(WORKER) as connection:
                assert await balances.delete_old(connection) == 1
            assert [row.amount for row in await at.readings()] == [364, 7]

    asyncio.run(scenario())


def test_a_replaced_secret_is_asked_for_at_once(open_house: OpenHouse, server: BalanceServer) -> None:
    async def scenario() -> None:
        async with reading(open_house, server) as at:
            await at.step()  # the host knows no such key
            assert (await at.row()).failures == 1
            another = f"key-{new_id().hex}"
            at.house.sandbox.world.accounts[another] = at.house.sandbox.world.accounts[at.house.api_key]
            server.replies[another] = Reply.balance(5)
            await at.house.services.calls.trials.replace(at.house.caller, at.house.key_id, another)
            assert await at.step() == 1
            assert (await at.known()).amount == 5

    asyncio.run(scenario())


def test_who_settles_waits_for_no_reading_that_is_being_kept(
    open_house: OpenHouse, server: BalanceServer
) -> None:
    """Readers and callers lock the account's rows in one order, so that none waits for the other for ever."""

    async def scenario() -> None:
        async with reading(open_house, server) as at:
            at.says("500")
            async with at.house.database.transaction(at.house.tenant) as connection:
                await schedule.lock(connection, at.house.tenant_id, at.house.key_id)
                assert await at.step() == 1  # an account that is being looked at can have its balance read
            async with asyncio.timeout(15):
                for _ in range(5):
                    await asyncio.gather(at.step(), at.house.buy())

    asyncio.run(scenario())
