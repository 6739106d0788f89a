"""Builds every object of a process once, and takes them down again in order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import structlog

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


class _Closeable(Protocol):
    async def aclose(self) -> None: ...


C = TypeVar("C", bound=_Closeable)


class SettingMissing(RentgateError):
    """A setting that this way of running needs is not set."""

    title = "A setting is missing"


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
    async with AsyncExitStack() as closing:
        built = _built(settings, database_url, closing)
        built.notifications.start()
        yield built
        await built.executor.drain()


def _built(settings: Settings, database_url: str, closing: AsyncExitStack) -> Services:
    """All services; what is open of them is closed with `closing`, what was opened last first."""
    listen_url = settings.database_listen_url
    database = _open(closing, Database(database_url, through_pooler=listen_url is not None))
    issuer = token_issuer(settings)
    if issuer is not None:
        _open(closing, issuer)
    sender = _open(closing, Sender(allow_private=settings.webhook_allow_private))
    metrics = Metrics()
    metrics.watch_connections(database.connections_in_use)
    keyring = Keyring(vault_homes(settings), settings.vault_cache_seconds)
    vault = Vault(database, keyring, references(settings))
    pace = _pace(settings, database, metrics)
    transport = _open(closing, Transport(settings.upstream_url, settings.upstream_timeout))
    listed_order_ids = rental_repository.listed_order_ids
    calls = UpstreamCalls(
        database, vault, UpstreamClient(transport), pace, metrics, listed_order_ids=listed_order_ids
    )
    balances = _balances(settings, database, calls, pace, metrics=metrics, closing=closing)
    catalog = Catalog(calls, countries_ttl=settings.countries_ttl, offers_ttl=settings.offers_ttl)
    executor = _executor(settings, database, calls)
    rentals = Rentals(database)
    changes = Changes(database, catalog, calls, executor, OrderReader(database, calls), rentals)
    intervals = Intervals(settings.sync_interval, settings.sync_idle_interval, settings.reconcile_seconds)
    notifications = _open(
        closing, Notifications(listen_url.get_secret_value() if listen_url else database_url)
    )
    return Services(
        settings=settings,
        database=database,
        recognition=Recognition(database, issuer),
        keyring=keyring,
        vault=vault,
        rotations=Rotations(database, keyring, webhooks.seal_anew),
        pace=pace,
        calls=calls,
        upstream_accounts=UpstreamAccounts(database, vault, calls),
        catalog=catalog,
        availability=Availability(calls, catalog, ttl=settings.offers_ttl),
        executor=executor,
        rentals=rentals,
        purchases=Purchases(vault=vault, changes=changes),
        changes=changes,
        looker=Looker(database, calls, intervals, metrics),
        balances=balances,
        refresher=_refresher(settings, database, notifications),
        notifications=notifications,
        dispatcher=Dispatcher(database, keyring, sender, notifications, metrics),
        metrics=metrics,
    )


def _open(closing: AsyncExitStack, opened: C) -> C:
    closing.push_async_callback(opened.aclose)
    return opened


def _pace(settings: Settings, database: Database, metrics: Metrics) -> Pace:
    return Pace(
        database,
        metrics,
        account=Limit(settings.upstream_rate, settings.upstream_burst),
        everything=Limit(settings.upstream_global_rate, max(1.0, settings.upstream_global_rate)),
        patience=settings.upstream_timeout,
        balance=Limit(settings.balance_rate, 1.0),
    )


def _executor(settings: Settings, database: Database, calls: UpstreamCalls) -> Executor[Rental]:
    timeout, wait = settings.upstream_timeout, settings.purchase_wait
    return Executor(database, calls, call_of, outcomes, call_timeout=timeout, purchase_wait=wait)


def _balances(
    settings: Settings,
    database: Database,
    calls: UpstreamCalls,
    pace: Pace,
    *,
    metrics: Metrics,
    closing: AsyncExitStack,
) -> BalanceReader | None:
    """The reader of balances, where they are read."""
    if not settings.balance_url:
        return None
    transport = _open(closing, Transport(settings.balance_url, settings.upstream_timeout))
    client = BalanceClient(transport, observe=SetAsideReports(metrics).report)
    timeout, times = settings.upstream_timeout, BalanceTimes(settings.balance_interval)
    return BalanceReader(database, calls, client, pace, metrics, call_timeout=timeout, times=times)


def _refresher(settings: Settings, database: Database, notifications: Notifications) -> Refresher:
    interval, timeout = settings.sync_interval, settings.upstream_timeout
    return Refresher(database, notifications, interval=interval, call_timeout=timeout)
