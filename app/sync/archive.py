"""Reading an account's archive page by page: for imports, and for the ends of orders that are gone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from app.accounts import schedule
from app.accounts.calls import WatchedAccount
from app.audit.caller import background
from app.database import Access, Database
from app.rentals import importing, intake
from app.rentals.intake import Gone
from app.upstream.client import UpstreamClient
from app.upstream.rows import Listing
from app.upstream.wire import HistoryEntry

PAGE = 100
MOST_PAGES = 1000
"""An archive that goes on for longer has no end: the upstream ignores what is asked for."""

HISTORY = "get_rent_history"
AGAIN_SECONDS = 86_400.0
"""After how long an archive is looked at again for what was bought and closed elsewhere in between."""


class Ask(Protocol):
    """Makes a call to one account's upstream, in somebody's name and in his turn."""

    def __call__(
        self, method: str, call: Callable[[UpstreamClient, str], Awaitable[Listing[HistoryEntry]]], /
    ) -> Awaitable[Listing[HistoryEntry]]:
        """The answer to a call."""


@dataclass(slots=True)
class Search:
    """How far an archive was searched for the ends of orders that are gone, and what was found of them."""

    sought: set[str] = field(default_factory=set)
    skip: int = 0
    ends: dict[str, datetime | None] = field(default_factory=dict)

    def go_on(self, sought: set[str]) -> None:
        """Go on with the search, or begin it anew if it was for others so far."""
        if not sought or not sought <= self.sought:
            self.sought, self.skip, self.ends = sought, 0, {}


class Archive:
    """The archives of all accounts, one account a call."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def import_news(
        self,
        account: WatchedAccount,
        ask: Ask,
        keep_on: Callable[[], Awaitable[bool]],
        *,
        again_seconds: float,
    ) -> bool:
        """Import what an archive shows that was never seen here, if it is due, from where it was left off.
        Once it was read whole, it is read from both its ends, each on until everything on a page is known.

        Args:
            keep_on: asked before each further page; false when this look has to end.
            again_seconds: after how long it is due again.

        Returns:
            whether it is done; else the next look goes on.

        Raises:
            NotYet: the background has to wait for its turn; the next look goes on.
            RentgateError: the archive can't be read on now; the next look goes on.
        """
        tenant_id, key_id = account.tenant_id, account.upstream_key_id
        tenant = Access.tenant(tenant_id)
        async with self._database.transaction(tenant) as connection:
            place = await schedule.archive_place(connection, tenant_id, key_id)
        if place is None:
            return True
        skip = place.skip
        if place.was_read_whole and place.skip < place.rows:
            # The order of the pages is not documented: news may be at either end.
            if await self._import_from(account, ask, keep_on, place.skip, until_known=True) is None:
                return False
            skip = place.rows
        rows = await self._import_from(account, ask, keep_on, skip, until_known=place.was_read_whole)
        if rows is None:
            return False
        async with self._database.transaction(tenant) as connection:
            await schedule.note_archive_read(
                connection,
                tenant_id,
                key_id,
                whole=not place.was_read_whole,
                rows=rows,
                next_in=again_seconds,
            )
        return True

    async def _import_from(
        self,
        account: WatchedAccount,
        ask: Ask,
        keep_on: Callable[[], Awaitable[bool]],
        skip: int,
        *,
        until_known: bool,
    ) -> int | None:
        """Import the archive from a row on; returns how many rows lie before the place where this ended, or
        None if the look had to end first.

        Args:
            until_known: end at the first page of which everything is known.
        """
        tenant_id, key_id = account.tenant_id, account.upstream_key_id
        async for page in self._pages(ask, skip):
            skip += page.size
            async with self._database.transaction(Access.tenant(tenant_id)) as connection:
                await schedule.lock(connection, tenant_id, key_id)
                news = await importing.import_archived(connection, background(tenant_id), key_id, page.rows)
                await schedule.note_archive(connection, tenant_id, key_id, skip=skip)
            if until_known and not news:
                break
            if not await keep_on():
                return None
        return skip

    async def close(self, account: WatchedAccount, gone: Sequence[Gone], search: Search, ask: Ask) -> None:
        """Close orders that are gone and whose end isn't known to have passed, searching the archive for it.

        Args:
            search: where the search goes on, and what it found so far.

        Raises:
            NotYet: the background has to wait for its turn; the next look goes on.
            RentgateError: the archive can't be read on now; the next look goes on.
        """
        sought = {order.order_id for order in gone}
        search.go_on(sought)
        if not sought <= search.ends.keys():
            async for page in self._pages(ask, search.skip):
                search.skip += page.size
                search.ends |= {entry.order_id: entry.ended_at for entry in page if entry.order_id in sought}
                if sought <= search.ends.keys():
                    break
        await self.close_by(account, gone, search.ends)
        search.go_on(set())

    async def close_by(
        self, account: WatchedAccount, gone: Sequence[Gone], ends: Mapping[str, datetime | None]
    ) -> None:
        """Close orders that are gone, by the archive's ends as far as they have to be known."""
        tenant_id, key_id = account.tenant_id, account.upstream_key_id
        if gone:
            async with self._database.transaction(Access.tenant(tenant_id)) as connection:
                await schedule.lock(connection, tenant_id, key_id)
                await intake.close(connection, background(tenant_id), key_id, gone, ends)

    async def _pages(self, ask: Ask, skip: int) -> AsyncIterator[Listing[HistoryEntry]]:
        """The archive's pages. One that brings nothing new is the last: the upstream may give fewer rows than
        asked for, and may ignore what is asked for.
        """
        met: set[str] = set()
        for _ in range(MOST_PAGES):
            page = await ask(
                HISTORY,
                lambda client, api_key, skip=skip: client.history(api_key, skip=skip, take=PAGE),  # type: ignore[misc]
            )
            ids = {entry.order_id for entry in page}
            if ids <= met:
                return
            yield page
            met |= ids
            skip += page.size
