"""What a worker has: its lease, and the accounts that are assigned to it for as long as that lasts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from app.accounts import leases, refresh_requests
from app.accounts.leases import PollStatus
from app.accounts.refresh_requests import RefreshRequest
from app.database import Access, Database, new_id
from app.errors import RentgateError
from app.rentals import message_reads
from app.sync.watch import Watch

LEASE_SECONDS, HEARTBEAT_SECONDS = 4.0, 1.0
"""How long a worker lives without a word, and how often it says one."""

MARGIN_SECONDS = 1.0
"""So much before its lease ends a worker stops making calls."""

log = structlog.get_logger(__name__)

LONGEST_DELAY = 5.0
"""Seconds that a requested poll is put off at most, where the list failed within the interval."""


@dataclass(slots=True)
class Lease:
    """A worker's life; moments are readings of `time.monotonic()`."""

    holder: UUID = field(default_factory=new_id)
    ends_at: float = 0.0
    clock: datetime | None = None
    clock_read_at: float = 0.0

    def renew(self, clock: datetime, asked_at: float, seconds: float = LEASE_SECONDS) -> None:
        """The database has heard at `clock` what it was told after `asked_at`: the lease lasts so long."""
        self.clock, self.clock_read_at = clock, time.monotonic()
        self.ends_at = asked_at + seconds - MARGIN_SECONDS

    @property
    def holds(self) -> bool:
        """Whether calls may be made."""
        return time.monotonic() < self.ends_at

    def now(self) -> datetime | None:
        """The database's time, or a moment before: it was read before its answer came."""
        if self.clock is None:
            return None
        return self.clock + timedelta(seconds=time.monotonic() - self.clock_read_at)


@dataclass(slots=True)
class AssignedAccount:
    """An account that this worker has.

    Attributes:
        next_at: when it is polled next, by `time.monotonic()`.
        began_at: when the last poll began.
        requested: callers wait for a poll.
        leaving: it is to be given back.
        changed: something of this was set by others, so that who sleeps has to look at it again.
    """

    watch: Watch
    next_at: float
    began_at: float = 0.0
    requested: bool = False
    leaving: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def poll_at(self, interval: float) -> float:
        """When to poll: at once for callers, but not sooner than an interval after a list that failed."""
        if not self.requested:
            return self.next_at
        failed_at = self.watch.list_asked_at if self.watch.list_failed else 0.0
        return min(self.next_at, failed_at + min(interval, LONGEST_DELAY))

    async def until_due(self, interval: float) -> None:
        """Sleep until the next poll, or until the account is to be given back."""
        while not self.leaving and (left := self.poll_at(interval) - time.monotonic()) > 0:
            try:
                async with asyncio.timeout(left):
                    await self.changed.wait()
            except TimeoutError:
                continue
            self.changed.clear()

    def leave(self) -> None:
        """Have the account given back."""
        self.leaving = True
        self.changed.set()

    def status(self) -> PollStatus:
        """How the account stands, for others to see."""
        now = time.monotonic()
        seen_at, account = self.watch.seen_at, self.watch.account
        seen_ago = None if seen_at is None else now - seen_at
        return PollStatus(account.tenant_id, account.upstream_key_id, seen_ago, max(0.0, self.next_at - now))


class Requests:
    """The callers' requests that one poll of an account serves: those that came before it began."""

    def __init__(self, database: Database, account: AssignedAccount, lease: Lease, interval: float) -> None:
        self._database = database
        self._assigned = account
        self._lease = lease
        self._since = time.monotonic() - interval
        self.pending: Sequence[RefreshRequest] = ()

    async def load(self) -> None:
        """Read them; while the database is away there are none, and their callers ask again."""
        account = self._assigned.watch.account
        try:
            async with self._database.transaction(Access.tenant(account.tenant_id)) as connection:
                self.pending = await refresh_requests.pending(
                    connection, account.tenant_id, account.upstream_key_id
                )
        except RentgateError as away:
            log.info("refresh.not_read", code=away.code)

    @property
    def since(self) -> float:
        """From when on what was read counts for them; a reading of `time.monotonic()`."""
        return self._since

    async def answer(self, error: RentgateError | None = None) -> None:
        """Answer those whose rentals were read, or all that the poll's error keeps from being read. Those of
        the others wait for the next poll, which comes at once.
        """
        answers = {r.id: answer for r in self.pending for answer in self._answers(r.rental_id, error)}
        if answers:
            watch, holder = self._assigned.watch, self._lease.holder
            reads = watch.unwritten_reads()
            async with self._database.transaction(Access.tenant(watch.account.tenant_id)) as connection:
                await leases.note(connection, holder, [self._assigned.status()])
                await message_reads.note_messages_read(connection, reads)
                await refresh_requests.answer(connection, watch.account.tenant_id, answers)
            watch.read_lately -= {read.upstream_order_id for read in reads}
        self.pending = [request for request in self.pending if request.id not in answers]
        self._assigned.requested |= bool(self.pending)

    async def refuse(self, error: RentgateError) -> None:
        """Answer with the poll's error where that kept rentals from being read, or try to."""
        try:
            await self.answer(error)
        except RentgateError as away:
            log.info("refresh.not_answered", code=away.code)

    def _answers(self, rental_id: UUID, error: RentgateError | None) -> list[RentgateError | None]:
        """The answer to a request for a rental, if there is one by now. A list that can't be read is no
        error where messages can be.
        """
        watch = self._assigned.watch
        if error is not None and not watch.listed:
            return [error]
        if watch.was_tried(rental_id, self._since):
            return [watch.messages_error(rental_id)]
        return [] if error is None else [error]
