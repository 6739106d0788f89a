"""The pace of upstream calls: a bucket of tokens for each account, and one for all together.

The balance is another host's to tell, so each account has a second bucket for it.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.buckets import CLOCK, Bucket, Limit, bucket_of, locked, locked_if_free, store
from app.accounts.models import pace_buckets
from app.database import Access, Database, Role, new_id
from app.errors import UpstreamBusy
from app.telemetry import Metrics
from app.upstream.balance import METHOD

GLOBAL_BUCKET = "all"

BALANCE_LIMIT = Limit(0.1, 1.0)

RESERVED_SECONDS, KEPT_SECONDS = 7.0, 8.0
"""How long a reserved token may be used, and is counted as out, which has to be longer."""


class NotYet(Exception):
    """An account has no room for the background's call; it may ask again after some seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many calls may be made at once now, of how many at most; below 0 that many are promised already."""

    left: float
    burst: float


class Pace:
    """Gives calls their turn: one bucket for each upstream account, one for all together."""

    def __init__(
        self,
        database: Database,
        metrics: Metrics,
        *,
        account: Limit,
        everything: Limit,
        patience: float,
        balance: Limit = BALANCE_LIMIT,
    ) -> None:
        """Share the buckets in `database`; `patience` is the longest wait of a caller, in seconds."""
        self._database = database
        self._metrics = metrics
        self._account = account
        self._everything = everything
        self._balance = balance
        self._patience = patience
        self._line = asyncio.Lock()
        self._holder = str(new_id())
        self._reserved: defaultdict[UUID, list[float]] = defaultdict(list)

    async def wait_for_turn(self, upstream_key_id: UUID | None) -> None:
        """Wait until a caller's call may be made: on an account, or keyless with None.

        Raises:
            UpstreamBusy: it would wait longer than the time-out.
        """
        wanted = self._wanted(upstream_key_id)
        if not wanted:
            return
        async with self._database.transaction(Access(Role.APP)) as connection:
            waits, refused = await self._take(connection, wanted, background=False)
        wait = max(waits.values())
        if refused:
            raise self._busy(wait)
        await asyncio.sleep(wait)

    async def wait_for_spare(self, upstream_key_id: UUID) -> None:
        """Wait until the background's call may be made on an account.

        Who waits for what all accounts share waits in line, one of the process asking for all; else a
        thousand accounts would ask anew for each turn that one of them gets.

        Raises:
            NotYet: the account itself has no room now.
        """
        await self._wait_in_line(self._wanted(upstream_key_id))

    async def wait_for_balance(self, upstream_key_id: UUID) -> None:
        """Wait until an account's balance may be asked for, in line as for a spare turn: it is counted among
        the calls that all share, and not among the account's.

        Raises:
            NotYet: it was asked for too short a time ago.
        """
        own = [(f"{METHOD}/{upstream_key_id}", self._balance)] if self._balance.rate else []
        await self._wait_in_line([*own, *self._wanted(None)])

    async def _wait_in_line(self, wanted: list[tuple[str, Limit]]) -> None:
        if not wanted:
            return
        async with self._line:
            while True:
                async with self._database.transaction(Access(Role.APP)) as connection:
                    waits, refused = await self._take(connection, wanted, background=True)
                if not refused:
                    return
                shared = waits.pop(GLOBAL_BUCKET, 0.0)
                if own := max(waits.values(), default=0.0):
                    raise NotYet(max(own, shared))
                await asyncio.sleep(shared)

    async def reserve(self, wanted: Mapping[UUID, int]) -> None:
        """Reserve turns for so many calls of the background on each account in the next seconds, as far as
        nobody waits for them: in one transaction for all, so that the calls themselves need none. It waits
        for nobody: what somebody draws on just now is left alone. Where there is no limit none are needed.
        """
        if not wanted or not (self._account.rate or self._everything.rate):
            return
        until = time.monotonic() + RESERVED_SECONDS
        left = {key: self._left(key) for key in {*wanted, *self._reserved}}
        lacking = {key: calls - left[key] for key, calls in wanted.items() if calls > left[key]}
        if not lacking:
            return

        def ahead(bucket: Bucket, limit: Limit, now: float, left: int, calls: int) -> tuple[Bucket, int]:
            return bucket.reserve(limit, now, self._holder, left=left, wanted=calls, seconds=KEPT_SECONDS)

        async with self._database.transaction(Access(Role.APP)) as connection:
            granted, own, kept = dict(lacking), {}, {}
            if self._account.rate:
                own = await locked_if_free(connection, [str(key) for key in lacking], self._account)
                granted = {key: calls for key, calls in lacking.items() if str(key) in own}
                for key, calls in granted.items():
                    bucket, now = own[str(key)]
                    granted[key] = ahead(bucket, self._account, now, left[key], calls)[1]
            if self._everything.rate:
                of_all = await locked_if_free(connection, [GLOBAL_BUCKET], self._everything)
                if not of_all:
                    return
                shared, now = of_all[GLOBAL_BUCKET]
                kept[GLOBAL_BUCKET], count = ahead(
                    shared, self._everything, now, sum(left.values()), sum(granted.values())
                )
                for key, calls in granted.items():
                    granted[key] = min(calls, count)
                    count -= granted[key]
            for name, (bucket, now) in own.items():
                key = UUID(name)
                kept[name] = ahead(bucket, self._account, now, left[key], granted[key])[0]
            store(connection, kept)
        for key, calls in granted.items():
            self._reserved[key] += [until] * calls

    def take_reserved(self, upstream_key_id: UUID) -> bool:
        """Take a turn that was reserved for the background's calls on an account, if there is one."""
        if not self._left(upstream_key_id):
            return False
        self._reserved[upstream_key_id].pop(0)
        return True

    def _left(self, upstream_key_id: UUID) -> int:
        """How many reserved turns there are for an account."""
        now = time.monotonic()
        good = [until for until in self._reserved.pop(upstream_key_id, ()) if until > now]
        if good:
            self._reserved[upstream_key_id] = good
        return len(good)

    async def hold_off(self, upstream_key_id: UUID, seconds: float) -> None:
        """Give no turn on an account for so many seconds: the upstream said so.

        Turns that were given before are not taken back, but for those that this process has reserved.
        """
        self._reserved.pop(upstream_key_id, None)
        if not self._account.rate:
            return
        wanted = [(str(upstream_key_id), self._account)]
        async with self._database.transaction(Access(Role.APP)) as connection:
            ((bucket, now),) = await locked(connection, wanted)
            store(connection, {str(upstream_key_id): bucket.held_off(self._account, now, seconds)})

    async def draw(self, connection: AsyncConnection, upstream_key_id: UUID) -> float:
        """Take the account's next turn for a caller: the seconds until it comes.

        Raises:
            UpstreamBusy: a caller would wait longer than the time-out.
        """
        wanted = self._wanted(upstream_key_id)
        if not wanted:
            return 0.0
        waits, refused = await self._take(connection, wanted, background=False)
        wait = max(waits.values())
        if refused:
            raise self._busy(wait)
        return wait

    async def allowances(
        self, connection: AsyncConnection, upstream_key_ids: Collection[UUID]
    ) -> dict[UUID | None, Allowance]:
        """What is left of the pace of each account, and under None of all together; what has no limit is
        left out. The worker's role may ask too.
        """
        limits: dict[UUID | None, Limit] = dict.fromkeys(upstream_key_ids, self._account)
        limits = {key: limit for key, limit in (limits | {None: self._everything}).items() if limit.rate}
        names = {key: GLOBAL_BUCKET if key is None else str(key) for key in limits}
        query = sa.select(pace_buckets, CLOCK.label("now")).where(pace_buckets.c.name.in_(names.values()))
        rows = {row.name: row for row in await connection.execute(query)}
        found = {}
        for key, limit in limits.items():
            bucket = None
            if (row := rows.get(names[key])) is not None:
                bucket = bucket_of(row, limit).refilled(limit, row.now)
            found[key] = Allowance(limit.burst if bucket is None else bucket.tokens, limit.burst)
        return found

    def _wanted(self, upstream_key_id: UUID | None) -> list[tuple[str, Limit]]:
        """The buckets that a call draws on, in the order in which everybody locks them."""
        wanted: list[tuple[str, Limit]] = []
        if upstream_key_id is not None and self._account.rate:
            wanted.append((str(upstream_key_id), self._account))
        if self._everything.rate:
            wanted.append((GLOBAL_BUCKET, self._everything))
        return wanted

    def _busy(self, wait: float) -> UpstreamBusy:
        return UpstreamBusy(
            "The gateway's own pace towards the upstream leaves no room within the time-out.",
            retry_after=max(1.0, wait - self._patience),
        )

    async def _take(
        self, connection: AsyncConnection, wanted: list[tuple[str, Limit]], *, background: bool
    ) -> tuple[dict[str, float], bool]:
        """Take a token of each bucket: the seconds until they are there, and whether that is too long."""
        draws = await locked(connection, wanted)
        now = max(now for _, now in draws)
        results = [
            (bucket.take_spare if background else bucket.take)(limit, now)
            for (bucket, _), (_, limit) in zip(draws, wanted, strict=True)
        ]
        waits = {name: wait for (name, _), (_, wait) in zip(wanted, results, strict=True)}
        wait = max(waits.values())
        refused = wait > (0.0 if background else self._patience)
        kept = {}
        for (name, _), (drawn, own_wait), (before, _) in zip(wanted, results, draws, strict=True):
            # Who is refused takes nothing; of the background only its want is noted.
            takes = not refused or (background and own_wait > 0.0)
            kept[name] = drawn if takes else before
        store(connection, kept)
        if refused:
            self._metrics.pace_refused(background=background)
        else:
            self._metrics.pace_wait(wait, background=background)
        return waits, refused
