"""Row-level security, table by table as the schema has them: no tenant reads or writes another's rows."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from app.database import Access, Database, Role
from app.models import metadata
from app.wiring import DatabaseUrls

SHARED = {"pace_buckets", "vault_fingerprint_keys"}
"""Tables without a tenant: buckets of calls, and a key that is itself encrypted."""

TENANT_TABLES = sorted(set(metadata.tables) - SHARED)


def rows_for(tenant_id: UUID) -> dict[str, dict[str, Any]]:
    """A row of each table for one tenant, in the order in which they can be inserted."""
    key_id, rental_id, operation_id = uuid4(), uuid4(), uuid4()
    own = {"tenant_id": tenant_id}
    month = sa.text("date '2026-11-01'")
    soon = sa.text("now()")
    return {
        "tenants": {"id": tenant_id, "name": "x"},
        "api_keys": {
            **own,
            "id": uuid4(),
            "name": "x",
            "prefix": "rg_",
            "token_hash": tenant_id.bytes,
            "scopes": [],
        },
        "vault_keysets": {**own, "wrapped": b"x"},
        "upstream_keys": {
            **own,
            "id": key_id,
            "label": "x",
            "ciphertext": b"x",
            "fingerprint": tenant_id.bytes,
            "last_four": "",
            "is_default": True,
        },
        "account_looks": {**own, "upstream_key_id": key_id},
        "money_lanes": {**own, "upstream_key_id": key_id, "fence": 1, "held_until": soon},
        "operations": {
            **own,
            "id": operation_id,
            "kind": "create",
            "state": "queued",
            "upstream_key_id": key_id,
            "request": {},
            "actor": "x",
            "attended_until": soon,
        },
        "spending_months": {**own, "month": month},
        "spending_holds": {**own, "operation_id": operation_id, "month": month, "amount": 1},
        "idempotency_keys": {
            **own,
            "key": "k",
            "request_hash": b"x",
            "holder": uuid4(),
            "held_until": soon,
        },
        "rentals": {
            **own,
            "id": rental_id,
            "upstream_key_id": key_id,
            "status": "active",
            "services": [],
            "metadata": {},
        },
        "upstream_orders": {
            **own,
            "upstream_key_id": key_id,
            "upstream_order_id": "1",
            "rental_id": rental_id,
        },
        "messages": {
            **own,
            "rental_id": rental_id,
            "position": 1,
            "id": uuid4(),
            "scope": "rented",
            "text": "x",
            "digest": b"x",
            "occurrence": 1,
        },
        "events": {**own, "id": uuid4(), "type": "x", "actor": "x", "data": {}},
        "audit_logs": {**own, "id": uuid4(), "actor": "x", "action": "x", "outcome": "x", "details": {}},
        "upstream_usage": {
            **own,
            "upstream_key_id": key_id,
            "hour": soon,
            "method": "x",
            "outcome": "x",
            "calls": 1,
        },
    }


@pytest.fixture
def two_tenants(superuser_url: str) -> tuple[UUID, UUID]:
    """Two tenants with a row in every table, written past the policies."""
    engine = sa.create_engine(superuser_url.replace("postgresql:", "postgresql+psycopg:"))
    mine, theirs = uuid4(), uuid4()
    with engine.begin() as connection:
        for tenant_id in (mine, theirs):
            for table, values in rows_for(tenant_id).items():
                connection.execute(metadata.tables[table].insert().values(**values))
    engine.dispose()
    return mine, theirs


def tenant_column(table: sa.Table) -> sa.Column[Any]:
    return table.c.id if table.name == "tenants" else table.c.tenant_id


def test_every_table_has_a_row_here() -> None:
    assert sorted(rows_for(uuid4())) == TENANT_TABLES


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


@pytest.mark.parametrize("name", TENANT_TABLES)
def test_only_the_own_tenants_rows_are_seen(
    name: str, database_urls: DatabaseUrls, two_tenants: tuple[UUID, UUID]
) -> None:
    table, (mine, _) = metadata.tables[name], two_tenants

    async def scenario() -> None:
        database = Database(database_urls.app)
        column = tenant_column(table)
        async with database.transaction(Access.tenant(mine)) as connection:
            assert set(await connection.scalars(sa.select(column))) == {mine}
        for nobody in (Access(Role.APP), Access.tenant(uuid4()), Access.bearer(b"x" * 32)):
            async with database.transaction(nobody) as connection:
                assert not list(await connection.scalars(sa.select(column)))
        await database.aclose()

    asyncio.run(scenario())


@pytest.mark.parametrize("name", TENANT_TABLES)
def test_nothing_of_another_tenant_can_be_written(
    name: str, database_urls: DatabaseUrls, two_tenants: tuple[UUID, UUID]
) -> None:
    table, (mine, theirs) = metadata.tables[name], two_tenants
    column = tenant_column(table)
    intruder = rows_for(uuid4())[name] | {column.name: theirs}

    async def scenario() -> None:
        database = Database(database_urls.app)
        for access in (Access.tenant(mine), Access(Role.APP)):
            with pytest.raises(DBAPIError) as refused:
                async with database.transaction(access) as connection:
                    await connection.execute(table.insert().values(**intruder))
            assert isinstance(refused.value.orig, psycopg.errors.InsufficientPrivilege)
            for statement in (
                table.delete().where(column == theirs),
                table.update().where(column == theirs).values({column.name: theirs}),
            ):
                assert await refused_or_idle(database, access, statement)
        await database.aclose()

    asyncio.run(scenario())


async def refused_or_idle(database: Database, access: Access, statement: sa.Executable) -> bool:
    """Whether a statement may not be made at all, or finds no row."""
    try:
        async with database.transaction(access) as connection:
            return (await connection.execute(statement)).rowcount == 0
    except DBAPIError as error:
        return isinstance(error.orig, psycopg.errors.InsufficientPrivilege)


@pytest.mark.parametrize("name", ["audit_logs", "events"])
def test_history_only_grows(name: str, database_urls: DatabaseUrls, two_tenants: tuple[UUID, UUID]) -> None:
    table, (mine, _) = metadata.tables[name], two_tenants

    async def scenario() -> None:
        database = Database(database_urls.app)
        for statement in (table.delete(), table.update().values(actor="y")):
            with pytest.raises(DBAPIError) as refused:
                async with database.transaction(Access.tenant(mine)) as connection:
                    await connection.execute(statement)
            assert isinstance(refused.value.orig, psycopg.errors.InsufficientPrivilege)
        await database.aclose()

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
