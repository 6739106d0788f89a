"""A worker's accounts: taken when nobody has them, looked at when they are due, given up when others may.

Each account has a task of its own, which sleeps until its next look. What binds a worker to the database is
one line in it, renewed every HEARTBEAT_SECONDS; a worker that could not renew it looks at nothing more.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from uuid import UUID

import structlog

from app.accounts import leases
from app.accounts.calls import WatchedAccount
from app.accounts.pace import NotYet, Pace
from app.audit import repository as audit
from app.audit.repository import Uses
from app.database import WORKER, Access, Database
from app.errors import InternalError, NotFound, RentgateError, UpstreamKeyRejected
from app.events.notifications import TOLD, Notifications
from app.rentals import message_reads
from app.sync.assignments import HEARTBEAT_SECONDS, LEASE_SECONDS, AssignedAccount, Lease, Requests
from app.sync.failures import note_failure
from app.sync.looks import Looker, Lost
from app.sync.watch import Watch
from app.telemetry import Metrics

TAKE_SECONDS = 0.5
NOTE_SECONDS = 5.0
"""How often it is noted how accounts stand and which calls were made, of all of them in one statement."""

TAKEN_AT_ONCE = 200
LOOKS_AT_ONCE = 100
GIVEN_BACK_AT_ONCE = 20
RESERVED_AT_ONCE = 100

log = structlog.get_logger(__name__)


class Watching:
    """The accounts of one worker."""

    def __init__(
        self, database: Database, looker: Looker, pace: Pace, notifications: Notifications, metrics: Metrics
    ) -> None:
        self._database = database
        self._pace = pace
        self._looker = looker
        self._notifications = notifications
        self._metrics = metrics
        self._lease = Lease()
        self._registered = False
        self._share: int | None = None
        self._held: dict[UUID, AssignedAccount] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._looks = asyncio.Semaphore(LOOKS_AT_ONCE)
        self._returns = asyncio.Semaphore(GIVEN_BACK_AT_ONCE)
        self._news = asyncio.Event()
        self._beat_at = self._note_at = 0.0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hears what is announced of accounts meanwhile."""
        self._notifications.tell(self._hear)
        try:
            yield
        finally:
            self._notifications.tell_no_more(self._hear)

    async def step(self) -> None:
        """Do what is due of a worker's duties, and sleep until there is news, or for a moment.

        They are done one after the other, so that none takes for stray what another just took.

        Raises:
            RentgateError: the database can't be asked.
        """
        now = time.monotonic()
        if now >= self._beat_at:
            await self._beat()
            self._beat_at = now + HEARTBEAT_SECONDS
        if not self._registered or self._share is None:
            return
        await self._take(self._share)
        if now >= self._note_at:
            self._note_at = now + NOTE_SECONDS
            await self._note()
            await self._reserve()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TAKE_SECONDS):
                await self._news.wait()

    async def _beat(self) -> None:
        """Renew this worker's lease, reap others whose lease has ended, give up what exceeds its share."""
        if self._registered and not self._lease.holds:
            self._lose()
        asked_at = time.monotonic()
        async with self._database.transaction(WORKER) as connection:
            say = leases.heartbeat if self._registered else leases.register
            clock = await say(connection, self._lease.holder, LEASE_SECONDS)
            if clock is not None:
                await leases.reap(connection)
                share = await leases.fair_share(connection)
        if clock is None:
            self._lose()
            return
        self._registered, self._share = True, share
        self._lease.renew(clock, asked_at)
        staying = [held for held in self._held.values() if not held.leaving]
        for held in sorted(staying, key=lambda held: -held.next_at)[: max(0, len(staying) - share)]:
            held.leave()

    async def _take(self, share: int) -> None:
        """Hear what is told of accounts, and take those that nobody has."""
        self._news.clear()
        async with self._database.transaction(WORKER) as connection:
            notices = await leases.notices(connection, self._lease.holder)
            if len(self._held) >= share:
                share = await leases.fair_share(connection)  # there may be new accounts since
            room = min(TAKEN_AT_ONCE, share - len(self._held)) if self._lease.holds else 0
            taken = await leases.take(connection, self._lease.holder, room) if room > 0 else []
        now = time.monotonic()
        for one in notices:
            if (held := self._held.get(one.upstream_key_id)) is None:
                continue
            held.requested |= one.requested
            held.watch.stale = True
            sooner = now if one.at_once else max(now, held.began_at + self._looker.intervals.busy)
            held.next_at = min(held.next_at, sooner)
            held.changed.set()
        for account in taken:
            watch = Watch(WatchedAccount(account.tenant_id, account.upstream_key_id), account.failures)
            held = AssignedAccount(watch, now - max(0.0, account.late_seconds), requested=account.requested)
            self._held[account.upstream_key_id] = held
            task = asyncio.ensure_future(self._attend(held, self._lease))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if taken:
            self._news.set()  # there may be more

    async def _note(self) -> None:
        """Note how the accounts stand, and which calls were made for them."""
        seen = [held for held in self._held.values() if held.watch.account.uses]
        uses = self._uses(seen)
        reads = [read for held in seen for read in held.watch.unwritten_reads()]
        try:
            async with self._database.transaction(WORKER) as connection:
                await leases.be_brief(connection)  # the heart beats in the same loop
                await leases.note(connection, self._lease.holder, [held.status() for held in seen])
                await leases.release_orphans(connection, self._lease.holder, self._held)
                await audit.count_background_calls(connection, uses)
                await message_reads.note_messages_read(connection, reads)
        except BaseException:
            self._restore(uses)
            raise
        for read in reads:
            if (held := self._held.get(read.upstream_key_id)) is not None:
                held.watch.read_lately.discard(read.upstream_order_id)

    async def _reserve(self) -> None:
        """Reserve turns for the looks until this is done next, some accounts at a time: their buckets are
        locked for that long.
        """
        wanted = [
            (key_id, calls)
            for key_id, held in self._held.items()
            if not held.leaving and (calls := self._calls_ahead(held))
        ]
        for first in range(0, len(wanted), RESERVED_AT_ONCE):
            await self._pace.reserve(dict(wanted[first : first + RESERVED_AT_ONCE]))

    def _calls_ahead(self, held: AssignedAccount) -> int:
        """How many calls an account's looks make until turns are reserved next, if they find nothing new."""
        ahead = NOTE_SECONDS - max(0.0, held.next_at - time.monotonic())
        if ahead < 0:
            return 0
        return 1 + int(ahead / self._looker.intervals.after(held.watch)) + held.watch.due_within(NOTE_SECONDS)

    async def stop(self) -> None:
        """End the looks that are under way, and give back all accounts."""
        for held in self._held.values():
            held.leave()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._registered:
            async with self._database.transaction(WORKER) as connection:
                await leases.reap(connection, self._lease.holder)

    def _hear(self, topic: UUID | None) -> None:
        """There is news of a tenant, a rental or an account, or with None perhaps of any."""
        of = self._held.values() if topic is None else filter(None, [self._held.get(topic)])
        for held in of:
            held.watch.account.api_key = None  # it may be another one now
            held.watch.stale = True
        if topic in (None, TOLD):
            self._news.set()

    def _lose(self) -> None:
        """Forget all accounts: this worker was, or may have been, taken for dead."""
        log.warning("worker.lease_lost", accounts=len(self._held))
        for held in self._held.values():
            held.leave()
        self._held = {}
        self._lease = Lease()
        self._registered = False

    async def _attend(self, held: AssignedAccount, lease: Lease) -> None:
        """Look at an account whenever it is due, until it is to be given back."""
        account = held.watch.account
        try:
            await held.until_due(self._looker.intervals.busy)
            while lease.holds and not held.leaving:
                async with self._looks:
                    if lease.holds and not held.leaving:
                        await self.poll(held, lease)
                await held.until_due(self._looker.intervals.busy)
        except Lost:
            log.info("look.lost", upstream_key_id=str(account.upstream_key_id))
        except Exception:
            log.exception("worker.look_crashed", upstream_key_id=str(account.upstream_key_id))
        finally:
            await self.give_back(held, lease)

    async def poll(self, held: AssignedAccount, lease: Lease) -> None:
        """Poll an account, since it is due or callers ask for it, and note when it is polled next.

        Raises:
            Lost: another worker has it.
        """
        watch, intervals = held.watch, self._looker.intervals
        requests = Requests(self._database, held, lease, intervals.busy)
        began, due = time.monotonic(), held.next_at <= time.monotonic()
        if held.requested:
            held.requested = False
            await requests.load()
            if not requests.pending and not due:
                return
        if not self._notifications.listening:
            watch.account.api_key = None  # nobody would tell of another one
        if due:
            self._metrics.look_lag(max(0.0, began - held.next_at))
        before, error = watch.failures, None
        try:
            await self._looker.look(watch, lease, requests, due=due)
            next_in = intervals.after(watch)
        except NotYet as turn:
            next_in = turn.seconds
        except Lost:
            raise
        except Exception as crash:
            error = crash if isinstance(crash, RentgateError) else InternalError()
            if error is not crash:
                log.exception("worker.look_crashed", upstream_key_id=str(watch.account.upstream_key_id))
            next_in = intervals.pause(error, before)
            if isinstance(error, UpstreamKeyRejected | NotFound):
                held.leaving = True  # whether it is looked at any more is not for this worker to know
            try:
                await note_failure(self._database, watch, lease, error)
            except RentgateError as away:
                log.info("look.failure_not_noted", code=away.code)
        ended = time.monotonic()
        if due or error is not None or watch.list_asked_at >= began:
            held.began_at = began
            # An interval counts from beginning to beginning, but nobody makes up for polls that took long.
            held.next_at = max(ended, began + next_in) if watch.failures == 0 else ended + next_in
        if error is not None:
            await requests.refuse(error)

    async def give_back(self, held: AssignedAccount, lease: Lease) -> None:
        account = held.watch.account
        if self._held.get(account.upstream_key_id) is held:
            del self._held[account.upstream_key_id]
        uses = self._uses([held])
        reads = held.watch.unwritten_reads()
        try:
            async with self._returns, self._database.transaction(Access.tenant(account.tenant_id)) as c:
                await leases.note(c, lease.holder, [held.status()], given_back=True)
                await message_reads.note_messages_read(c, reads)
                await audit.count_background_calls(c, uses)
        except RentgateError as away:  # it is found as a stray later
            self._restore(uses)
            log.warning("look.not_given_back", code=away.code)

    def _uses(self, of: Iterable[AssignedAccount]) -> list[Uses]:
        """The calls of these accounts that are not counted yet; they are taken for counted from now on."""
        uses = []
        for account in [held.watch.account for held in of]:
            made, account.uses = account.uses, type(account.uses)()
            uses += [Uses(account.tenant_id, account.upstream_key_id, *use, made[use]) for use in made]
        return uses

    def _restore(self, uses: Iterable[Uses]) -> None:
        for use in uses:
            if (held := self._held.get(use.upstream_key_id)) is not None:
                held.watch.account.uses[use.method, use.outcome] += use.calls
