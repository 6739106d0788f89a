"""What is remembered of an account from look to look, so that one that finds nothing new needs no database.

It is worth no more than the hold on the account: who loses that forgets it, and who begins goes by the
database.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from app.accounts.calls import WatchedAccount
from app.accounts.health import Health
from app.errors import RentgateError
from app.rentals.intake import Gone
from app.rentals.message_reads import MessagesRead
from app.sync.archive import Search
from app.sync.pages import Walk
from app.upstream.wire import NumberState

BY_DATABASE_SECONDS = 60.0
"""After so long a look goes by the database though nothing is new: what was missed is mended by then."""

ACTIVE_ROUND, IDLE_ROUND = 20.0, 600.0
"""Seconds after which an order's messages are read though its flag is silent: it can't be trusted."""


@dataclass(slots=True)
class Reading:
    """How the messages of one order are read; moments are readings of `time.monotonic()`.

    Attributes:
        has_news: what the order's flag says.
        read_at: when they were last read; None if never.
        tried_at: when none or not all of them could be read the last time; None if all were read since.
        failed: none of them could be read the last time, and the database knows.
        error: why none of them could be read the last time.
        troubled: something in the answers could not be read, and they have not been clean for long since.
        wanted_until: until when somebody waits for one.
        digest: of the answer that was taken in last.
    """

    order_id: str
    rental_id: UUID
    number_state: str
    has_news: bool
    read_at: float | None
    wanted_until: float
    digest: bytes | None = None
    tried_at: float | None = None
    failed: bool = False
    error: RentgateError | None = None
    troubled: bool = False

    def is_due(self, now: float) -> bool:
        """Whether it is time to read them."""
        if self.presses(now):
            return True
        if self.tried_at is not None:
            return now - self.tried_at > ACTIVE_ROUND
        if self.read_at is None:
            return True
        return now - self.read_at > (ACTIVE_ROUND if self._is_active or self.troubled else IDLE_ROUND)

    def presses(self, now: float) -> bool:
        """Whether there is one, by the order's flag, or somebody waits for it. What could not be read presses
        nobody but him.
        """
        return self.wanted_until > now or (self.has_news and self.tried_at is None)

    def was_tried(self, since: float) -> bool:
        """Whether an answer was taken in since, whether it could be read or not."""
        return max(self.read_at or 0.0, self.tried_at or 0.0) >= since

    def rank(self, now: float) -> tuple[bool, bool, float]:
        """The smaller, the sooner."""
        return not self.presses(now), not self._is_active, max(self.read_at or 0.0, self.tried_at or 0.0)

    @property
    def _is_active(self) -> bool:
        return self.number_state == NumberState.ACTIVE


@dataclass(slots=True)
class Watch:
    """An account that somebody looks at; moments are readings of `time.monotonic()`.

    Attributes:
        failures: looks that failed in a row.
        list_asked_at: when the list was asked for last, whatever came of it.
        list_retry_at: when a list that can't be read is asked for again.
        listing: the digest of the list of orders that was taken in last.
        undecided: that list left something to decide, so that the same one has to be taken in again.
        listed: the last look, or this one, has read the list.
        unsettled: operations wait for what the list shows.
        busy: numbers are activating or active, somebody waits, or operations do.
        archive_due: the archive has to be read.
        archive_retry_at: when an archive that can't be read is asked for again.
        archive_failures: how often in a row it could not be read.
        gone: orders that have been gone from the list for long enough to be closed.
        gone_since: since when each of them has been.
        search: how far the archive was searched for their ends.
        importing: how far the archive was read for what is new in it.
        archive_next: the archive comes before the slow round of messages; they take turns.
        stale: something has changed that this does not know of.
        seen_at: when the list was last read.
        compared_at: when it was last compared with the database.
        health: what of its answers can't be read.
        odd: the methods and subjects of which answers of this look could not be read whole, as far as noted.
    """

    account: WatchedAccount
    failures: int = 0
    list_asked_at: float = 0.0
    list_retry_at: float = 0.0
    listing: bytes | None = None
    undecided: bool = True
    listed: bool = False
    unsettled: bool = False
    busy: bool = True
    archive_due: bool = False
    archive_retry_at: float = 0.0
    archive_failures: int = 0
    gone: Sequence[Gone] = ()
    gone_since: dict[str, float] = field(default_factory=dict)
    search: Search = field(default_factory=Search)
    importing: Walk = field(default_factory=Walk)
    archive_next: bool = False
    stale: bool = True
    seen_at: float | None = None
    compared_at: float = 0.0
    health: Health = field(default_factory=Health)
    odd: set[tuple[str, str]] = field(default_factory=set)
    readings: dict[str, Reading] = field(default_factory=dict)
    read_lately: set[str] = field(default_factory=set)

    @property
    def needs_database(self) -> bool:
        """Whether the next look has to go by the database, whatever the list shows."""
        return (
            self.stale
            or self.undecided
            or self.unsettled
            or time.monotonic() - self.compared_at > BY_DATABASE_SECONDS
        )

    @property
    def list_due(self) -> bool:
        """Whether the list may be asked for: one that can't be read is put off."""
        return time.monotonic() >= self.list_retry_at

    @property
    def list_failed(self) -> bool:
        """Whether the last list could not be had; one that was answered but can't be read is put off."""
        return not self.listed and self.list_due

    def read_next(self, readings: Iterable[Reading]) -> None:
        """Go on with these orders; of those that were known, what is remembered of their messages stays."""
        known = self.readings
        self.readings = {reading.order_id: reading for reading in readings}
        for order_id, reading in self.readings.items():
            reading.troubled = self.health.has("sms", order_id)
            if (before := known.get(order_id)) is not None:
                reading.digest, reading.tried_at, reading.error = before.digest, before.tried_at, before.error
                reading.read_at = max(reading.read_at or 0.0, before.read_at or 0.0) or None

    def due(self, wanted: Collection[UUID], since: float) -> tuple[list[Reading], list[Reading]]:
        """The orders whose messages are to be read now: those that somebody waits for, or the list tells of,
        and those of the slow round. The wanted rentals' come first, unless they were read since.
        """
        now = time.monotonic()
        asked_for = {
            r.order_id for r in self.readings.values() if r.rental_id in wanted and not r.was_tried(since)
        }
        due = [r for r in self.readings.values() if r.order_id in asked_for or r.is_due(now)]
        due.sort(key=lambda r: (r.order_id not in asked_for, *r.rank(now)))
        pressing = [r for r in due if r.order_id in asked_for or r.presses(now)]
        return pressing, due[len(pressing) :]

    def was_tried(self, rental_id: UUID, since: float) -> bool:
        """Whether an answer of each of a rental's orders was taken in since."""
        return all(r.was_tried(since) for r in self.readings.values() if r.rental_id == rental_id)

    def messages_error(self, rental_id: UUID) -> RentgateError | None:
        """Why none of a rental's messages could be read the last time; None if some could."""
        errors = [r.error for r in self.readings.values() if r.rental_id == rental_id]
        return errors[0] if all(errors) and errors else None

    def due_within(self, seconds: float) -> int:
        """How many orders' messages are to be read in the next seconds, if no list tells of further ones."""
        then = time.monotonic() + seconds
        return sum(reading.is_due(then) for reading in self.readings.values())

    def note_read(self, reading: Reading, digest: bytes, *, complete: bool) -> None:
        """An order's messages were read, all of them or those that can be, and taken in if they are new."""
        if complete:
            reading.read_at, reading.tried_at, reading.digest = time.monotonic(), None, digest
        else:
            reading.tried_at, reading.digest = time.monotonic(), None
        reading.error = None
        self.read_lately.add(reading.order_id)

    def note_unreadable(self, reading: Reading, error: RentgateError) -> None:
        """None of an order's messages could be read."""
        reading.tried_at, reading.error = time.monotonic(), error
        self.read_lately.discard(reading.order_id)  # the failure outweighs what was read before

    def note_gone(self, gone: Sequence[Gone]) -> None:
        """These orders have been gone from the list for long enough to be closed, and no others."""
        now, since = time.monotonic(), self.gone_since
        self.gone_since = {order.order_id: since.get(order.order_id, now) for order in gone}
        self.gone = gone

    def gone_for(self, seconds: float) -> list[Gone]:
        """Those of the orders that are gone which have been for longer than that."""
        then = time.monotonic() - seconds
        return [order for order in self.gone if self.gone_since[order.order_id] < then]

    def unwritten_reads(self) -> list[MessagesRead]:
        """Readings of orders' messages of which the database doesn't know."""
        now, account = time.monotonic(), self.account
        return [
            MessagesRead(
                account.tenant_id,
                account.upstream_key_id,
                order_id,
                now - (reading.tried_at or reading.read_at or now),
                complete=reading.tried_at is None,
            )
            for order_id in self.read_lately
            if (reading := self.readings.get(order_id)) is not None
        ]
