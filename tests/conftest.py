"""Real parts for the tests: one embedded Postgres for the whole run, a fresh database for whoever asks."""

from __future__ import annotations

import base64
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from hypothesis import settings
from psycopg import sql
from sqlalchemy.engine import make_url

from app import migrate
from app.database.embedded import EmbeddedPostgres
from app.migrate import DatabaseUrls

# How long an example takes on a busy machine says nothing: figures are measured in `make bench`.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

MakeDatabase = Callable[[], DatabaseUrls]


@pytest.fixture(scope="session")
def postgres(testrun_uid: str) -> Iterator[str]:
    """The superuser's URL of the embedded server, which all test processes of the run share.

    It has a folder of its own: each run of pytest closes pytest's to other users, and where root runs the
    tests, the server of a run beside it is another user's.
    """
    folder = Path(tempfile.gettempdir()) / f"rentgate-tests-{testrun_uid}"
    server = EmbeddedPostgres(folder, durable=False)
    yield server.start()
    server.stop()
    if not (folder / "postgres" / "data" / "postmaster.pid").exists():  # nobody uses it any more
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def template(postgres: str, worker_id: str) -> str:
    """The name of a migrated database, to be copied."""
    name = f"template_{worker_id}"
    _, owner = migrate.prepare_embedded(postgres, name)
    migrate.upgrade(owner)
    return name


@pytest.fixture(scope="session")
def make_database(postgres: str, template: str) -> MakeDatabase:
    """Makes a migrated, empty database in some milliseconds."""

    def make() -> DatabaseUrls:
        name = f"test_{uuid4().hex}"
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute(
                sql.SQL("create database {} template {} owner {}").format(
                    sql.Identifier(name), sql.Identifier(template), sql.Identifier(migrate.EMBEDDED_OWNER)
                )
            )
        app_url, owner_url = migrate.prepare_embedded(postgres, name)
        return DatabaseUrls(app_url, owner_url)

    return make


@pytest.fixture
def database_urls(make_database: MakeDatabase) -> DatabaseUrls:
    """A database of the test's own."""
    return make_database()


@pytest.fixture
def superuser_url(postgres: str, database_urls: DatabaseUrls) -> str:
    """The test's own database in the superuser's name, who sees everything."""
    return superuser_of(postgres, database_urls.app)


def superuser_of(postgres: str, url: str) -> str:
    """The database that a URL names, in the superuser's name."""
    name = make_url(url).database
    return make_url(postgres).set(database=name).render_as_string(hide_password=False)


def new_vault_key() -> str:
    """A vault key, as the setting takes it."""
    return base64.b64encode(os.urandom(32)).decode()


PROJECT = Path(__file__).parents[1]
