"""One engine a process, and `transaction()`, the only place that commits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, TypeVar

import psycopg
import sqlalchemy as sa
import structlog
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from app.database import at_commit
from app.database.access import LOGIN_ROLE, Access, Role
from app.errors import DatabaseUnavailable

T = TypeVar("T")

log = structlog.get_logger(__name__)

CHECKOUT_SECONDS = 2.5
"""How long a caller waits for a usable connection before it is told that the database is away."""

_UNMIGRATED = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.InvalidParameterValue,  # what Postgres says to set_config('role', ...) without the role
)

_GONE = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.IdleInTransactionSessionTimeout,  # the server has ended who stood still
)

_BEGIN_AS = (
    "begin; select set_config('role', '{role}', true), set_config('rentgate.tenant_id', '{tenant_id}', true),"
    " set_config('rentgate.token_hash', '{token_hash}', true), set_config('lock_timeout', '10s', true),"
    " set_config('statement_timeout', '20s', true),"
    " set_config('idle_in_transaction_session_timeout', '5s', true)"
)
"""Begins a transaction in somebody's name, in one round trip: two statements, and so without parameters.
What is put in is a role's name, an id and a hash in hex, none of which can hold a quote. The server ends what
takes too long, so that nobody who has hung or died keeps others waiting for its locks.
"""


class Database:
    """The engine with its pool. Made once a process by the wiring; `aclose()` when it ends."""

    def __init__(self, url: str, *, pool_size: int = 20, through_pooler: bool = False) -> None:
        """Connect lazily to a `postgresql://` URL, which may lead through a pooler in transaction mode."""
        # "Autocommit" in the driver's sense: it adds no BEGIN of its own to ours.
        made = engine(url, pool_size=pool_size, through_pooler=through_pooler)
        self._engine = made.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def transaction(self, access: Access) -> AsyncIterator[AsyncConnection]:
        """A transaction in somebody's name: committed at the end of the block, rolled back on an exception.

        Raises:
            DatabaseUnavailable: no connection could be had in time, or it was lost on the way.
        """
        try:
            connection = await _within(CHECKOUT_SECONDS, self._begin(access), too_late=_give_back)
        except (TimeoutError, PoolTimeout, OSError):
            raise DatabaseUnavailable(retry_after=1) from None
        except DBAPIError as error:
            raise _meaning(error) or error from None
        try:
            yield connection
            await at_commit.commit(connection)
        except (DBAPIError, psycopg.Error) as error:
            meaning = _meaning(error)
            if meaning is None:
                raise
            raise meaning from None
        finally:
            await asyncio.shield(_give_back(connection))

    async def _begin(self, access: Access) -> AsyncConnection:
        """A connection in a transaction that acts in somebody's name.

        A pooled connection may have been closed by the server meanwhile. Asking each first whether it is
        alive would cost a round trip a transaction; instead a second one is taken when the first is dead.
        """
        try:
            return await self._begin_once(access)
        except DBAPIError as error:
            if not lost(error):
                raise
        return await self._begin_once(access)

    async def _begin_once(self, access: Access) -> AsyncConnection:
        connection = await self._engine.connect()
        try:
            await connection.exec_driver_sql(
                _BEGIN_AS.format(
                    role=access.role.value if access.role else LOGIN_ROLE,
                    tenant_id=access.tenant_id or "",
                    token_hash=access.token_hash.hex() if access.token_hash else "",
                )
            )
            at_commit.begin(connection)
        except BaseException:
            await _give_back(connection)
            raise
        return connection

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


_abandoned: set[asyncio.Future[Any]] = set()
"""Work that nobody waits for any more; held here, since asyncio itself doesn't keep it alive."""


async def _within(
    seconds: float,
    work: Coroutine[Any, Any, T],
    *,
    too_late: Callable[[T], Coroutine[Any, Any, None]] | None = None,
) -> T:
    """The result of some work if it comes in time; else the work is left to end by itself.

    Cancelling would not do: the driver first asks the server to stop, and a server that hangs keeps it
    waiting for seconds more; and a connection that is cancelled on its way back is lost to the pool.

    Args:
        too_late: what to do with a result that comes when nobody waits for it any more.

    Raises:
        TimeoutError: it did not come in time.
    """
    task = asyncio.ensure_future(work)
    taken = False
    try:
        await asyncio.wait({task}, timeout=seconds)
        taken = task.done()
        if not taken:
            raise TimeoutError
        return task.result()
    finally:
        if not taken:
            _abandoned.add(task)
            task.add_done_callback(lambda done: _let_go(done, too_late))


def _let_go(task: asyncio.Future[T], too_late: Callable[[T], Coroutine[Any, Any, None]] | None) -> None:
    """Take note of what abandoned work came to."""
    _abandoned.discard(task)
    if task.cancelled() or task.exception() is not None or too_late is None:
        return
    cleaning = asyncio.ensure_future(too_late(task.result()))
    _abandoned.add(cleaning)
    cleaning.add_done_callback(_abandoned.discard)


async def _give_back(connection: AsyncConnection) -> None:
    """Return a connection to the pool; one that can't be rolled back in time goes there when it can."""
    with contextlib.suppress(TimeoutError, SQLAlchemyError):
        await _within(CHECKOUT_SECONDS, connection.close())


def _meaning(error: DBAPIError | psycopg.Error) -> DatabaseUnavailable | None:
    """What a driver's error means to the caller, if it is the database's absence rather than its no."""
    own = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(own, psycopg.errors.DeadlockDetected):
        log.error("database.deadlock", why=own.diag.message_detail)  # ours to mend; nothing is lost
    if lost(error):
        return DatabaseUnavailable(retry_after=1)
    if isinstance(own, _UNMIGRATED):
        return DatabaseUnavailable("The database is not migrated: run `rentgate migrate`.", retry_after=5)
    return None


PREPARED_AFTER = 3
"""Executions of a statement on one connection after which the server keeps it parsed."""


def engine(url: str, *, pool_size: int = 20, through_pooler: bool = False) -> AsyncEngine:
    """An async engine on psycopg for a `postgresql://` URL.

    Args:
        through_pooler: prepare nothing, since a pooler in transaction mode may hand the next statement to
            a server connection that does not know what was prepared on another.
    """
    return create_async_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=CHECKOUT_SECONDS,
        hide_parameters=True,  # parameters may hold ciphertexts and hashes; they belong in no exception
        skip_autocommit_rollback=False,  # our transactions are begun by hand, and have to be ended so
        connect_args={
            "prepare_threshold": None if through_pooler else PREPARED_AFTER,
            "connect_timeout": 2,
        },
    )


def lost(error: DBAPIError | psycopg.Error) -> bool:
    """Whether this error means that the database went away, rather than that it disagreed."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or _away(error.orig)
    return _away(error)


def _away(error: BaseException | None) -> bool:
    return isinstance(error, _GONE)
