"""Token buckets in Postgres, shared by all processes: how they refill, who takes of them, how they are kept.

A bucket refills at its rate up to its burst. A caller who finds it empty is promised the next token and
waits for it. The background is promised nothing: it takes a token that nobody waits for, or, when callers
keep the bucket empty, lives on a credit that gets 40 % of the refill while it is in want. Promises given
before the background came in want are kept first, so that the sum never exceeds burst + rate * time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.models import pace_buckets
from app.closing import ClosingWrite, Rank, at_commit
from app.queries import Answer, Query, Statement, run_together

BACKGROUND_SHARE = 0.4


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


CLOCK = sa.func.date_part("epoch", sa.func.clock_timestamp())

_FILL = Statement(
    insert(pace_buckets)
    .values(
        name=sa.bindparam("bucket"),
        tokens=sa.bindparam("burst"),
        credit=0.0,
        refilled_at=CLOCK,
        promised_until=0.0,
        contended_until=0.0,
    )
    .on_conflict_do_nothing()
)
"""Makes a full bucket where there is none yet."""

_LOCK = Statement(
    sa.select(pace_buckets, CLOCK.label("now"))
    .where(pace_buckets.c.name == sa.bindparam("bucket"))
    .with_for_update()
)

_STORE = ClosingWrite(
    Rank.PACE,
    """
    update pace_buckets
    set tokens = %(tokens)s, credit = %(credit)s, refilled_at = %(refilled_at)s,
        promised_until = %(promised_until)s, contended_until = %(contended_until)s
    where name = %(name)s
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


def _filling(name: str, limit: Limit) -> Query[None]:
    return Query(_FILL, {"bucket": name, "burst": limit.burst}, lambda _: None)


def _locking(name: str, limit: Limit) -> Query[tuple[Bucket, float]]:
    def read(answer: Answer) -> tuple[Bucket, float]:
        # The clock may have been read before the lock was had.
        return bucket_of(answer.row, limit), max(answer.row.now, answer.row.refilled_at)

    return Query(_LOCK, {"bucket": name}, read)


def store(connection: AsyncConnection, name: str, bucket: Bucket) -> None:
    """Keep a bucket that is locked, with the commit."""
    at_commit(connection, _STORE, {"name": name, **asdict(bucket)})


def bucket_of(row: Any, limit: Limit) -> Bucket:
    """The bucket of a row, under the limit of today."""
    return Bucket(
        min(row.tokens, limit.burst), row.credit, row.refilled_at, row.promised_until, row.contended_until
    )
