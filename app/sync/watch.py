"""What is remembered of an account from look to look, so that one that finds nothing new needs no database.

It is worth no more than the hold on the account: who loses that forgets it, and who begins goes by the
database.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from app.accounts.calls import WatchedAccount
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

    def is_due(self, now: float) -> bool:
        """Whether it is time to read them."""
        if self.has_news or self.read_at is None or self.wanted_until > now:
            return True
        return now - self.read_at > (ACTIVE_ROUND if self._is_active else IDLE_ROUND)

    def rank(self, now: float) -> tuple[bool, bool, float]:
        """The smaller, the sooner."""
        waits = self.has_news or self.wanted_until > now
        return not waits, not self._is_active, self.read_at or 0.0

    @property
    def _is_active(self) -> bool:
        return self.number_state == NumberState.ACTIVE


@dataclass(slots=True)
class Watch:
    """An account that somebody looks at; moments are readings of `time.monotonic()`.

    Attributes:
        failures: looks that failed in a row.
        listing: the digest of the list of orders that was taken in last.
        undecided: that list left something to decide, so that the same one has to be taken in again.
        unsettled: operations wait for what the list shows.
        busy: numbers are activating or active, somebody waits, or operations do.
        archive_due: the archive has to be read.
        stale: something has changed that this does not know of.
        seen_at: when the list was last read.
        compared_at: when it was last compared with the database.
    """

    account: WatchedAccount
    failures: int = 0
    listing: bytes | None = None
    undecided: bool = True
    unsettled: bool = False
    busy: bool = True
    archive_due: bool = False
    stale: bool = True
    seen_at: float | None = None
    compared_at: float = 0.0
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

    def read_next(self, readings: Iterable[Reading]) -> None:
        """Go on with these orders; of those that were known, what is remembered of their messages stays."""
        known = self.readings
        self.readings = {reading.order_id: reading for reading in readings}
        for order_id, reading in self.readings.items():
            if (before := known.get(order_id)) is not None:
                reading.digest = before.digest
                reading.read_at = max(reading.read_at or 0.0, before.read_at or 0.0) or None

    def due(self, wanted: UUID | None) -> list[Reading]:
        """The orders whose messages are to be read now, those of the wanted rental first."""
        now = time.monotonic()
        due = [r for r in self.readings.values() if r.rental_id == wanted or r.is_due(now)]
        return sorted(due, key=lambda r: (r.rental_id != wanted, *r.rank(now)))

    def note_read(self, reading: Reading, digest: bytes) -> None:
        """An order's messages were read, and taken in if they are new."""
        reading.read_at, reading.digest = time.monotonic(), digest
        self.read_lately.add(reading.order_id)

    def unwritten_reads(self) -> Mapping[str, float]:
        """The seconds since the messages of orders were read, of which the database doesn't know."""
        now = time.monotonic()
        noted = [r for id in self.read_lately if (r := self.readings.get(id)) and r.read_at]
        return {reading.order_id: now - reading.read_at for reading in noted if reading.read_at}
