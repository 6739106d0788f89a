"""The database: one engine, and `transaction()`, the only place that commits.

Row-level security in Postgres stands behind every query. A transaction acts under one of three roles, none
of which can pass the policies, and both the role and the tenant are set for the transaction only, so that a
pooler in transaction mode never hands one tenant's rights to another.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from uuid_utils.compat import uuid7

from app.errors import DatabaseUnavailable

CHECKOUT_SECONDS = 2.5
"""How long a caller waits for a usable connection before it is told that the database is away."""

metadata = sa.MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)

Timestamp = sa.TIMESTAMP(timezone=True)
Money = sa.Numeric(14, 4)


class Role(StrEnum):
    """The database roles that the gateway acts as; each sees only what its policies grant."""

    APP = "rentgate_app"
    WORKER = "rentgate_worker"
    PLATFORM = "rentgate_platform"


@dataclass(frozen=True, slots=True)
class Access:
    """In whose name a transaction acts."""

    role: Role
    tenant_id: UUID | None = None
    token_hash: bytes | None = None

    @classmethod
    def tenant(cls, tenant_id: UUID) -> Access:
        """One tenant's rows, and nothing else."""
        return cls(Role.APP, tenant_id)

    @classmethod
    def bearer(cls, token_hash: bytes) -> Access:
        """The one API key whose token hashes to this; what a request has before its tenant is known."""
        return cls(Role.APP, token_hash=token_hash)


WORKER = Access(Role.WORKER)
"""Finding what is due, over all tenants; the work itself is then done in the tenant's name."""

PLATFORM = Access(Role.PLATFORM)
"""Making and listing tenants."""

_UNMIGRATED = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.InvalidParameterValue,  # what Postgres says to set_config('role', ...) without the role
)

_ACT_AS = sa.text(
    "select set_config('role', :role, true), set_config('rentgate.tenant_id', :tenant_id, true),"
    " set_config('rentgate.token_hash', :token_hash, true)"
)


class Database:
    """The engine with its pool. Made once a process by the wiring; `aclose()` when it ends."""

    def __init__(self, url: str, *, pool_size: int = 20) -> None:
        self._engine = engine(url, pool_size=pool_size)

    @asynccontextmanager
    async def transaction(self, access: Access) -> AsyncIterator[AsyncConnection]:
        """A transaction in somebody's name: committed at the end of the block, rolled back on an exception.

        Raises:
            DatabaseUnavailable: no connection could be had in time, or it was lost on the way.
        """
        try:
            async with asyncio.timeout(CHECKOUT_SECONDS):
                connection = await self._engine.connect()
        except (TimeoutError, PoolTimeout, OperationalError, InterfaceError, OSError):
            raise DatabaseUnavailable(retry_after=1) from None
        try:
            async with asyncio.timeout(CHECKOUT_SECONDS):
                await connection.execute(
                    _ACT_AS,
                    {
                        "role": access.role.value,
                        "tenant_id": str(access.tenant_id) if access.tenant_id else "",
                        "token_hash": access.token_hash.hex() if access.token_hash else "",
                    },
                )
            yield connection
            await connection.commit()
        except DBAPIError as error:
            if lost(error):
                raise DatabaseUnavailable(retry_after=1) from None
            if isinstance(error.orig, _UNMIGRATED):
                raise DatabaseUnavailable(
                    "The database is not migrated: run `rentgate migrate`.", retry_after=5
                ) from None
            raise
        except TimeoutError:
            await connection.invalidate()
            raise DatabaseUnavailable(retry_after=1) from None
        finally:
            await asyncio.shield(_give_back(connection))

    async def ping(self) -> None:
        """See that the database answers.

        Raises:
            DatabaseUnavailable: it does not.
        """
        async with self.transaction(Access(Role.APP)):
            pass

    async def clock(self) -> datetime:
        """The database's clock, which all processes share."""
        async with self.transaction(Access(Role.APP)) as connection:
            now: datetime = (await connection.execute(sa.select(sa.func.clock_timestamp()))).scalar_one()
            return now

    async def revision(self) -> str | None:
        """The migration the database is at, or None before the first."""
        async with self.transaction(Access(Role.APP)) as connection:
            present = await connection.scalar(sa.text("select to_regclass('alembic_version')"))
            if present is None:
                return None
            found: str | None = await connection.scalar(sa.text("select version_num from alembic_version"))
            return found

    def connections_in_use(self) -> int:
        """How many of the pool's connections are checked out now."""
        return int(self._engine.sync_engine.pool.checkedout())  # type: ignore[attr-defined]

    async def aclose(self) -> None:
        """Close all connections."""
        await self._engine.dispose()


async def _give_back(connection: AsyncConnection) -> None:
    """Return a connection to the pool; one that can't be rolled back in time is thrown away."""
    try:
        async with asyncio.timeout(CHECKOUT_SECONDS):
            await connection.close()
    except (TimeoutError, DBAPIError):
        await connection.invalidate()


def engine(url: str, *, pool_size: int = 20) -> AsyncEngine:
    """An async engine on psycopg for a `postgresql://` URL, fit for a pooler in transaction mode."""
    return create_async_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=CHECKOUT_SECONDS,
        pool_pre_ping=True,
        hide_parameters=True,  # parameters may hold ciphertexts and hashes; they belong in no exception
        connect_args={"prepare_threshold": None, "connect_timeout": 2},
    )


def lost(error: DBAPIError) -> bool:
    """Whether this error means that the database went away, rather than that it disagreed."""
    return error.connection_invalidated or isinstance(
        error.orig, psycopg.OperationalError | psycopg.InterfaceError
    )


def violated(error: sa.exc.IntegrityError) -> str | None:
    """The name of the constraint that refused a row."""
    return error.orig.diag.constraint_name if isinstance(error.orig, psycopg.Error) else None


def new_id() -> UUID:
    """A new UUIDv7: unique, and sorted by the time of its making."""
    return uuid7()
