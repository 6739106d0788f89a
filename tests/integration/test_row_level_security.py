"""Row-level security, table by table as the schema has them: no tenant reads or writes another's rows.

Everything here goes through the metadata, so a new table is tested without a word about it here. What a role
may do over all tenants has to be named, in `OVER_ALL_TENANTS`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database import Access, Database, Role
from app.migrate import DatabaseUrls
from app.models import metadata
from tests.conftest import MakeDatabase, superuser_of
from tests.integration.rows import insert_rows, row_of, tenant_column

SHARED = {"pace_buckets", "platform_keys", "vault_fingerprint_keys", "vault_rotations", "workers"}
"""Tables without a tenant: buckets of calls, the platform's own keys, a key that is itself encrypted, the
progress of rotations, and who works.
"""

TENANT_TABLES = [table for name, table in sorted(metadata.tables.items()) if name not in SHARED]

OVER_ALL_TENANTS = {
    Role.APP: set[str](),
    Role.WORKER: {
        "select account_health",
        "select account_looks",
        "update account_looks",
        "select account_balances",
        "update account_balances",
        "select (read_at) balance_readings",
        "delete balance_readings",
        "select audit_unsealed",
        "select (created_at) idempotency_keys",
        "delete idempotency_keys",
        "select (answered_at, id, tenant_id, upstream_key_id, waits_until) refresh_requests",
        "delete refresh_requests",
        "select operations",
        "select (activate_after, auto_prolong, auto_prolong_retry_at, auto_prolong_tried_end, created_at,"
        " expires_at, expiring_told_at, id, period_count, period_unit, status, tenant_id, upstream_key_id)"
        " rentals",
        "select tenants",
        "select (messages_error, messages_failed_at, messages_read_at, tenant_id, upstream_key_id,"
        " upstream_order_id) upstream_orders",
        "update (messages_error, messages_failed_at, messages_read_at) upstream_orders",
        "select (deleted_at, id, label, reference, status, tenant_id) upstream_keys",
        "select upstream_usage",
        "insert upstream_usage",
        "update upstream_usage",
        "select vault_keysets",
        "update (wrapped, wrapped_by) vault_keysets",
        "select webhook_deliveries",
        "update webhook_deliveries",
        "delete webhook_deliveries",
        "select (id, status, tenant_id) webhooks",
        "select webhook_schedules",
        "update webhook_schedules",
    },
    Role.PLATFORM: {
        "insert audit_logs",
        "insert audit_unsealed",
        "select tenants",
        "insert tenants",
        "update tenants",
        "select (tenant_id, wrapped_by) vault_keysets",
    },
    None: set[str](),
}
"""What a role may do to the rows of tenants that the transaction doesn't name: the worker finds what is due,
and the platform makes tenants. None is a login by itself, the gateway's or the owner's.
"""


@dataclass(frozen=True, slots=True)
class TwoTenants:
    """A database where two tenants have a row in every table. Nothing of it is ever changed."""

    urls: DatabaseUrls
    superuser_url: str
    mine: UUID
    theirs: UUID


@pytest.fixture(scope="module")
def two(make_database: MakeDatabase, postgres: str) -> TwoTenants:
    urls = make_database()
    made = TwoTenants(urls, superuser_of(postgres, urls.app), uuid4(), uuid4())
    insert_rows(made.superuser_url, TENANT_TABLES, made.mine, made.theirs)
    return made


@asynccontextmanager
async def acting(url: str, access: Access) -> AsyncIterator[AsyncConnection]:
    """A transaction in somebody's name that comes to nothing."""
    database = Database(url)
    try:
        async with database.transaction(access) as connection:
            yield connection
            await connection.exec_driver_sql("rollback")
    finally:
        await database.aclose()


async def reaches(connection: AsyncConnection, statement: sa.Executable) -> bool:
    """Whether a statement sees or changes a row; one that fails on the row's contents has reached it."""
    await connection.exec_driver_sql("savepoint attempt")
    try:
        done = await connection.execute(statement, execution_options={"preserve_rowcount": True})
        return len(done.fetchall()) > 0 if done.returns_rows else done.rowcount > 0
    except DBAPIError as error:
        return not isinstance(error.orig, psycopg.errors.InsufficientPrivilege)
    finally:
        await connection.exec_driver_sql("rollback to savepoint attempt")


async def reach(connection: AsyncConnection, table: sa.Table, theirs: UUID) -> set[str]:
    """All that can be done to the rows of a table, of which none is the transaction's own.

    No statement has a `where` or a `returning`, which would need a right to read.
    """
    found = set()
    attempts: dict[str, Callable[[sa.Column[Any]], sa.Executable]] = {
        "select": sa.select,
        "update": lambda column: table.update().values({column.name: sa.text("default")}),
    }
    for verb, attempt in attempts.items():
        columns = [c.name for c in table.columns if await reaches(connection, attempt(c))]
        if len(columns) == len(table.columns):
            found.add(f"{verb} {table.name}")
        elif columns:
            found.add(f"{verb} ({', '.join(sorted(columns))}) {table.name}")
    if await reaches(connection, table.delete()):
        found.add(f"delete {table.name}")
    if await reaches(connection, table.insert().inline().values(**row_of(table, theirs))):
        found.add(f"insert {table.name}")
    return found


def test_every_table_of_the_database_is_fenced_even_against_its_owner(superuser_url: str) -> None:
    with psycopg.connect(superuser_url) as connection:
        rows = connection.execute(
            "select relname, relrowsecurity, relforcerowsecurity,"
            " (select count(*) from pg_policy where polrelid = pg_class.oid)"
            " from pg_class where relkind in ('r', 'p') and relnamespace = 'public'::regnamespace"
            " and relname <> 'alembic_version'"
        ).fetchall()
    assert {row[0] for row in rows} == set(metadata.tables)
    assert all(secured and forced and policies for _, secured, forced, policies in rows)


def test_what_belongs_to_no_tenant_says_so() -> None:
    without = {name for name, table in metadata.tables.items() if "tenant_id" not in table.columns}
    assert without == SHARED | {"tenants"}


def test_nothing_leads_around_the_policies(superuser_url: str) -> None:
    """Views, foreign tables and functions with their maker's rights would act in their owner's name."""
    with psycopg.connect(superuser_url) as connection:
        found = connection.execute(
            "select relname from pg_class where relkind in ('v', 'm', 'f')"
            " and relnamespace = 'public'::regnamespace"
            " union select proname from pg_proc where prosecdef and pronamespace = 'public'::regnamespace"
        ).fetchall()
    assert found == []


def test_only_the_own_tenants_rows_are_seen(two: TwoTenants) -> None:
    with psycopg.connect(two.superuser_url) as connection:
        for table in TENANT_TABLES:
            rows = connection.execute(f"select {tenant_column(table).name} from {table.name}").fetchall()
            assert {row[0] for row in rows} == {two.mine, two.theirs}, table.name

    async def scenario() -> None:
        async with acting(two.urls.app, Access.tenant(two.mine)) as connection:
            for table in TENANT_TABLES:
                seen = list(await connection.scalars(sa.select(tenant_column(table))))
                assert seen == [two.mine], table.name

    asyncio.run(scenario())


@pytest.mark.parametrize("role", [*Role, None])
def test_with_another_tenant_or_none_no_row_is_reached(role: Role | None, two: TwoTenants) -> None:
    logins = [two.urls.app] if role else [two.urls.app, two.urls.owner]
    accesses = [Access(role), Access(role, uuid4()), Access(role, token_hash=b"x" * 32)]

    async def scenario() -> None:
        for url in logins:
            for access in accesses:
                async with acting(url, access) as connection:
                    reached = [await reach(connection, table, two.theirs) for table in TENANT_TABLES]
                assert set[str]().union(*reached) == OVER_ALL_TENANTS[role], access

    asyncio.run(scenario())


def test_a_tenant_can_not_mix_its_rows_with_anothers(two: TwoTenants) -> None:
    async def scenario() -> None:
        async with acting(two.urls.app, Access.tenant(two.mine)) as connection:
            for table in TENANT_TABLES:
                column = tenant_column(table)
                for statement in (
                    table.insert().inline().values(**row_of(table, two.theirs)),
                    table.update().values({column.name: two.theirs}),
                    table.update().where(column == two.theirs).values({column.name: two.mine}),
                    table.delete().where(column == two.theirs),
                ):
                    assert not await reaches(connection, statement), statement

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["audit_logs", "audit_seals", "events"])
def test_history_only_grows(name: str, two: TwoTenants) -> None:
    table = metadata.tables[name]

    async def scenario() -> None:
        for access in (Access.tenant(two.mine), Access.sealer(two.mine), Access(Role.PLATFORM, two.mine)):
            async with acting(two.urls.app, access) as connection:
                assert not await reaches(connection, table.delete())
                for column in table.columns:
                    assert not await reaches(connection, table.update().values({column.name: sa.null()}))

    asyncio.run(scenario())


def test_the_gateways_login_and_roles_can_not_pass_the_policies(database_urls: DatabaseUrls) -> None:
    with psycopg.connect(database_urls.app) as connection:
        rows = connection.execute(
            "select rolname, rolsuper, rolbypassrls, rolcreaterole from pg_roles"
            " where rolname = session_user or rolname = any(%s)",
            [[role.value for role in Role]],
        ).fetchall()
        assert len(rows) == len(Role) + 1
        assert not any(any(powers) for _, *powers in rows)
        owned = connection.execute(
            "select count(*) from pg_tables where schemaname = 'public' and tableowner = session_user"
        ).fetchone()
        assert owned == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select * from tenants")
