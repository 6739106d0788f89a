"""Builds every object of a process once, and takes them down again in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog
from sqlalchemy.engine import make_url

from app import migrate
from app.accounts.buckets import Limit
from app.accounts.calls import UpstreamCalls
from app.accounts.pace import Pace
from app.accounts.set_aside_reports import SetAsideReports
from app.audit.seals import Hash
from app.catalog.availability import Availability
from app.catalog.service import Catalog
from app.database import Database
from app.errors import RentgateError
from app.events.notifications import Notifications
from app.kinds.changes import Changes
from app.kinds.purchases import Purchases
from app.kinds.registry import call_of
from app.operations.executor import Executor
from app.postgres import EmbeddedPostgres
from app.rentals import repository as rental_repository
from app.rentals.reading import OrderReader
from app.rentals.schemas import Rental
from app.rentals.service import Rentals
from app.settings import Settings
from app.settlement import outcomes
from app.sync.balances import BalanceReader, BalanceTimes
from app.sync.intervals import Intervals
from app.sync.looks import Looker
from app.sync.refresh import Refresher
from app.telemetry import Metrics
from app.telemetry.redaction import hide
from app.tenants import service as tenants
from app.tenants.issuer import Issuer
from app.tenants.recognition import Recognition
from app.upstream.balance import BalanceClient
from app.upstream.client import UpstreamClient
from app.upstream.transport import Transport
from app.upstream_accounts.service import UpstreamAccounts
from app.vault.homes import Homes, home
from app.vault.keyring import Keyring, kept_vault_key
from app.vault.resolver import Resolver
from app.vault.rotation import Rotations
from app.vault.service import Vault
from app.vault.sources import sources
from app.webhooks import repository as webhooks
from app.webhooks.dispatcher import Dispatcher
from app.webhooks.sender import Sender

AUDIT = "audit"
"""What the audit trail's hashes are made for, so that no other hash can stand for one."""

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
    recognition: Recognition
    keyring: Keyring
    vault: Vault
    rotations: Rotations
    pace: Pace
    calls: UpstreamCalls
    upstream_accounts: UpstreamAccounts
    catalog: Catalog
    availability: Availability
    executor: Executor[Rental]
    rentals: Rentals
    purchases: Purchases
    changes: Changes
    looker: Looker
    balances: BalanceReader | None
    refresher: Refresher
    notifications: Notifications
    dispatcher: Dispatcher
    metrics: Metrics

    async def audit_hash(self) -> Hash:
        """The keyed hash that seals audit trails; its key is in the vault.

        Raises:
            VaultKeyUnusable: the vault key is not the one that this vault was made with.
        """
        return partial((await self.keyring.check(self.database)).of, AUDIT)


@asynccontextmanager
async def database_urls(settings: Settings) -> AsyncIterator[DatabaseUrls]:
    """The database that the settings name; without one, the embedded server, started, and migrated.

    Raises:
        MigrationRefused: the database is at a revision that this code doesn't know.
    """
    if settings.database_url is not None:
        app_url = settings.database_url.get_secret_value()
        await asyncio.to_thread(migrate.refuse_unknown_at, app_url)
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
        MigrationRefused: the owner may not make the roles, or the database's revision is unknown.
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
        " `openssl rand -base64 32`), file:<path>, or the key of a key service."
    )


def vault_homes(settings: Settings) -> Homes:
    """The vault key's home, and those of the keys before it.

    Raises:
        SettingMissing: there is no vault key.
        VaultKeyUnusable: a key is malformed, or what its home needs is missing.
    """
    token = settings.hcvault_token.get_secret_value() if settings.hcvault_token else None
    former = settings.vault_old_keys.get_secret_value().split(",") if settings.vault_old_keys else []
    return Homes(
        home(vault_key(settings), hcvault_token=token),
        [home(text, hcvault_token=token) for text in former if text.strip()],
    )


def references(settings: Settings) -> Resolver:
    """What reads the upstream keys that are references, by the kinds that are on.

    Raises:
        ReferencesUnusable: what one of them needs is missing.
    """
    token = settings.hcvault_token.get_secret_value() if settings.hcvault_token else None
    found = sources(settings.reference_kinds, hcvault_addr=settings.hcvault_addr, hcvault_token=token)
    return Resolver(found, tenants.reference_prefixes, settings.reference_cache_seconds)


def token_issuer(settings: Settings) -> Issuer | None:
    """The platform's own issuer of tokens, if there is one."""
    if settings.jwt_jwks_url is None or settings.jwt_issuer is None or settings.jwt_audience is None:
        return None
    return Issuer(
        settings.jwt_jwks_url,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        tenant_claim=settings.jwt_tenant_claim,
        scope_claim=settings.jwt_scope_claim,
    )


def warn_of_local_vault_key(settings: Settings) -> None:
    """Say in the log that a vault key is kept by the process itself, where it guards more than a trial."""
    if settings.database_url is not None and not vault_homes(settings).current.remote:
        log.warning(
            "vault.key_is_local", advice="Who reads this process's settings can open the vault; use a KMS."
        )


@asynccontextmanager
async def services(settings: Settings, database_url: str) -> AsyncIterator[Services]:
    """All services on a database that is migrated; what is under way ends before they are taken down.

    Raises:
        VaultKeyUnusable: the vault key is malformed.
        ReferencesUnusable: a kind of references lacks what it needs.
        SettingMissing: there is no vault key.
    """
    hide(*(s.get_secret_value() for s in (settings.admin_token, settings.hcvault_token) if s is not None))
    listen_url = settings.database_listen_url
    database = Database(database_url, through_pooler=listen_url is not None)
    notifications = Notifications(listen_url.get_secret_value() if listen_url else database_url)
    transport = Transport(settings.upstream_url, settings.upstream_timeout)
    balance_transport = (
        Transport(settings.balance_url, settings.upstream_timeout) if settings.balance_url else None
    )
    sender = Sender(allow_private=settings.webhook_allow_private)
    issuer = token_issuer(settings)
    try:
        keyring = Keyring(vault_homes(settings), settings.vault_cache_seconds)
        metrics = Metrics()
        metrics.watch_connections(database.connections_in_use)
        vault = Vault(database, keyring, references(settings))
        pace = Pace(
            database,
            metrics,
            account=Limit(settings.upstream_rate, settings.upstream_burst),
            everything=Limit(settings.upstream_global_rate, max(1.0, settings.upstream_global_rate)),
            patience=settings.upstream_timeout,
            balance=Limit(settings.balance_rate, 1.0),
        )
        calls = UpstreamCalls(
            database,
            vault,
            UpstreamClient(transport),
            pace,
            metrics,
            listed_order_ids=rental_repository.listed_order_ids,
        )
        catalog = Catalog(calls, countries_ttl=settings.countries_ttl, offers_ttl=settings.offers_ttl)
        executor = Executor(
            database,
            calls,
            call_of,
            outcomes,
            call_timeout=settings.upstream_timeout,
            purchase_wait=settings.purchase_wait,
        )
        intervals = Intervals(settings.sync_interval, settings.sync_idle_interval, settings.reconcile_seconds)
        looker = Looker(database, calls, intervals, metrics)
        balances = None
        if balance_transport is not None:
            balances = BalanceReader(
                database,
                calls,
                BalanceClient(balance_transport, observe=SetAsideReports(metrics).report),
                pace,
                metrics,
                call_timeout=settings.upstream_timeout,
                times=BalanceTimes(settings.balance_interval),
            )
        notifications.start()
        reader = OrderReader(database, calls)
        rentals = Rentals(database)
        changes = Changes(database, catalog, calls, executor, reader, rentals)
        yield Services(
            settings,
            database,
            Recognition(database, issuer),
            keyring,
            vault,
            Rotations(database, keyring, webhooks.seal_anew),
            pace,
            calls,
            UpstreamAccounts(database, vault, calls),
            catalog,
            Availability(calls, catalog, ttl=settings.offers_ttl),
            executor,
            rentals,
            Purchases(vault=vault, changes=changes),
            changes,
            looker,
            balances,
            Refresher(
                database,
                notifications,
                interval=settings.sync_interval,
                call_timeout=settings.upstream_timeout,
            ),
            notifications,
            Dispatcher(database, keyring, sender, notifications, metrics),
            metrics,
        )
        await executor.drain()
    finally:
        await notifications.aclose()
        await transport.aclose()
        if balance_transport is not None:
            await balance_transport.aclose()
        await sender.aclose()
        if issuer is not None:
            await issuer.aclose()
        await database.aclose()
