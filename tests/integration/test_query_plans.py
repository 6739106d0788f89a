"""Every query that the gateway makes finds its rows by an index, however many there are.

The statements are taken from the gateway's own engine while it does all its work on a database with very many
rows of other tenants and of its own; then Postgres is asked how it runs each of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import psycopg
import sqlalchemy as sa

from app.accounts import balances
from app.audit import repository as audit
from app.audit.repository import AuditFilter
from app.database import PLATFORM, WORKER, Database, new_id
from app.events import repository as events
from app.events.types import EventType
from app.idempotency import repository as idempotency
from app.kinds.activate import activate
from app.kinds.add_service import add_service
from app.kinds.delete import delete
from app.kinds.prolong import prolong
from app.kinds.purchases import Purchase
from app.kinds.registry import KindName
from app.kinds.restore import restore
from app.messages import repository as messages
from app.operations import lookup
from app.operations.states import State
from app.overview import overview
from app.rentals import views
from app.rentals.auto_prolong import Plan
from app.rentals.service import Change
from app.rentals.views import RentalFilter
from app.settlement.recovery import adopt_orphans
from app.sync.watching import NOTE_SECONDS
from app.tenants import service as tenants
from app.values import Period, PeriodUnit
from app.webhooks import claims, deliveries
from app.webhooks import repository as webhooks
from app.worker import Worker
from tests.balance_server import BalanceServer, Reply
from tests.integration.conftest import House, OpenHouse

LARGE = {
    "rentals",
    "upstream_orders",
    "operations",
    "messages",
    "events",
    "audit_logs",
    "idempotency_keys",
    "spending_holds",
    "account_looks",
    "account_balances",
    "balance_readings",
    "api_keys",
    "upstream_keys",
    "webhooks",
    "webhook_deliveries",
    "webhook_schedules",
}
NO_QUERIES = ("begin;", "commit", "SAVEPOINT", "RELEASE", "ROLLBACK", "select set_config", "set local")
OTHERS, ROWS = 4_000, 40_000
WEEK = Period(PeriodUnit.WEEK, 1)

FILL = f"""
insert into tenants (id, name) select gen_random_uuid(), 'other' from generate_series(1, {OTHERS});
create temp table somebody as
    select t.id as tenant_id, gen_random_uuid() as key_id, row_number() over () as n from tenants t;
insert into upstream_keys (tenant_id, id, label, ciphertext, fingerprint, last_four, is_default, deleted_at)
    select tenant_id, key_id, 'x', '', decode(md5(n::text), 'hex'), '', false, now() from somebody;
insert into account_looks (tenant_id, upstream_key_id, due_at)
    select tenant_id, key_id, now() + interval '1 day' from somebody;
insert into account_balances (tenant_id, upstream_key_id, due_at, read_at, amount)
    select tenant_id, key_id, now() + interval '1 day', now(), 1 from somebody;
insert into balance_readings (tenant_id, upstream_key_id, asked_at, read_at, amount)
    select tenant_id, key_id, now() - s * interval '1 h', now(), 1 from somebody, generate_series(1, 10) s;
insert into api_keys (tenant_id, id, name, prefix, token_hash, scopes)
    select tenant_id, gen_random_uuid(), 'x', 'rg_', decode(md5(n || '/' || s), 'hex'), '{{}}'
    from somebody, generate_series(1, 5) s;
create temp table made as
    select tenant_id, key_id, gen_random_uuid() as id, n * 1000000 + s as number
    from somebody, generate_series(1, {ROWS // OTHERS}) s;
insert into rentals (tenant_id, id, upstream_key_id, status, phone_number, country, services, metadata)
    select tenant_id, id, key_id, 'expired', '+' || number, 'RU',
        '[{{"code": "opt1", "name": null}}]', '{{}}' from made;
insert into upstream_orders
    (tenant_id, upstream_key_id, upstream_order_id, rental_id, phone_number, status, service)
    select tenant_id, key_id, number::text, id, '+' || number, 'expired', 'opt1' from made;
insert into operations
    (tenant_id, id, kind, state, upstream_key_id, rental_id, request, actor, attended_until, sent_at)
    select tenant_id, id, 'create', 'succeeded', key_id, id, '{{}}', 'x', now(), now() from made;
insert into spending_holds (tenant_id, operation_id, month, amount, state)
    select tenant_id, id, '2026-01-01', 1, 'spent' from made;
insert into events (tenant_id, id, position, type, rental_id, actor, data)
    select tenant_id, gen_random_uuid(), number, 'rental.created', id, 'x', '{{}}' from made;
insert into event_heads (tenant_id, position) select tenant_id, max(number) from made group by tenant_id;
insert into messages (tenant_id, rental_id, position, id, scope, text, digest, occurrence)
    select tenant_id, id, 1, gen_random_uuid(), 'rented', 'code', decode(md5('code'), 'hex'), 1 from made;
insert into idempotency_keys (tenant_id, key, request_hash, holder, held_until)
    select tenant_id, id::text, '', gen_random_uuid(), now() from made;
insert into webhooks (tenant_id, id, url, events, secret)
    select tenant_id, key_id, 'x', '{{}}', '' from somebody;
insert into webhook_deliveries (tenant_id, id, webhook_id, event_id, event_type, position, status)
    select tenant_id, id, key_id, id, 'x', number, 'delivered' from made;
insert into webhook_deliveries (tenant_id, id, webhook_id, event_id, event_type, position, status, next_at)
    select m.tenant_id, gen_random_uuid(), m.key_id, gen_random_uuid(), 'x', number, 'pending',
        now() + interval '1 h'
    from made m join somebody s on s.tenant_id = m.tenant_id where s.n <= 100;
insert into webhook_schedules (tenant_id, webhook_id, due_at)
    select tenant_id, key_id, now() + interval '1 h' from somebody;
insert into audit_logs (tenant_id, id, actor, action, target, outcome, details)
    select tenant_id, gen_random_uuid(), 'x', 'y', 'z', 'succeeded', '{{}}' from made;
"""


@contextmanager
def statements_of(database: Database) -> Iterator[dict[str, Any]]:
    """The statements that a database's driver runs meanwhile, each with parameters that it was run with."""
    found: dict[str, Any] = {}

    class Noting(psycopg.AsyncCursor[Any]):
        async def execute(self, query: Any, params: Any = None, **more: Any) -> Any:
            found.setdefault(query, params)
            return await super().execute(query, params, **more)

    def note(_adapted: Any, record: Any, _proxy: Any) -> None:
        record.driver_connection.cursor_factory = Noting

    engine = database._engine.sync_engine
    sa.event.listen(engine, "checkout", note)
    yield found
    sa.event.remove(engine, "checkout", note)


def sequential_scans(connection: psycopg.Connection[Any], statement: str, parameters: Any) -> set[str]:
    """The large tables that Postgres would read whole for a statement."""
    row = connection.execute(f"explain (format json) {statement}", parameters).fetchone()
    assert row

    def walk(node: dict[str, Any]) -> Iterator[str]:
        if node["Node Type"] == "Seq Scan" and node["Relation Name"] in LARGE:
            yield node["Relation Name"]
        for inner in node.get("Plans", ()):
            yield from walk(inner)

    return set(walk(row[0][0]["Plan"]))


async def everything(house: House) -> None:
    """The whole work of the gateway, with each query that a caller can cause."""
    caller, tenant_id = house.caller, house.tenant_id
    services = house.services
    account = house.sandbox.world.accounts[house.api_key]
    account.balance = Decimal(10**6)
    wanted = Purchase(country="RU", services=("opt1", "opt2"), period=WEEK, metadata={})
    bought = (await services.purchases.purchase(caller, wanted, None)).rental
    await house.look()
    await activate(services.changes, caller, bought.id, None)
    await add_service(services.changes, caller, bought.id, "opt20", max_price=None, claim=None)
    await prolong(services.changes, caller, bought.id, WEEK, max_price=None, claim=None)
    await services.rentals.describe(caller, bought.id, Change(prolonging=Plan(WEEK, None)))
    await house.look()
    await asyncio.sleep(0.1)  # past the interval
    await house.refresh(bought.id)
    house.sandbox.world.age(20 * 86_400)
    for _ in range(4):
        await house.look()
    await restore(services.changes, caller, bought.id, max_price=None, claim=None)
    await delete(services.changes, caller, bought.id, None)
    await house.look()
    moment = datetime.now(UTC) - timedelta(days=1)
    before = new_id()

    async def within(ask: Callable[[Any], Awaitable[Any]]) -> None:
        async with house.database.transaction(house.tenant) as connection:
            await ask(connection)

    for rental_filter in (
        RentalFilter(),
        RentalFilter(status="active"),
        RentalFilter(country="RU"),
        RentalFilter(service="opt1"),
        RentalFilter(phone_number="+1"),
        RentalFilter(upstream_order_id="1"),
        RentalFilter(created_after=moment),
        RentalFilter(created_before=moment),
    ):
        await within(
            lambda c, f=rental_filter: views.listed(c, tenant_id, f, limit=51, before=before)  # type: ignore[misc]
        )
    for audit_filter in (
        AuditFilter(),
        AuditFilter(actor="x"),
        AuditFilter(action="x"),
        AuditFilter(target="x"),
        AuditFilter(outcome="x"),
        AuditFilter(created_after=moment),
        AuditFilter(created_before=moment),
    ):
        await within(
            lambda c, f=audit_filter: audit.listed(c, tenant_id, f, limit=51, before=before)  # type: ignore[misc]
        )
    for state, kind, rental_id in (
        (None, None, None),
        (State.REVIEW, None, None),
        (None, KindName.CREATE, None),
        (None, None, bought.id),
    ):
        await within(
            lambda c, s=state, k=kind, r=rental_id: lookup.listed(  # type: ignore[misc]
                c, tenant_id, state=s, kind=k, rental_id=r, limit=51, before=before
            )
        )
    await within(lambda c: messages.after(c, tenant_id, bought.id, scope="rented", position=0, limit=51))
    await within(lambda c: messages.newest(c, tenant_id, bought.id, scope=None, before=9, limit=51))
    await within(lambda c: events.of_rental(c, tenant_id, bought.id, limit=51, before=before))
    await within(lambda c: events.after(c, tenant_id, 0, types=[EventType.SMS_RECEIVED], limit=51))
    await within(lambda c: events.newest_position(c, tenant_id))
    await within(lambda c: events.position_before_kept(c, tenant_id, timedelta(days=90)))
    await within(lambda c: events.check_position(c, tenant_id, 1, timedelta(days=90)))
    await services.refresher.want(caller, house.key_id, bought.id, 1)
    await within(lambda c: idempotency.claim(c, tenant_id, "key", b"request", 60))
    await within(lambda c: tenants.list_api_keys(c, tenant_id, limit=51, before=before))
    await within(lambda c: services.vault.listed(c, tenant_id, limit=51, before=before))
    await within(lambda c: balances.set_mark(c, caller, house.key_id, Decimal(20)))
    await within(lambda c: balances.of_accounts(c, tenant_id, [house.key_id, before]))
    assert services.balances
    for _ in range(2):
        await services.balances.step()
        await services.balances.idle()
    async with house.database.transaction(PLATFORM) as connection:
        await tenants.list_tenants(connection, limit=51, before=before)
        _, token = await _key(house)
    await services.recognition.holder_of(token)
    await adopt_orphans(house.database, services.executor.resume)
    worker = Worker(services)
    stop = asyncio.Event()
    watching = asyncio.ensure_future(worker._watch(stop))
    await asyncio.sleep(NOTE_SECONDS + 1)  # so that it has done each of its duties
    stop.set()
    await watching
    await worker._activate_bought()
    await delivered(house)
    await worker._measure()
    await overview(house.database, services.pace, 50)
    await worker._tell_of_ends()
    await worker._prolong_by_plan()
    async with house.database.transaction(WORKER) as connection:
        await idempotency.delete_old(connection)
        await balances.delete_old(connection)


async def delivered(house: House) -> None:
    """The deliveries of what has happened, to an endpoint that isn't there."""
    services, tenant_id = house.services, house.tenant_id
    async with house.database.transaction(house.tenant) as connection:
        webhook, _ = await webhooks.add(
            connection, services.keyring, tenant_id, url="https://localhost", events=["*"], description=None
        )
    moment = datetime.now(UTC) - timedelta(days=1)
    async with house.database.transaction(house.tenant) as connection:
        await deliveries.retry_since(connection, tenant_id, webhook.id, moment)
    stop = asyncio.Event()
    dispatching = asyncio.ensure_future(services.dispatcher.run(stop))
    await asyncio.sleep(1)
    stop.set()
    await dispatching
    async with house.database.transaction(WORKER) as connection:
        await claims.renew(connection, new_id(), [webhook.id])
        await deliveries.delete_old(connection, timedelta(days=90))
    async with house.database.transaction(house.tenant) as connection:
        await deliveries.listed(connection, tenant_id, webhook.id, status=None, limit=51, before=None)


async def _key(house: House) -> Any:
    async with house.database.transaction(house.tenant) as connection:
        return await tenants.create_api_key(
            connection, house.caller, name=str(uuid4()), scopes=[], expires_at=None
        )


def test_no_query_reads_a_large_table_whole(open_house: OpenHouse, superuser_url: str) -> None:
    async def scenario() -> dict[str, Any]:
        with BalanceServer() as server:
            return await worked(server)

    async def worked(server: BalanceServer) -> dict[str, Any]:
        async with open_house(balance_url=server.url, balance_rate=100) as house:
            server.replies[house.api_key] = Reply.balance("10.5")
            with psycopg.connect(superuser_url, autocommit=True) as connection:
                connection.execute(FILL)
                connection.execute("analyze")
            with statements_of(house.database) as found:
                await everything(house)
            found["tenant"] = str(house.tenant_id)
        return found

    found = asyncio.run(scenario())
    tenant = found.pop("tenant")
    assert len(found) > 60
    for postponed in (
        "update spending_months",
        "insert into events",
        "insert into audit_logs",
        "update money_lanes",
        "update account_balances",
        "update webhook_schedules",
        "set local enable_sort",
    ):
        assert any(postponed in statement for statement in found), postponed
    whole: dict[str, set[str]] = {}
    with psycopg.connect(superuser_url) as connection:
        connection.execute("select set_config('rentgate.tenant_id', %s, false)", [tenant])
        for statement, parameters in found.items():
            if statement.startswith(NO_QUERIES):
                continue
            scanned = sequential_scans(connection, statement, parameters)
            if scanned:
                whole[statement] = scanned
    assert not whole, "\n".join(f"{tables}: {' '.join(text.split())}" for text, tables in whole.items())
