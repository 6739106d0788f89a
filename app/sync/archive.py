"""Reading an account's archive page by page: for imports, and for the ends of orders that are gone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from app.accounts import schedule
from app.accounts.calls import WatchedAccount
from app.audit.caller import background
from app.database import Access, Database
from app.rentals import importing, intake
from app.rentals.intake import Gone
from app.sync.pages import Ask, Walk, pages
from app.upstream.rows import Listing
from app.upstream.wire import HistoryEntry

AGAIN_SECONDS = 86_400.0
"""After how long an archive is looked at again for what was bought and closed elsewhere in between."""


@dataclass(slots=True)
class Search:
    """How far an archive was searched for the ends of orders that are gone, and what was found of them.

    Attributes:
        ends: the orders that were found with a readable end.
        endless: those that were found without.
    """

    sought: set[str] = field(default_factory=set)
    walk: Walk = field(default_factory=Walk)
    ends: dict[str, datetime] = field(default_factory=dict)
    endless: set[str] = field(default_factory=set)

    def go_on(self, sought: set[str]) -> None:
        """Go on with the search, or begin it anew if it was for others so far."""
        if not sought or not sought <= self.sought:
            self.sought, self.walk, self.ends, self.endless = sought, Walk(), {}, set()

    def take(self, page: Listing[HistoryEntry]) -> None:
        """Note what a page shows of the orders."""
        for entry in page:
            if entry.order_id in self.sought:
                if entry.ended_at is None:
                    self.endless.add(entry.order_id)
                else:
                    self.ends[entry.order_id] = entry.ended_at

    def tells(self, order_id: str) -> bool:
        """Whether the archive, read to its end, tells how an order ended: by its end, or by not having it.
        Rows that could not be read may be the order's.
        """
        if order_id in self.ends:
            return True
        return self.walk.complete and order_id not in self.endless


class Archive:
    """The archives of all accounts, one account a call."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def import_news(
        self,
        account: WatchedAccount,
        ask: Ask,
        keep_on: Callable[[], Awaitable[bool]],
        walk: Walk,
        *,
        again_seconds: Callable[[], float],
    ) -> bool:
        """Import what an archive shows that was never seen here, if it is due, from where it was left off.
        Once it was read whole, it is read from both its ends, each on until everything on a page is known. It
        was not while orders may be in it that could not be read.

        Args:
            keep_on: asked before each further page; false when this look has to end.
            walk: what is remembered of the looks before; a new one after this is done.
            again_seconds: after how long it is due again; asked once it was read.

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
        walk.complete &= not place.incomplete
        starts = [place.skip]
        if place.was_read_whole and place.skip < place.rows:
            # The order of the pages is not documented: news may be at either end.
            starts.append(place.rows)
        for start in starts:
            walk.go_on_at(start)
            if not await self._import_from(account, ask, keep_on, walk, place):
                return False
        async with self._database.transaction(tenant) as connection:
            return await schedule.note_archive_read(
                connection,
                tenant_id,
                key_id,
                place,
                whole=walk.complete and not place.was_read_whole,
                rows=walk.skip,
                next_in=again_seconds(),
            )

    async def _import_from(
        self,
        account: WatchedAccount,
        ask: Ask,
        keep_on: Callable[[], Awaitable[bool]],
        walk: Walk,
        place: schedule.ArchivePlace,
    ) -> bool:
        """Import the archive from where a walk stands; False if the look had to end first, or if the archive
        was asked for anew meanwhile. One that was read whole lately is read up to the first page of which
        everything is known.
        """
        tenant_id, key_id = account.tenant_id, account.upstream_key_id
        async for page in pages(ask, walk):
            async with self._database.transaction(Access.tenant(tenant_id)) as connection:
                await schedule.lock(connection, tenant_id, key_id)
                found = await importing.import_archived(connection, background(tenant_id), key_id, page.rows)
                walk.complete &= not found.undecided
                if not await schedule.note_archive(
                    connection, tenant_id, key_id, place, skip=walk.skip, complete=walk.complete
                ):
                    return False
            if place.was_read_whole and page.complete and not found.imported:
                break
            if not await keep_on():
                return False
        return True

    async def close(
        self, account: WatchedAccount, gone: Sequence[Gone], search: Search, ask: Ask
    ) -> Sequence[Gone]:
        """Close orders that are gone and whose end isn't known to have passed, searching the archive for it.

        Args:
            search: where the search goes on, and what it found so far.

        Returns:
            those that are not closed, since the archive can't be read where it may tell of them.

        Raises:
            NotYet: the background has to wait for its turn; the next look goes on.
            RentgateError: the archive can't be read on now; the next look goes on.
        """
        sought = {order.order_id for order in gone}
        search.go_on(sought)
        if not sought <= search.ends.keys():
            async for page in pages(ask, search.walk):
                search.take(page)
                if sought <= search.ends.keys():
                    break
        await self.close_by(account, [order for order in gone if search.tells(order.order_id)], search.ends)
        held = [order for order in gone if not search.tells(order.order_id)]
        search.go_on(set())
        return held

    async def close_by(
        self, account: WatchedAccount, gone: Sequence[Gone], ends: Mapping[str, datetime]
    ) -> None:
        """Close orders that are gone, by the archive's ends as far as they have to be known."""
        tenant_id, key_id = account.tenant_id, account.upstream_key_id
        if gone:
            async with self._database.transaction(Access.tenant(tenant_id)) as connection:
                await schedule.lock(connection, tenant_id, key_id)
                await intake.close(connection, background(tenant_id), key_id, gone, ends)
