"""Token buckets in Postgres, shared by all processes: how they refill, who takes of them, how they are kept.

A bucket refills at its rate up to its burst. A caller who finds it empty is promised the next token and
waits for it. The background is promised nothing: it takes a token that nobody waits for, or, when callers
keep the bucket empty, lives on a credit that gets 40 % of the refill while it is in want. Promises given
before the background came in want are kept first, so that the sum never exceeds burst + rate * time.

A worker may reserve tokens for the looks of the next seconds, of those that nobody waits for. As long as they
may still be used, the bucket holds so many fewer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import sqlalchemy as sa
from psycopg.types.json import Jsonb
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.models import pace_buckets
from app.database import columns
from app.database.at_commit import DeferredWrite, LockOrder, at_commit
from app.database.pipeline import Answer, Query, run, run_together

BACKGROUND_SHARE = 0.4


@dataclass(frozen=True, slots=True)
class Limit:
    """How fast a bucket refills (tokens per second) and how much it holds."""

    rate: float
    burst: float


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket's state at an instant (seconds). `tokens` is below 0 while callers wait for promised ones; of
    those that are `reserved` it is kept who has them, until when they may be used, and how many they are.
    """

    tokens: float
    credit: float
    refilled_at: float
    promised_until: float
    contended_until: float
    reserved: tuple[tuple[str, float, int], ...] = ()

    @property
    def out(self) -> int:
        """How many reserved tokens may be used yet."""
        return sum(count for _, _, count in self.reserved)

    def refilled(self, limit: Limit, now: float) -> Bucket:
        """The bucket with what has flowed in since it was last touched."""
        bucket = self
        for lapsed in sorted((r for r in self.reserved if r[1] <= now), key=lambda r: r[1]):
            bucket = bucket._refilled(limit, lapsed[1])
            bucket = replace(bucket, reserved=tuple(r for r in bucket.reserved if r != lapsed))
        return bucket._refilled(limit, now)

    def _refilled(self, limit: Limit, now: float) -> Bucket:
        start, end = self.refilled_at, max(now, self.refilled_at)
        split_start = min(max(start, self.promised_until), end)
        split_end = min(max(split_start, self.contended_until), end)
        split = (split_end - split_start) * limit.rate
        tokens = self.tokens + (end - start) * limit.rate - split * BACKGROUND_SHARE
        credit = self.credit + split * BACKGROUND_SHARE
        if credit > 1.0:  # the background saves up one call, no more; the rest is the callers'
            # But not of those who wait: they were promised later ones, which then would come on top.
            tokens, credit = tokens if tokens < 0.0 else tokens + credit - 1.0, 1.0
        room = limit.burst - credit - self.out
        return replace(self, tokens=min(tokens, room), credit=credit, refilled_at=end)

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
        """Take a token for the background: 0 if it got one, else the seconds after which to ask again.

        What is left of a token while nobody waits for it makes up for what the credit lacks: else where no
        caller comes, both would refill side by side, and neither be whole when one token has flowed in.
        """
        bucket = self.refilled(limit, now)
        if bucket.tokens >= 1.0:
            return replace(bucket, tokens=bucket.tokens - 1.0), 0.0
        if bucket.credit + max(0.0, bucket.tokens) >= 1.0:
            lacking = max(0.0, 1.0 - bucket.credit)
            credit = bucket.credit - (1.0 - lacking)
            return replace(bucket, tokens=bucket.tokens - lacking, credit=credit), 0.0
        promised = max(0.0, bucket.promised_until - now)
        wait = min(
            promised + (1.0 - bucket.credit) / (limit.rate * BACKGROUND_SHARE),
            (1.0 - bucket.tokens - bucket.credit) / limit.rate,
        )
        return replace(bucket, contended_until=max(bucket.contended_until, now + wait + 1.0)), wait

    def reserve(
        self, limit: Limit, now: float, holder: str, *, left: int, wanted: int, seconds: float
    ) -> tuple[Bucket, int]:
        """Take further tokens ahead for the background, to be used within some seconds: the bucket after it,
        and how many they are. Only what nobody waits for is taken, and half of the burst at most is out.

        Args:
            left: how many of those that it has reserved the holder has not used yet.
        """
        bucket, taken = self.refilled(limit, now), 0
        others = tuple(r for r in bucket.reserved if r[0] != holder)
        bucket = replace(bucket, reserved=(*others, (holder, now + seconds, left)) if left else others)
        room = int(limit.burst // 2) - bucket.out
        while taken < min(wanted, room):
            after, wait = bucket.take_spare(limit, now)
            if wait:
                break
            bucket, taken = after, taken + 1
        if taken:
            bucket = replace(bucket, reserved=(*others, (holder, now + seconds, left + taken)))
        return bucket, taken

    def held_off(self, limit: Limit, now: float, seconds: float) -> Bucket:
        """The bucket after the upstream said to wait: empty, and the next token comes after so many seconds.
        All of them are promised, so that the background gets none of them either.
        """
        bucket, until = self.refilled(limit, now), now + seconds
        return replace(
            bucket,
            tokens=min(bucket.tokens, 1.0 - seconds * limit.rate),
            credit=0.0,
            promised_until=max(bucket.promised_until, until),
        )


CLOCK = sa.func.date_part("epoch", sa.func.clock_timestamp())

_FILL = """
    insert into pace_buckets
        (name, tokens, credit, refilled_at, promised_until, contended_until, reserved)
    values (%(name)s, %(burst)s, 0, date_part('epoch', clock_timestamp()), 0, 0, '[]')
    on conflict do nothing
"""
"""Makes a full bucket where there is none yet."""

_BUCKETS = f"""
    select {columns(pace_buckets)}, date_part('epoch', clock_timestamp()) as now from pace_buckets
"""  # noqa: S608 - put together of our own words
_LOCK = f"{_BUCKETS} where name = %(name)s for update"
_LOCK_FREE = f"{_BUCKETS} where name = any(%(names)s) order by name for update skip locked"

_STORE = DeferredWrite(
    LockOrder.PACE,
    """
    update pace_buckets b
    set tokens = s.tokens, credit = s.credit, refilled_at = s.refilled_at, promised_until = s.promised_until,
        contended_until = s.contended_until, reserved = s.reserved
    from jsonb_to_recordset(%(buckets)s) as s (name text, tokens float8, credit float8, refilled_at float8,
        promised_until float8, contended_until float8, reserved jsonb)
    where b.name = s.name
    """,
)


async def locked(
    connection: AsyncConnection, wanted: Sequence[tuple[str, Limit]]
) -> list[tuple[Bucket, float]]:
    """The buckets, locked in their order until the transaction ends, each with the server's clock."""
    queries: list[Query[Any]] = []
    for name, limit in wanted:
        queries += [_filling(name, limit), _locking(name, limit)]
    return [drawn for drawn in await run_together(connection, *queries) if drawn is not None]


async def locked_if_free(
    connection: AsyncConnection, names: Collection[str], limit: Limit
) -> dict[str, tuple[Bucket, float]]:
    """Those of these buckets that are there and that nobody else has locked, as `locked` gives them."""

    def read(answer: Answer) -> dict[str, tuple[Bucket, float]]:
        return {row.name: _drawn(row, limit) for row in answer.rows}

    return await run(connection, Query(_LOCK_FREE, {"names": list(names)}, read))


def _filling(name: str, limit: Limit) -> Query[None]:
    return Query(_FILL, {"name": name, "burst": limit.burst}, lambda _: None)


def _locking(name: str, limit: Limit) -> Query[tuple[Bucket, float]]:
    return Query(_LOCK, {"name": name}, lambda answer: _drawn(answer.row, limit))


def _drawn(row: Any, limit: Limit) -> tuple[Bucket, float]:
    # The clock may have been read before the lock was had.
    return bucket_of(row, limit), max(row.now, row.refilled_at)


def store(connection: AsyncConnection, buckets: Mapping[str, Bucket]) -> None:
    """Keep buckets that are locked, by their names, with the commit."""
    rows = [{"name": name, **asdict(bucket)} for name, bucket in buckets.items()]
    at_commit(connection, _STORE, {"buckets": Jsonb(rows)})


def bucket_of(row: Any, limit: Limit) -> Bucket:
    """The bucket of a row, under the limit of today."""
    return Bucket(
        min(row.tokens, limit.burst),
        row.credit,
        row.refilled_at,
        row.promised_until,
        row.contended_until,
        tuple((holder, until, count) for holder, until, count in row.reserved),
    )
