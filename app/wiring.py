"""Builds every object of a process once, and takes them down again in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog
from sqlalchemy.engine import make_url

from app import migrate
from app.accounts.calls import UpstreamCalls
from app.accounts.pace import Limit, Pace
from app.catalog.service import Catalog
from app.database import Database
from app.errors import RentgateError
from app.operations.executor import Executor
from app.postgres import EmbeddedPostgres
from app.rentals.service import Rentals
from app.settings import Settings
from app.sync.looks import Intervals, Looker
from app.telemetry import Metrics
from app.upstream.client import UpstreamClient
from app.upstream.transport import Transport
from app.vault.keyring import Keyring, kept_vault_key
from app.vault.service import Vault

log = structlog.get_logger(__name__)


class SettingMissing(RentgateError):
    """A setting that this way of running needs is not set."""

    title = "A setting is missing"


@dataclass(frozen=True, slots=True)
class DatabaseUrls:
    """Where the database is: for the gateway, and for migrations."""

    app: str
    owner: str


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that requests and the worker work with."""

    settings: Settings
    database: Database
    keyring: Keyring
    vault: Vault
    calls: UpstreamCalls
    catalog: Catalog
    executor: Executor
    rentals: Rentals
    looker: Looker
    metrics: Metrics


@asynccontextmanager
async def database_urls(settings: Settings) -> AsyncIterator[DatabaseUrls]:
    """The database that the settings name; without one, the embedded server, started, and migrated."""
    if settings.database_url is not None:
        app_url = settings.database_url.get_secret_value()
        owner = settings.database_owner_url
        yield DatabaseUrls(app_url, owner.get_secret_value() if owner is not None else app_url)
        return
    server = EmbeddedPostgres(settings.data_dir.absolute())
    superuser_url = await asyncio.to_thread(server.start)
    try:
        app_url, owner_url = await asyncio.to_thread(migrate.prepare_embedded, superuser_url)
        await asyncio.to_thread(migrate.upgrade, owner_url)
        yield DatabaseUrls(app_url, owner_url)
    finally:
        await asyncio.to_thread(server.stop)


def migrate_database(urls: DatabaseUrls) -> None:
    """Make the roles and bring the database to the newest migration.

    Raises:
        MigrationRefused: the owner may not make the roles.
    """
    migrate.prepare_roles(urls.owner, make_url(urls.app).username or "")
    migrate.upgrade(urls.owner)


def vault_key(settings: Settings) -> str:
    """The vault key's setting; beside the embedded database it is made and kept.

    Raises:
        SettingMissing: there is an own database, but no vault key.
    """
    if settings.vault_key is not None:
        return settings.vault_key.get_secret_value()
    if settings.database_url is None:
        return kept_vault_key(Path(settings.data_dir))
    raise SettingMissing(
        "RENTGATE_VAULT_KEY has to be set when RENTGATE_DATABASE_URL is: 32 bytes in base64 (as made by"
        " `openssl rand -base64 32`), or file:<path>."
    )


@asynccontextmanager
async def services(settings: Settings, database_url: str) -> AsyncIterator[Services]:
    """All services on a database that is migrated; what is under way ends before they are taken down.

    Raises:
        VaultKeyUnusable: the vault key is malformed.
        SettingMissing: there is no vault key.
    """
    database = Database(database_url)
    transport = Transport(settings.upstream_url, settings.upstream_timeout)
    try:
        keyring = Keyring(vault_key(settings))
        metrics = Metrics()
        metrics.watch_connections(database.connections_in_use)
        vault = Vault(keyring)
        pace = Pace(
            database,
            account=Limit(settings.upstream_rate, settings.upstream_burst),
            everything=Limit(settings.upstream_global_rate, max(1.0, settings.upstream_global_rate)),
            patience=settings.upstream_timeout,
        )
        calls = UpstreamCalls(database, vault, UpstreamClient(transport), pace, metrics)
        catalog = Catalog(calls, countries_ttl=settings.countries_ttl, offers_ttl=settings.offers_ttl)
        executor = Executor(
            database,
            calls,
            call_timeout=settings.upstream_timeout,
            purchase_wait=settings.purchase_wait,
        )
        intervals = Intervals(settings.sync_interval, settings.sync_idle_interval, settings.reconcile_seconds)
        looker = Looker(database, calls, intervals, metrics, call_timeout=settings.upstream_timeout)
        rentals = Rentals(database, vault, catalog, calls, executor)
        yield Services(
            settings,
            database,
            keyring,
            vault,
            calls,
            catalog,
            executor,
            rentals,
            looker,
            metrics,
        )
        await executor.drain()
    finally:
        await transport.aclose()
        await database.aclose()
