"""What integration tests share: the gateway's own objects on a database of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, TypeVar
from uuid import uuid4

import pytest

from app.migrate import DatabaseUrls
from app.sandbox import SandboxOptions
from app.settings import Settings
from app.wiring import services
from tests.conftest import new_vault_key
from tests.integration.house import House, add_account, add_tenant
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


@pytest.fixture
def served_sandbox() -> Iterator[ServedSandbox]:
    """A sandbox upstream over real HTTP."""
    options = SandboxOptions(activation_seconds=0.2, sms_seconds=0.2)
    with ServedSandbox(options) as served:
        yield served


OpenHouse = Callable[..., Any]


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
