"""The pace of upstream calls: token buckets in Postgres, shared by all processes.

A bucket refills at its rate up to its burst. A caller who finds it empty is promised the next token and
waits for it. The background is promised nothing: it takes a token that nobody waits for, or, when callers
keep the bucket empty, lives on a credit that gets 40 % of the refill while it is in want. Promises given
before the background came in want are kept first, so that the sum never exceeds burst + rate * time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.models import pace_buckets
from app.database import Access, Database, Role
from app.errors import UpstreamBusy
from app.telemetry import Metrics

BACKGROUND_SHARE = 0.4
GLOBAL_BUCKET = "all"


@dataclass(frozen=True, slots=True)
class Limit:
    """How fast a bucket refills (tokens per second) and how much it holds."""

    rate: float
    burst: float


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket's state at an instant (seconds). `tokens` is below 0 while callers wait for promised ones."""

    tokens: float
    credit: float
    refilled_at: float
    promised_until: float
    contended_until: float

    @classmethod
    def full(cls, limit: Limit, now: float) -> Bucket:
        """A bucket that nobody has drawn on."""
        return cls(limit.burst, 0.0, now, now, now)

    def refilled(self, limit: Limit, now: float) -> Bucket:
        """The bucket with what has flowed in since it was last touched."""
        start, end = self.refilled_at, max(now, self.refilled_at)
        split_start = min(max(start, self.promised_until), end)
        split_end = min(max(split_start, self.contended_until), end)
        split = (split_end - split_start) * limit.rate
        tokens = self.tokens + (end - start) * limit.rate - split * BACKGROUND_SHARE
        credit = self.credit + split * BACKGROUND_SHARE
        if credit > 1.0:  # the background saves up one call, no more; the rest is the callers'
            tokens, credit = tokens + credit - 1.0, 1.0
        return replace(self, tokens=min(tokens, limit.burst - credit), credit=credit, refilled_at=end)

    def take(self, limit: Limit, now: float) -> tuple[Bucket, float]:
        """Take a token for a caller: the bucket after it, and the seconds until the token is there."""
        bucket = self.refilled(limit, now)
        tokens = bucket.tokens - 1.0
        taken = replace(bucket, tokens=tokens)
        if tokens >= 0.0:
            return taken, 0.0
        debt = -tokens
        if bucket.contended_until <= now:
            wait = debt / limit.rate
            return replace(taken, promised_until=now + wait), wait
        promised = max(0.0, bucket.promised_until - now) * limit.rate
        wait = (
            debt / limit.rate
            if debt <= promised
            else (promised / limit.rate + (debt - promised) / (limit.rate * (1.0 - BACKGROUND_SHARE)))
        )
        # The background's want is kept up as long as the promise reaches, since it was reckoned with.
        return replace(taken, contended_until=max(bucket.contended_until, now + wait)), wait

    def take_spare(self, limit: Limit, now: float) -> tuple[Bucket, float]:
        """Take a token for the background: 0 if it got one, else the seconds after which to ask again."""
        bucket = self.refilled(limit, now)
        if bucket.tokens >= 1.0:
            return replace(bucket, tokens=bucket.tokens - 1.0), 0.0
        if bucket.credit >= 1.0:
            return replace(bucket, credit=bucket.credit - 1.0), 0.0
        promised = max(0.0, bucket.promised_until - now)
        wait = min(
            promised + (1.0 - bucket.credit) / (limit.rate * BACKGROUND_SHARE),
            (1.0 - bucket.tokens) / limit.rate,
        )
        return replace(bucket, contended_until=max(bucket.contended_until, now + wait + 1.0)), wait


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
        self, database: Database, metrics: Metrics, *, account: Limit, everything: Limit, patience: float
    ) -> None:
        """Share the buckets in `database`; `patience` is the longest wait of a caller, in seconds."""
        self._database = database
        self._metrics = metrics
        self._account = account
        self._everything = everything
        self._patience = patience
        self._line = asyncio.Lock()

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
        wanted = self._wanted(upstream_key_id)
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
        query = sa.select(pace_buckets, _clock().label("now")).where(pace_buckets.c.name.in_(names.values()))
        rows = {row.name: row for row in await connection.execute(query)}
        found = {}
        for key, limit in limits.items():
            bucket = None
            if (row := rows.get(names[key])) is not None:
                bucket = _bucket(row, limit).refilled(limit, row.now)
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
        draws = [await self._locked(connection, name, limit) for name, limit in wanted]
        now = max(now for _, now in draws)
        results = [
            (bucket.take_spare if background else bucket.take)(limit, now)
            for (bucket, _), (_, limit) in zip(draws, wanted, strict=True)
        ]
        waits = {name: wait for (name, _), (_, wait) in zip(wanted, results, strict=True)}
        wait = max(waits.values())
        refused = wait > (0.0 if background else self._patience)
        for (name, _), (drawn, own_wait), (before, _) in zip(wanted, results, draws, strict=True):
            # Who is refused takes nothing; of the background only its want is noted.
            takes = not refused or (background and own_wait > 0.0)
            await self._store(connection, name, drawn if takes else before)
        if refused:
            self._metrics.pace_refused(background=background)
        else:
            self._metrics.pace_wait(wait, background=background)
        return waits, refused

    async def _locked(self, connection: AsyncConnection, name: str, limit: Limit) -> tuple[Bucket, float]:
        """The bucket, locked until the transaction ends, and the server's clock."""
        query = sa.select(pace_buckets, _clock().label("now")).where(pace_buckets.c.name == name)
        row = (await connection.execute(query.with_for_update())).one_or_none()
        if row is None:
            now = float(await connection.scalar(sa.select(_clock())) or 0.0)
            fresh = Bucket.full(limit, now)
            statement = insert(pace_buckets).values(name=name, **_columns(fresh))
            await connection.execute(statement.on_conflict_do_nothing())
            row = (await connection.execute(query.with_for_update())).one()
        now = max(float(row.now), row.refilled_at)  # the clock may have been read before the lock was had
        return _bucket(row, limit), now

    async def _store(self, connection: AsyncConnection, name: str, bucket: Bucket) -> None:
        await connection.execute(
            pace_buckets.update().where(pace_buckets.c.name == name).values(**_columns(bucket))
        )


def _clock() -> sa.Function[float]:
    return sa.func.date_part("epoch", sa.func.clock_timestamp())


def _bucket(row: sa.Row[Any], limit: Limit) -> Bucket:
    return Bucket(
        min(row.tokens, limit.burst), row.credit, row.refilled_at, row.promised_until, row.contended_until
    )


def _columns(bucket: Bucket) -> dict[str, float]:
    return {
        "tokens": bucket.tokens,
        "credit": bucket.credit,
        "refilled_at": bucket.refilled_at,
        "promised_until": bucket.promised_until,
        "contended_until": bucket.contended_until,
    }
