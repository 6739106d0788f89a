"""Whatever changes a rental, one of its orders or a message announces it in the same transaction."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

import psycopg

from app.database import WORKER, Database
from app.events.notifications import CHANNEL, notify
from app.migrate import DatabaseUrls
from app.sandbox.faults import FaultKind
from tests.balance_server import BalanceServer, Reply
from tests.integration.conftest import OpenHouse
from tests.integration.house import House
from tests.integration.whole_work import everything

SEEN = "seen"
UNSHOWN = "{missed_looks, messages_read_at, messages_failed_at, messages_error, wanted_until}"
"""Columns of an order that no rendered answer shows."""

WITNESS = f"""
create function witness() returns trigger language plpgsql as $$ begin
    if to_jsonb(new) - '{UNSHOWN}'::text[] is distinct from to_jsonb(old) - '{UNSHOWN}'::text[] then
        perform pg_notify(
            '{SEEN}', concat_ws(' ', tg_table_name, txid_current(), to_jsonb(new) ->> tg_argv[0])
        );
    end if;
    return null;
end $$;
create trigger witness after insert or update on rentals for each row execute function witness('id');
create trigger witness after insert or update on upstream_orders
    for each row execute function witness('rental_id');
create trigger witness after insert or update on messages for each row execute function witness('rental_id');
"""


@dataclass(slots=True)
class Changes:
    """What was seen to change: how often, and what of it was not announced, with its table."""

    count: int
    silent: list[str]


@contextmanager
def witnessed(superuser_url: str) -> Iterator[Changes]:
    """See all changes of rentals, orders and messages, and whether their transactions announce them.

    Postgres gives a transaction's notifications one after the other: what triggers of the test's own saw, and
    then what the gateway says with its commit.
    """
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute(WITNESS)
        for channel in (CHANNEL, SEEN):
            connection.execute(f"listen {channel}")
        changes = Changes(0, [])
        yield changes
        transaction, open_ones = "", dict[str, str]()
        for notice in connection.notifies(timeout=0.5):
            if notice.channel == CHANNEL:
                for topic in notice.payload.split():
                    open_ones.pop(topic, None)
                continue
            table, its_transaction, *topics = notice.payload.split()
            if its_transaction != transaction:
                changes.silent += open_ones.values()
                transaction, open_ones = its_transaction, {}
            changes.count += len(topics)
            open_ones |= {topic: f"{table} {topic}" for topic in topics}
        changes.silent += open_ones.values()


async def unhappy(house: House) -> None:
    """Purchases of open outcome, an order that comes late, and orders of others."""
    await house.look()
    house.fault("create", FaultKind.DROP, "after")
    await house.look_until_settled((await house.buy()).rental.id)
    rental_id = await house.given_up()
    house.order_from_elsewhere()
    await house.look()
    assert (await house.rental(rental_id)).status == "active"
    house.order_from_elsewhere(service="opt4")
    house.sandbox.world.age(20 * 86_400)
    for _ in range(4):
        await house.look()


def test_what_is_announced_comes_with_the_commit_and_once(
    database_urls: DatabaseUrls, superuser_url: str
) -> None:
    async def scenario() -> None:
        database = Database(database_urls.app)
        with contextlib.suppress(ZeroDivisionError):
            async with database.transaction(WORKER) as connection:
                notify(connection, UUID(int=70))
                raise ZeroDivisionError
        async with database.transaction(WORKER) as connection:
            notify(connection, UUID(int=71), UUID(int=72))
            notify(connection, UUID(int=71))
        await database.aclose()

    with psycopg.connect(superuser_url, autocommit=True) as listening:
        listening.execute(f"listen {CHANNEL}")
        asyncio.run(scenario())
        told = [notice.payload for notice in listening.notifies(timeout=0.5)]
    assert told == [str(UUID(int=71)), str(UUID(int=72))]


def test_no_change_is_silent(open_house: OpenHouse, superuser_url: str) -> None:
    async def scenario(server: BalanceServer) -> None:
        async with (
            open_house(balance_url=server.url, balance_rate=100) as house,
            open_house(upstream_timeout=1.0) as other,
        ):
            server.replies[house.api_key] = Reply.balance("10.5")
            await everything(house)
            await unhappy(other)

    with BalanceServer() as server, witnessed(superuser_url) as changes:
        asyncio.run(scenario(server))
    assert changes.count > 20
    assert changes.silent == []
