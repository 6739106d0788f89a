"""Migrations: from empty to head and back, in line with the models, and safe when several start at once."""

from __future__ import annotations

import os
import subprocess
import sys
from uuid import uuid4

import alembic.command
import psycopg
import pytest
from sqlalchemy.engine import make_url

from app import migrate
from app.migrate import MigrationRefused
from app.wiring import DatabaseUrls
from tests.conftest import PROJECT


def tables(url: str) -> set[str]:
    plain = make_url(url).render_as_string(hide_password=False)
    with psycopg.connect(plain) as connection:
        rows = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
    return {row[0] for row in rows}


def test_up_down_and_up_again(database_urls: DatabaseUrls) -> None:
    assert "operations" in tables(database_urls.owner)
    migrate.downgrade(database_urls.owner)
    assert tables(database_urls.owner) == {"alembic_version"}
    migrate.upgrade(database_urls.owner)
    assert {"tenants", "rentals", "messages", "operations"} <= tables(database_urls.owner)


def test_models_and_migrations_agree(database_urls: DatabaseUrls) -> None:
    alembic.command.check(migrate.config(database_urls.owner))


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
