"""The process's services, as commands ask for them: made for one command, and taken down after it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Concatenate, ParamSpec, TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit.caller import Caller
from app.database import Access, Database
from app.migrate import database_urls
from app.settings import Settings
from app.telemetry import configure_logging
from app.wiring import Services, services

P = ParamSpec("P")
T = TypeVar("T")
MOST_ROWS = 1000


def shell(tenant_id: UUID) -> Caller:
    """Whoever works at this shell, acting for a tenant."""
    return Caller(tenant_id, "shell")


def with_services(work: Callable[[Services], Awaitable[T]], *, log_level: str = "WARNING") -> T:
    """Do some work with the process's services, made for it and taken down after it."""
    settings = Settings()
    configure_logging(log_level)

    async def run() -> T:
        async with database_urls(settings) as urls, services(settings, urls.app) as built:
            return await work(built)

    return asyncio.run(run())


async def transact(
    database: Database,
    access: Access,
    work: Callable[Concatenate[AsyncConnection, P], Awaitable[T]],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Read or change something in one transaction, whose connection the work is given first."""
    async with database.transaction(access) as connection:
        return await work(connection, *args, **kwargs)


def in_transaction(
    access: Access,
    work: Callable[Concatenate[AsyncConnection, P], Awaitable[T]],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """As `transact`, where that is all that a command does."""
    return with_services(lambda built: transact(built.database, access, work, *args, **kwargs))
