"""Where the database is, its roles and its migrations: what has to stand before the gateway can use it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import alembic.command
import psycopg
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory
from psycopg import sql
from sqlalchemy.engine import make_url

import migrations
from app.database import Role
from app.database.embedded import EmbeddedPostgres
from app.errors import RentgateError
from app.settings import Settings

PREPARING = 0x70726570
"""The number of the advisory lock under which the embedded server is prepared ("prep")."""

CONNECT_SECONDS = 2

EMBEDDED_DATABASE, EMBEDDED_OWNER, EMBEDDED_LOGIN = "rentgate", "rentgate_owner", "rentgate"

UNKNOWN_REVISION = (
    "The database is at the unknown revision {found}, made by an unreleased version: remove the data folder,"
    " or restore it with that version."
)
"""What is said of a database that no migration of this code leads on from."""


class MigrationRefused(RentgateError):
    """The database is not one that this version can migrate, or its user may not do what migrating needs."""

    title = "The database can't be migrated"


@dataclass(frozen=True, slots=True)
class DatabaseUrls:
    """Where the database is: for the gateway, and for migrations."""

    app: str
    owner: str


@asynccontextmanager
async def database_urls(settings: Settings) -> AsyncIterator[DatabaseUrls]:
    """The database that the settings name; without one, the embedded server, started, and migrated.

    Raises:
        MigrationRefused: the database is at a revision that this code doesn't know.
    """
    if settings.database_url is not None:
        app_url = settings.database_url.get_secret_value()
        await asyncio.to_thread(refuse_unknown_at, app_url)
        owner = settings.database_owner_url
        yield DatabaseUrls(app_url, owner.get_secret_value() if owner is not None else app_url)
        return
    server = EmbeddedPostgres(settings.data_dir.absolute())
    superuser_url = await asyncio.to_thread(server.start)
    try:
        app_url, owner_url = await asyncio.to_thread(prepare_embedded, superuser_url)
        await asyncio.to_thread(upgrade, owner_url)
        yield DatabaseUrls(app_url, owner_url)
    finally:
        await asyncio.to_thread(server.stop)


def migrate_database(urls: DatabaseUrls) -> None:
    """Make the roles and bring the database to the newest migration.

    Raises:
        MigrationRefused: the owner may not make the roles, or the database's revision is unknown.
    """
    prepare_roles(urls.owner, make_url(urls.app).username or "")
    upgrade(urls.owner)


def prepare_roles(owner_url: str, login: str) -> None:
    """Make the roles that the gateway acts as, where they are missing, and let its login take them on.

    Args:
        owner_url: the database in the name of somebody who may create roles, or of anybody once they exist.
        login: the user that RENTGATE_DATABASE_URL names.

    Raises:
        MigrationRefused: roles are missing and this user may not create them, and the detail holds the SQL;
            or the database can't be reached.
    """
    try:
        connecting = psycopg.connect(_libpq(owner_url), autocommit=True)
    except psycopg.OperationalError:
        raise MigrationRefused(
            "The database can't be reached, or does not let this user in: check host, port, user and password"
            " in RENTGATE_DATABASE_OWNER_URL, or in RENTGATE_DATABASE_URL if that is not set."
        ) from None
    with connecting as connection:
        for role in Role:
            known = connection.execute("select 1 from pg_roles where rolname = %s", [role.value]).fetchone()
            granted = known and connection.execute(
                "select pg_has_role(%s, %s, 'member')", [login, role.value]
            ).fetchone() == (True,)
            if granted:
                continue
            create = sql.SQL("create role {} nologin nosuperuser nobypassrls").format(
                sql.Identifier(role.value)
            )
            grant = sql.SQL("grant {} to {}").format(sql.Identifier(role.value), sql.Identifier(login))
            try:
                if not known:
                    connection.execute(create)
                connection.execute(grant)
            except psycopg.errors.InsufficientPrivilege:
                statements = "; ".join(part.as_string(connection) for part in (create, grant))
                raise MigrationRefused(f"A database administrator has to run: {statements}") from None
            except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
                connection.execute(grant)  # another process made the role at the same moment


def prepare_embedded(superuser_url: str, database: str = EMBEDDED_DATABASE) -> tuple[str, str]:
    """Make a database on the embedded server, its owner and the gateway's login, neither a superuser.

    Returns:
        the URL for the gateway and the URL for migrations.
    """
    url = make_url(superuser_url)
    with psycopg.connect(_libpq(superuser_url), autocommit=True) as connection:
        connection.execute("select pg_advisory_lock(%s)", [PREPARING])  # processes may start at once
        for user in (EMBEDDED_OWNER, EMBEDDED_LOGIN):
            present = connection.execute("select 1 from pg_roles where rolname = %s", [user]).fetchone()
            if not present:
                connection.execute(
                    sql.SQL(
                        "create role {} login noinherit nosuperuser nobypassrls nocreaterole password {}"
                    ).format(sql.Identifier(user), _password(superuser_url, user))
                )
        known = connection.execute("select 1 from pg_database where datname = %s", [database]).fetchone()
        if not known:
            connection.execute(
                sql.SQL("create database {} owner {}").format(
                    sql.Identifier(database), sql.Identifier(EMBEDDED_OWNER)
                )
            )
    prepare_roles(superuser_url, EMBEDDED_LOGIN)

    def as_user(user: str) -> str:
        named = url.set(username=user, password=_password(superuser_url, user), database=database)
        return named.render_as_string(hide_password=False)

    return as_user(EMBEDDED_LOGIN), as_user(EMBEDDED_OWNER)


def _password(superuser_url: str, user: str) -> str:
    """A login's password, derived from the superuser's, so that only that one has to be kept."""
    secret = make_url(superuser_url).password or ""
    return hmac.new(str(secret).encode(), user.encode(), hashlib.sha256).hexdigest()


def _libpq(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def config(owner_url: str | None = None) -> Config:
    """Alembic's configuration for a database."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    config.attributes["url"] = owner_url
    return config


@cache
def head() -> str:
    """The newest migration that this code knows."""
    found = ScriptDirectory.from_config(config()).get_current_head()
    if found is None:
        raise MigrationRefused("The package holds no migrations; it is not installed whole.")
    return found


@cache
def revisions() -> frozenset[str]:
    """All revisions that this code knows."""
    return frozenset(script.revision for script in ScriptDirectory.from_config(config()).walk_revisions())


def mismatch(found: str | None) -> str | None:
    """Why a database at this revision does not do, and what to do about it; None if it does."""
    if found is not None and found not in revisions():
        return UNKNOWN_REVISION.format(found=found)
    if found != head():
        return f"The database is at migration {found}, this release needs {head()}: run `rentgate migrate`."
    return None


def refuse_unknown(*found: str) -> None:
    """Refuse a database that stands where no migration of this code leads on from.

    Raises:
        MigrationRefused: one of these revisions is unknown.
    """
    for revision in found:
        if revision not in revisions():
            raise MigrationRefused(UNKNOWN_REVISION.format(found=revision))


def refuse_unknown_at(url: str) -> None:
    """Refuse a database at an unknown revision before anything is asked of it in the gateway's name. One that
    is away or not migrated is let pass: it may come, and whoever uses it until then says so.

    Raises:
        MigrationRefused: its revision is unknown.
    """
    try:
        with psycopg.connect(_libpq(url), connect_timeout=CONNECT_SECONDS) as connection:
            connection.execute("select set_config('role', %s, true)", [Role.APP.value])
            found = connection.execute("select version_num from alembic_version").fetchall()
    except psycopg.Error:
        return
    refuse_unknown(*(row[0] for row in found))


def upgrade(owner_url: str, revision: str = "head") -> None:
    """Bring the database to a revision; safe to call from several processes at once.

    Raises:
        MigrationRefused: the database is at a revision that this code doesn't know.
    """
    alembic.command.upgrade(config(owner_url), revision)


def sync_engine(url: str) -> sa.Engine:
    """A plain engine for migrations."""
    return sa.create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=sa.NullPool)
