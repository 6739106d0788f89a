"""Procrastinate's way to the database: our own transactions, roles and notifications."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import structlog
from procrastinate import exceptions
from procrastinate.connector import BaseAsyncConnector, Notify, Pool
from procrastinate.manager import QUEUEING_LOCK_CONSTRAINT
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from app.database import WORKER, Database
from app.errors import DatabaseUnavailable
from app.events.notifications import QUEUED, Notifications
from app.queries import driven, in_one_piece

AWAY_SECONDS = 0.5

_IN_ITS_SCHEMA = "select set_config('search_path', 'jobs', true)"

log = structlog.get_logger(__name__)


class Connector(BaseAsyncConnector):
    """Runs procrastinate's queries as the worker, and tells it of new jobs."""

    def __init__(self, database: Database, notifications: Notifications) -> None:
        self._database = database
        self._notifications = notifications
        self.patient = True
        """Whether a query waits for a database that is away. Procrastinate ends a worker whose query failed,
        and would first wait for all that the worker does.
        """

    async def open_async(self, pool: Pool | None = None) -> None:
        """Nothing to open: the database is the process's own."""

    async def close_async(self) -> None:
        """Nothing to close."""

    async def execute_query_async(self, query: LiteralString, **arguments: Any) -> None:
        """Run a query.

        Raises:
            ConnectorException: the database says no.
            DatabaseUnavailable: it is away, and nobody is patient.
        """
        await self._run(query, arguments)

    async def execute_query_one_async(self, query: LiteralString, **arguments: Any) -> dict[str, Any]:
        """Run a query that gives a row.

        Raises:
            NoResult: it gave none.
        """
        rows = await self._run(query, arguments)
        if not rows:
            raise exceptions.NoResult
        return rows[0]

    async def execute_query_all_async(self, query: LiteralString, **arguments: Any) -> list[dict[str, Any]]:
        """Run a query; all its rows."""
        return await self._run(query, arguments)

    async def listen_notify(self, on_notification: Notify, channels: Iterable[str]) -> None:
        """Tell of jobs that were deferred, which who defers them announces on our own channel."""
        news = asyncio.Event()

        def hear(topic: UUID | None) -> None:
            if topic in (None, QUEUED):
                news.set()

        inserted = json.dumps({"type": "job_inserted", "job_id": 0})
        self._notifications.tell(hear)
        try:
            while True:
                await news.wait()
                news.clear()
                for channel in channels:
                    await on_notification(channel=channel, payload=inserted)
        finally:
            self._notifications.tell_no_more(hear)

    async def _run(self, query: LiteralString, arguments: dict[str, Any]) -> list[dict[str, Any]]:
        """Run a query, again if it is not known whether it was run. A job that is fetched twice so is found
        by the sweep, and one that is finished twice is said not to be there.
        """
        while True:
            try:
                return await self._run_once(query, arguments)
            except DatabaseUnavailable:
                if not self.patient:
                    raise
                await asyncio.sleep(AWAY_SECONDS)
            except psycopg.errors.UniqueViolation as violation:
                raise _violated(violation) from None
            except psycopg.Error as error:
                raise exceptions.ConnectorException from error

    async def _run_once(self, query: LiteralString, arguments: dict[str, Any]) -> list[dict[str, Any]]:
        async with self._database.transaction(WORKER) as connection, driven(connection) as driver:
            cursor = driver.cursor(row_factory=dict_row)
            async with in_one_piece(driver):
                await driver.execute(_IN_ITS_SCHEMA)
                await cursor.execute(query, {name: _adapted(value) for name, value in arguments.items()})
            return await cursor.fetchall() if cursor.description else []


def _adapted(value: Any) -> Any:
    """A value as the driver takes it: objects become JSON, at any depth of lists and rows."""
    if isinstance(value, dict):
        return Jsonb(value)
    if isinstance(value, list):
        return [_adapted(item) for item in value]
    if isinstance(value, tuple):
        return tuple(_adapted(item) for item in value)
    return value


def _violated(violation: psycopg.errors.UniqueViolation) -> exceptions.UniqueViolation:
    """The same in procrastinate's words; it wants to know which queueing lock is taken."""
    constraint = violation.diag.constraint_name
    lock = None
    if constraint == QUEUEING_LOCK_CONSTRAINT:
        found = re.search(r"\)=\((.*)\)", violation.diag.message_detail or "")
        lock = found and found[1]
    return exceptions.UniqueViolation(constraint_name=constraint, queueing_lock=lock)
