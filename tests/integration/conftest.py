"""What integration tests share: the gateway's own objects on a database of the test's own."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest

from app.accounts import leases, schedule
from app.accounts.calls import WatchedAccount
from app.audit.caller import Caller, background
from app.database import PLATFORM, WORKER, Access, Database
from app.idempotency.repository import NO_TENANT
from app.migrate import DatabaseUrls
from app.sandbox import SandboxOptions
from app.sandbox.state import Sandbox
from app.settings import Settings
from app.sync.assignments import AssignedAccount, Lease
from app.sync.looks import Lost
from app.sync.watch import Watch
from app.sync.watching import Watching
from app.tenants import service as tenants
from app.upstream_accounts.service import AccountSettings
from app.wiring import Services, services
from tests.conftest import new_vault_key
from tests.served import ServedSandbox

T = TypeVar("T")

QUICK: dict[str, Any] = {
    "upstream_timeout": 2.0,
    "upstream_rate": 0,
    "upstream_global_rate": 0,
    "purchase_wait": 5.0,
    "sync_interval": 0.05,
    "sync_idle_interval": 0.05,
    "reconcile_seconds": 0.3,
    "offers_ttl": 0.01,
}


@dataclass(frozen=True, slots=True)
class House:
    """A gateway's services with one tenant, its upstream account, and the sandbox behind it."""

    services: Services
    sandbox: Sandbox
    tenant_id: UUID
    key_id: UUID
    api_key: str

    @property
    def database(self) -> Database:
        """The gateway's database."""
        return self.services.database

    @property
    def caller(self) -> Caller:
        """Somebody of the tenant."""
        return Caller(self.tenant_id, "api_key:test", "127.0.0.1", "req-1")

    @property
    def tenant(self) -> Access:
        """The tenant's own access."""
        return Access.tenant(self.tenant_id)

    async def look(self) -> None:
        """Have a worker of the test's own poll the account once, unless another one has it."""
        built, lease = self.services, Lease()
        poller = Watching(built.database, built.looker, built.pace, built.notifications, built.metrics)
        async with self.database.transaction(WORKER) as connection:
            lease.renew(await leases.register(connection, lease.holder, 60), time.monotonic(), 60)
            await schedule.make_due(connection, self.tenant_id, self.key_id)
            taken = await leases.take(connection, lease.holder, 1_000)
        for one in taken:
            if one.upstream_key_id == self.key_id:
                watch = Watch(WatchedAccount(one.tenant_id, one.upstream_key_id), one.failures)
                account = AssignedAccount(watch, time.monotonic(), requested=one.requested)
                with contextlib.suppress(Lost):
                    await poller.poll(account, lease)
                await poller.give_back(account, lease)
        async with self.database.transaction(WORKER) as connection:
            await leases.reap(connection, lease.holder)

    async def refresh(self, rental_id: UUID) -> bool:
        """Refresh a rental as the tenant's caller, with a worker of the test's own polling."""
        asking = asyncio.ensure_future(self.services.refresher.refresh(self.caller, rental_id))
        while not asking.done():
            await self.look()
        return await asking


@pytest.fixture
def served_sandbox() -> Iterator[ServedSandbox]:
    """A sandbox upstream over real HTTP."""
    options = SandboxOptions(activation_seconds=0.2, sms_seconds=0.2)
    with ServedSandbox(options) as served:
        yield served


OpenHouse = Callable[..., Any]


async def add_tenant(built: Services, name: str = "test") -> UUID:
    """A new tenant."""
    async with built.database.transaction(PLATFORM) as connection:
        return (await tenants.create_tenant(connection, background(NO_TENANT), name=name)).id


async def add_account(
    built: Services,
    tenant_id: UUID,
    api_key: str | None = None,
    *,
    label: str = "a",
    reference: str | None = None,
) -> UUID:
    """A further upstream account of a tenant's."""
    accounts, settings = built.upstream_accounts, AccountSettings(label=label)
    secret = await accounts.secret(tenant_id, api_key, reference=reference)
    async with built.database.transaction(Access.tenant(tenant_id)) as connection:
        return (await accounts.add(connection, background(tenant_id), secret, settings)).id


@pytest.fixture
def open_house(database_urls: DatabaseUrls, served_sandbox: ServedSandbox) -> OpenHouse:
    """Opens a House within an event loop: `async with open_house(setting=…) as house`."""
    vault_key = new_vault_key()

    @asynccontextmanager
    async def opened(**settings: Any) -> AsyncIterator[House]:
        given = Settings(
            _env_file=None,
            **{
                **QUICK,
                "database_url": database_urls.app,
                "vault_key": vault_key,
                "upstream_url": served_sandbox.url,
                **settings,
            },
        )
        async with services(given, database_urls.app) as built:
            api_key = f"key-{uuid4().hex}"
            served_sandbox.add_account(api_key, Decimal(500))
            tenant_id = await add_tenant(built)
            key_id = await add_account(built, tenant_id, api_key)
            yield House(built, served_sandbox.sandbox, tenant_id, key_id, api_key)

    return opened


@pytest.fixture
def run() -> Callable[[Awaitable[T]], T]:
    """Runs a coroutine to its end."""

    def runner(work: Awaitable[T]) -> T:
        async def whole() -> T:
            return await work

        return asyncio.run(whole())

    return runner
