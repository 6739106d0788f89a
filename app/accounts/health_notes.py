"""Notes what the answers to callers' calls say of how well an account can be read, in one process.

Answers to the background's own calls are noted by its looks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts import health_records
from app.accounts.health import Observations
from app.audit.caller import Caller
from app.cache import BoundedCache
from app.database import Access, Database
from app.errors import RentgateError

KNOWN_SECONDS = 60.0
"""For so long a clean answer of an account that had no problem is not news: only another process may have met
one since.
"""

KNOWN_ACCOUNTS = 10_000

log = structlog.get_logger(__name__)


class HealthNotes:
    """The notes of one process."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._well_until: BoundedCache[UUID, float] = BoundedCache(KNOWN_ACCOUNTS)

    def are_news(self, upstream_key_id: UUID, readings: Observations) -> bool:
        """Whether readings may change what is kept of an account."""
        if any(reading.set_aside for reading in readings.made):
            return True
        return bool(readings.made) and self._clock() >= self._well_until.get(upstream_key_id, 0.0)

    async def note(
        self, connection: AsyncConnection, caller: Caller, upstream_key_id: UUID, readings: Observations
    ) -> None:
        """Note readings, if they are news."""
        if not self.are_news(upstream_key_id, readings):
            return
        health = await health_records.observe(connection, caller, upstream_key_id, readings.made)
        if health.problems:
            self._well_until.pop(upstream_key_id, None)
        else:
            self._well_until[upstream_key_id] = self._clock() + KNOWN_SECONDS

    async def note_apart(self, caller: Caller, upstream_key_id: UUID, readings: Observations) -> None:
        """Note readings in a transaction of their own, if they are news and it can be done: nothing else
        hangs on it.
        """
        if not self.are_news(upstream_key_id, readings):
            return
        try:
            async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
                await self.note(connection, caller, upstream_key_id, readings)
        except RentgateError as away:
            log.info("health.not_noted", upstream_key_id=str(upstream_key_id), code=away.code)
        except Exception:
            log.exception("health.note_crashed", upstream_key_id=str(upstream_key_id))
