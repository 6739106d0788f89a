"""The pages of an account's archive, and where they end: the upstream may ignore what is asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from app.upstream.client import UpstreamClient
from app.upstream.rows import Listing
from app.upstream.wire import HistoryEntry

HISTORY = "get_rent_history"

PAGE = 100
MOST_PAGES = 1000
"""An archive that goes on for longer has no end: the upstream ignores what is asked for."""

MOST_UNREADABLE = 20
"""So many pages in a row that can't be read whole and show no new order end an archive. They may all be the
same one, with a value that differs in each answer.
"""


class Ask(Protocol):
    """Makes a call to one account's upstream, in somebody's name and in his turn."""

    def __call__(
        self, method: str, call: Callable[[UpstreamClient, str], Awaitable[Listing[HistoryEntry]]], /
    ) -> Awaitable[Listing[HistoryEntry]]:
        """The answer to a call."""


@dataclass(slots=True)
class Walk:
    """How far an archive was read, page by page.

    Attributes:
        skip: rows that are read already.
        complete: whether each row so far could be read.
        met: the orders that were shown.
        unreadable: the digests of the pages of which not every row could be read.
        in_vain: how many of these in a row showed no new order.
    """

    skip: int = 0
    complete: bool = True
    met: set[str] = field(default_factory=set)
    unreadable: set[bytes] = field(default_factory=set)
    in_vain: int = 0

    def go_on_at(self, skip: int) -> None:
        """Go on at a row: where this stands it goes on, anywhere else it begins anew."""
        if skip != self.skip:
            self.skip, self.in_vain = skip, 0
            self.met.clear()
            self.unreadable.clear()

    def take(self, page: Listing[HistoryEntry]) -> bool:
        """Go on behind a page; False if the archive ended before it: the page is empty, or one that was met.

        Orders tell whether a page was met if each of its rows can be read. Else the rows' contents do: an
        order behind them, which was never met, may not be missed.
        """
        if not page.size:
            return False
        shown = {entry.order_id for entry in page}
        has_news = not shown <= self.met
        self.complete &= page.complete
        if not has_news and (page.complete or page.digest in self.unreadable):
            return False
        self.in_vain = 0 if has_news else self.in_vain + 1
        if self.in_vain > MOST_UNREADABLE:
            return False
        self.met |= shown
        if not page.complete:
            self.unreadable.add(page.digest)
        self.skip += page.size
        return True


async def pages(ask: Ask, walk: Walk) -> AsyncIterator[Listing[HistoryEntry]]:
    """The archive's pages from where a walk stands, which goes on with them.

    Raises:
        NotYet: the background has to wait for its turn.
        RentgateError: the archive can't be read on now.
    """
    for _ in range(MOST_PAGES):
        page = await ask(
            HISTORY,
            lambda client, api_key: client.history(api_key, skip=walk.skip, take=PAGE),
        )
        if not walk.take(page):
            return
        yield page
