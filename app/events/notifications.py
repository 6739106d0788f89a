"""Waking who waits: every process listens to the database, and asks it only when something has happened."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

import psycopg
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database.at_commit import DeferredWrite, LockOrder, at_commit

CHANNEL = "rentgate"
"""What is announced on: the ids of what there is news of, be it a tenant, a rental or an upstream key."""

RECONNECT_SECONDS = 1.0
RECENT = 1_000
"""Changes that are remembered, for who was reading while they were announced."""

WOKEN_AT_ONCE = 8
"""How many of those who were woken ask the database at a time; it is for others, too."""

CHECK_SECONDS = 15.0
"""After so long without news the connection is asked whether it lives."""

log = structlog.get_logger(__name__)


TOLD = UUID(int=1)
"""The topic of workers: something stands in the row of an account that its worker has to read."""

QUEUED = UUID(int=2)
"""The topic of who delivers webhooks: there are further deliveries."""

_NOTIFY = DeferredWrite(
    LockOrder.NEWS,
    f"select pg_notify('{CHANNEL}', topic) from unnest(%(topics)s::text[]) topic",  # noqa: S608 - our own words
    gathers=True,
)
"""One notification for each topic, however often a transaction names it: Postgres drops what is equal."""


def notify(connection: AsyncConnection, *topics: UUID) -> None:
    """Announce with the commit that there is news of tenants, rentals, upstream keys or TOLD. Whatever
    changes a rental, one of its orders or a message does so in the same transaction, or emits an event of it.
    """
    at_commit(connection, _NOTIFY, {"topics": [str(topic) for topic in topics]})


class Subscription:
    """Somebody who waits for news of a tenant or of a rental; made before looking, so that none is missed."""

    def __init__(self, notifications: Notifications) -> None:
        self._notifications = notifications
        self._news = asyncio.Event()

    def wake(self) -> None:
        """Have it look again."""
        self._news.set()

    async def wait(self, seconds: float) -> None:
        """Wait until there may be something new, for so long at most.

        While the process can't listen, this returns about once a second, so that its user asks by itself.
        """
        longest = seconds if self._notifications.listening else min(seconds, RECONNECT_SECONDS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(longest):
                await self._news.wait()
        self._news.clear()


class Notifications:
    """Listens on a connection of its own, and wakes those of the process who wait."""

    def __init__(self, url: str) -> None:
        """Listen to the database at a `postgresql://` URL, which must not go through a pooler."""
        self._url = url
        self._waiting: dict[UUID, set[Subscription]] = defaultdict(set)
        self._told: list[Callable[[UUID | None], None]] = []
        self._recent: deque[UUID | None] = deque(maxlen=RECENT)
        self.some_at_a_time = asyncio.Semaphore(WOKEN_AT_ONCE)
        """For who asks the database because he was woken: a thousand at once would find no connection."""
        self._task: asyncio.Task[None] | None = None
        self.changes = 0
        self.listening = False
        self.closing = False

    def start(self) -> None:
        """Begin to listen, in the background."""
        self._task = asyncio.ensure_future(self._run())

    async def aclose(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def tell(self, listener: Callable[[UUID | None], None]) -> None:
        """Have somebody told of every topic that there is news of; None means that there may be of any."""
        self._told.append(listener)

    def tell_no_more(self, listener: Callable[[UUID | None], None]) -> None:
        """Leave somebody alone who was told."""
        self._told.remove(listener)

    def changed_since(self, changes: int, topic: UUID) -> bool:
        """Whether there was, or may have been, news of a topic since the count of changes was read."""
        missed = self.changes - changes
        if missed > len(self._recent):
            return True
        latest = itertools.islice(reversed(self._recent), missed)
        return any(changed is None or changed == topic for changed in latest)

    def close_waiting(self) -> None:
        """Send everybody home who waits: the process stops."""
        self.closing = True
        self._wake_all()

    @contextmanager
    def subscription(self, topic: UUID) -> Iterator[Subscription]:
        """News of a tenant, or of a rental, while the block lasts."""
        subscription = Subscription(self)
        self._waiting[topic].add(subscription)
        try:
            yield subscription
        finally:
            self._waiting[topic].discard(subscription)
            if not self._waiting[topic]:
                del self._waiting[topic]

    async def _run(self) -> None:
        while True:
            try:
                await self._listen()
            except (psycopg.Error, OSError):
                log.warning("notifications.lost")
            self.listening = False
            self._wake_all()
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _listen(self) -> None:
        connection = await psycopg.AsyncConnection.connect(self._url, autocommit=True, connect_timeout=3)
        async with connection:
            await connection.execute(f"listen {CHANNEL}")
            self.listening = True
            self._wake_all()  # what was announced before is theirs to look for
            while True:
                async for notice in connection.notifies(timeout=CHECK_SECONDS):
                    self._wake(notice.payload)
                async with asyncio.timeout(CHECK_SECONDS):
                    await connection.execute("select 1")

    def _wake(self, payload: str) -> None:
        for text in payload.split():
            topic = UUID(text)
            self.note(topic)
            for subscription in self._waiting.get(topic, ()):
                subscription.wake()

    def _wake_all(self) -> None:
        self.note(None)
        for subscriptions in self._waiting.values():
            for subscription in subscriptions:
                subscription.wake()

    def note(self, *topics: UUID | None) -> None:
        """There is news of topics, or with None perhaps of any. Who changes something, or shows it as just
        read, says so itself: its own process has to know before the database's announcement is back.
        """
        for topic in topics:
            self.changes += 1
            self._recent.append(topic)
            for listener in self._told:
                listener(topic)
