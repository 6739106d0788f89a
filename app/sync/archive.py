"""Reading an account's archive page by page: for imports, and for the ends of orders that are gone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import Protocol

from app.accounts import schedule
from app.accounts.calls import WatchedAccount
from app.audit.caller import background
from app.database import Access, Database
from app.rentals import importing, intake
from app.rentals.intake import Gone
from app.upstream.client import UpstreamClient
from app.upstream.wire import HistoryEntry

PAGE = 100
MOST_PAGES = 1000
"""An archive that goes on for longer has no end: the upstream ignores what is asked for."""

AGAIN_SECONDS = 86_400.0
"""After how long an archive is read again for what was bought and closed elsewhere in between."""


class Ask(Protocol):
    """Makes a call to one account's upstream, in somebody's name and in his turn."""

    def __call__(
        self, method: str, call: Callable[[UpstreamClient, str], Awaitable[tuple[HistoryEntry, ...]]], /
    ) -> Awaitable[tuple[HistoryEntry, ...]]:
        """The answer to a call."""


class Archive:
    """The archives of all accounts, one account a call."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def import_news(
        self, account: WatchedAccount, ask: Ask, keep_on: Callable[[], Awaitable[bool]]
    ) -> bool:
        """Import what an archive shows that was never seen here, if it is due, from where it was left off.

        Args:
            keep_on: asked before each further page; false when this look has to end.

        Returns:
            whether it was read whole; else the next look goes on.

        Raises:
            NotYet: the background has to wait for its turn; the next look goes on.
            RentgateError: the archive can't be read on now; the next look goes on.
        """
        tenant_id, key_id = account.tenant_id, account.upstream_key_id
        tenant = Access.tenant(tenant_id)
        async with self._database.transaction(tenant) as connection:
            skip = await schedule.archive_position(connection, tenant_id, key_id)
        if skip is None:
            return True
        async for entries in self._pages(ask, skip):
            async with self._database.transaction(tenant) as connection:
                await schedule.lock(connection, tenant_id, key_id)
                await importing.import_archived(connection, background(tenant_id), key_id, entries)
                skip += len(entries)
                await schedule.note_archive(connection, tenant_id, key_id, skip=skip)
            if not await keep_on():
                return False
        async with self._database.transaction(tenant) as connection:
            await schedule.note_archive(connection, tenant_id, key_id, skip=0, next_in=AGAIN_SECONDS)
        return True

    async def close(self, account: WatchedAccount, gone: Sequence[Gone], ask: Ask) -> None:
        """Close orders that are gone, asking the archive for those whose end isn't known to have passed."""
        asked = {order.order_id for order in gone if not order.ended}
        ends: dict[str, datetime | None] = {}
        if asked:
            async for entries in self._pages(ask, 0):
                ends |= {entry.order_id: entry.ended_at for entry in entries}
                if asked <= ends.keys():
                    break
        tenant_id, key_id = account.tenant_id, account.upstream_key_id
        async with self._database.transaction(Access.tenant(tenant_id)) as connection:
            await schedule.lock(connection, tenant_id, key_id)
            await intake.close(connection, background(tenant_id), key_id, gone, ends)

    async def _pages(self, ask: Ask, skip: int) -> AsyncIterator[tuple[HistoryEntry, ...]]:
        """The archive's pages. Only an empty one is the last: the upstream may give fewer than asked."""
        for _ in range(MOST_PAGES):
            entries = await ask(
                "get_rent_history",
                lambda client, api_key, skip=skip: client.history(api_key, skip=skip, take=PAGE),  # type: ignore[misc]
            )
            if not entries:
                return
            yield entries
            skip += len(entries)
