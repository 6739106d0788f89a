"""Reading an account's archive within a poll: it closes what is gone from the list, and tells what is new."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import structlog

from app.database import Database
from app.errors import RentgateError, UpstreamBadResponse
from app.sync.archive import AGAIN_SECONDS, Archive
from app.sync.intervals import LONGEST_UNREADABLE, Intervals
from app.sync.learning import health_now
from app.sync.pages import HISTORY, Ask, Walk
from app.sync.watch import Watch

log = structlog.get_logger(__name__)


class HistoryReader:
    """Reads the archives of all accounts, some pages of one account a call."""

    def __init__(self, database: Database, intervals: Intervals) -> None:
        self.archive = Archive(database)
        self._intervals = intervals

    async def read(self, watch: Watch, ask: Ask, keep_on: Callable[[], Awaitable[bool]]) -> None:
        """Close what is gone, and import what is new. The poll itself is done: what can't be read is tried
        again later, after growing pauses, and holds up a closing for no longer than proving an absence takes.

        Args:
            ask: makes a call.
            keep_on: asked before each; false when this poll has to end.

        Raises:
            NotYet: the pace leaves no room now.
        """
        if time.monotonic() >= watch.archive_retry_at:
            try:
                await self._close_and_import(watch, ask, keep_on)
                watch.archive_failures = 0
            except RentgateError as error:
                watch.archive_failures += 1
                pause = self._intervals.archive_pause(watch.archive_failures, unsettled=watch.unsettled)
                watch.archive_retry_at = time.monotonic() + pause
                log.info("archive.put_off", code=error.code)
        late = watch.gone_for(self._intervals.reconcile) if watch.archive_failures else ()
        if late:
            await self.archive.close_by(watch.account, late, watch.search.ends)
            watch.note_gone([order for order in watch.gone if order not in late])

    async def _close_and_import(self, watch: Watch, ask: Ask, keep_on: Callable[[], Awaitable[bool]]) -> None:
        """Close what is gone by the archive, and import what is new in it.

        Raises:
            NotYet: the pace leaves no room now.
            RentgateError: the archive can't be read, or not where it may tell of an order that is gone.
        """

        def again_seconds() -> float:
            clear = watch.importing.complete and not health_now(watch).has(HISTORY)
            return AGAIN_SECONDS if clear else LONGEST_UNREADABLE

        if watch.gone and await keep_on():
            watch.note_gone(await self.archive.close(watch.account, watch.gone, watch.search, ask))
            if watch.gone:
                raise UpstreamBadResponse("Rows of the archive can't be read.")
        if watch.archive_due and await keep_on():
            watch.archive_due = not await self.archive.import_news(
                watch.account, ask, keep_on, watch.importing, again_seconds=again_seconds
            )
            if not watch.archive_due:
                watch.importing = Walk()
