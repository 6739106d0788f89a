"""Every query that the gateway makes finds its rows by an index, however many there are.

The statements are taken from the gateway's own engine while it does all its work on a database with very many
rows of other tenants and of its own; then Postgres is asked how it runs each of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import psycopg

from app.values import Period, PeriodUnit
from tests.balance_server import BalanceServer, Reply
from tests.integration.conftest import OpenHouse
from tests.integration.postgres import statements_of
from tests.integration.whole_work import everything

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
