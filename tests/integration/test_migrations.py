"""Migrations: from nothing to head, in line with the models, from the first schema without a loss, and safe
when several start at once; and a database of a revision that nobody knows is refused.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import alembic.command
import psycopg
import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

import migrations
from app import migrate
from app.database import Access, Database
from app.kinds.registry import KindName
from app.messages import repository as messages
from app.migrate import DatabaseUrls, MigrationRefused
from app.models import metadata
from app.operations import lookup
from app.operations.states import State
from app.rentals import views
from tests.conftest import PROJECT, superuser_of
from tests.integration import first_schema

UNRELEASED = (
    "made by an unreleased version: remove the data folder, or restore it with that version",
    "unknown revision 0020",
)


def tables(url: str) -> set[str]:
    plain = make_url(url).render_as_string(hide_password=False)
    with psycopg.connect(plain) as connection:
        rows = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
    return {row[0] for row in rows}


@pytest.fixture
def at_the_first_schema(postgres: str) -> DatabaseUrls:
    """A database at the first schema, with rows."""
    urls = DatabaseUrls(*migrate.prepare_embedded(postgres, f"first_{uuid4().hex}"))
    migrate.upgrade(urls.owner, first_schema.FIRST)
    first_schema.fill(superuser_of(postgres, urls.app))
    return urls


def test_from_nothing_to_head(postgres: str) -> None:
    _, owner_url = migrate.prepare_embedded(postgres, f"empty_{uuid4().hex}")
    assert tables(owner_url) == set()
    migrate.upgrade(owner_url)
    assert tables(owner_url) == {"alembic_version", *metadata.tables}
    migrate.upgrade(owner_url)  # as after an update that brings no migration


def test_models_and_migrations_agree(database_urls: DatabaseUrls) -> None:
    alembic.command.check(migrate.config(database_urls.owner))


def test_the_first_schemas_rows_are_of_every_table_and_every_state(
    at_the_first_schema: DatabaseUrls, postgres: str
) -> None:
    found = first_schema.rows(superuser_of(postgres, at_the_first_schema.app))
    assert [table for table, rows in found.items() if not rows] == []
    assert (set(first_schema.KINDS), set(first_schema.STATES)) == (set(KindName), set(State))
    made = {(row["kind"], row["state"]) for row in found["operations"]}
    assert made == {(kind, state) for kind in KindName for state in State}


def test_from_the_first_schema_no_row_is_lost(at_the_first_schema: DatabaseUrls, postgres: str) -> None:
    """A migration that changes rows says here what becomes of them."""
    superuser_url = superuser_of(postgres, at_the_first_schema.app)
    before = first_schema.rows(superuser_url)
    migrate.upgrade(at_the_first_schema.owner)
    assert first_schema.lost(before, first_schema.rows(superuser_url)) == {}


@pytest.mark.parametrize(
    ("statement", "lost"),
    [
        ("alter table operations add column attempt integer not null default 1", set()),
        ("delete from messages", {"messages"}),
        ("delete from spending_holds where state = 'held'", {"spending_holds"}),
        ("update operations set state = 'failed' where state = 'unknown'", {"operations"}),
        ("update operations set request = request - 'orders' where kind = 'prolong'", {"operations"}),
        ("alter table rentals drop column metadata", {"rentals"}),
        ("drop table account_health", {"account_health"}),
    ],
)
def test_a_migration_that_loses_something_would_be_found(
    at_the_first_schema: DatabaseUrls, postgres: str, tmp_path: Path, statement: str, lost: set[str]
) -> None:
    superuser_url = superuser_of(postgres, at_the_first_schema.app)
    before = first_schema.rows(superuser_url)
    upgrade_further(at_the_first_schema, tmp_path, f"with every_row(*TABLES): op.execute({statement!r})")
    assert set(first_schema.lost(before, first_schema.rows(superuser_url))) == lost


def test_a_migration_that_row_level_security_keeps_from_rows_fails(
    at_the_first_schema: DatabaseUrls, tmp_path: Path
) -> None:
    with pytest.raises(DBAPIError, match="row-level security"):
        upgrade_further(at_the_first_schema, tmp_path, "op.execute('update operations set step = 1')")


def upgrade_further(urls: DatabaseUrls, folder: Path, body: str) -> None:
    """Run a migration that is made up, after the newest one."""
    further = Path(folder, "further.py")
    further.write_text(
        "from alembic import op\n"
        "from migrations.row_level_security import every_row\n"
        "TABLES = ('operations', 'messages', 'spending_holds')\n"
        f"revision, down_revision = 'further', {migrate.head()!r}\n"
        f"def upgrade():\n    {body}\n"
    )
    config = migrate.config(urls.owner)
    config.set_main_option("version_locations", f"{Path(migrations.__file__).parent / 'versions'}\n{folder}")
    config.set_main_option("path_separator", "newline")
    alembic.command.upgrade(config, "head")


def test_no_table_has_a_trigger(superuser_url: str) -> None:
    """Whoever writes a row announces it, and queues what follows; see app/events."""
    with psycopg.connect(superuser_url) as connection:
        found = connection.execute(
            "select tgrelid::regclass::text, tgname from pg_trigger where not tgisinternal"
        ).fetchall()
    assert found == []


def test_from_the_first_schema_everything_can_be_read(at_the_first_schema: DatabaseUrls) -> None:
    migrate.upgrade(at_the_first_schema.owner)

    async def scenario() -> None:
        database = Database(at_the_first_schema.app)
        tenant_id = first_schema.TENANT
        try:
            async with database.transaction(Access.tenant(tenant_id)) as connection:
                found = await lookup.listed(
                    connection, tenant_id, state=None, kind=None, rental_id=None, limit=100, before=None
                )
                assert {(one.kind, one.state) for one in found} == {(k, s) for k in KindName for s in State}
                listed = await views.listed(
                    connection, tenant_id, views.RentalFilter(), limit=100, before=None
                )
                assert {rental.id for rental in listed} == {one.rental_id for one in found}
                for rental in listed:
                    read = await messages.after(
                        connection, tenant_id, rental.id, scope=None, position=0, limit=10
                    )
                    assert len(read) == 1
        finally:
            await database.aclose()

    asyncio.run(scenario())


def test_a_database_of_an_unknown_revision_is_refused_and_left_alone(
    database_urls: DatabaseUrls, superuser_url: str
) -> None:
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute("update alembic_version set version_num = '0020'")
        with pytest.raises(MigrationRefused) as refused:
            migrate.upgrade(database_urls.owner)
        assert all(words in refused.value.detail for words in UNRELEASED)
        found = connection.execute("select version_num from alembic_version").fetchall()
    assert found == [("0020",)]


@pytest.mark.parametrize("revision", [f"{number:04}" for number in range(1, 24)])
def test_no_revision_from_before_the_first_schema_is_taken_for_one_of_ours(revision: str) -> None:
    assert "unreleased version" in (migrate.mismatch(revision) or "")


def test_what_is_wrong_with_a_revision_is_told() -> None:
    assert migrate.mismatch(migrate.head()) is None
    assert "rentgate migrate" in (migrate.mismatch(None) or "")


def test_several_processes_may_migrate_at_once(postgres: str) -> None:
    app_url, owner_url = migrate.prepare_embedded(postgres, f"raced_{uuid4().hex}")
    environment = {**os.environ, "RENTGATE_DATABASE_URL": app_url, "RENTGATE_DATABASE_OWNER_URL": owner_url}
    command = [sys.executable, "-m", "app.cli", "migrate"]
    running = [subprocess.Popen(command, env=environment, cwd=PROJECT) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert "operations" in tables(owner_url)


def test_who_may_not_make_roles_is_told_what_an_administrator_has_to_run(
    postgres: str, database_urls: DatabaseUrls
) -> None:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("drop role if exists somebody")
        connection.execute("create role somebody login")
    with pytest.raises(MigrationRefused) as refused:
        migrate.prepare_roles(database_urls.owner, "somebody")
    assert 'grant "rentgate_app" to "somebody"' in refused.value.detail
