"""What a transaction writes last: together with its commit, in one round trip, and in one order for all.

Nobody reads these rows again within the transaction that writes them. Some of them are written by many
transactions at once, such as a tenant's head of events: they are locked for a moment only, and by all in the
same order, so that no two transactions ever wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, LiteralString

from sqlalchemy.ext.asyncio import AsyncConnection

from app.database.pipeline import atomic_pipeline, raw_connection

_POSTPONED = "rentgate.postponed"


class LockOrder(IntEnum):
    """The order in which a transaction's last rows are written."""

    BALANCE = 1
    PACE = 2
    SPENDING = 3
    AUDIT = 4
    EVENTS = 5
    DELIVERIES = 6
    LANE = 7
    NEWS = 8


@dataclass(frozen=True, slots=True)
class DeferredWrite:
    """A statement that is run with the commit.

    Attributes:
        sql: as psycopg takes it, with `%(name)s` for values.
        gathers: whether it runs once however often it was postponed: its values are lists, which are joined.
    """

    rank: LockOrder
    sql: LiteralString
    gathers: bool = False


def begin(connection: AsyncConnection) -> None:
    """Begin with nothing postponed; called at the beginning of every transaction."""
    connection.info[_POSTPONED] = []


def at_commit(connection: AsyncConnection, write: DeferredWrite, values: Mapping[str, Any]) -> None:
    """Have something written when the transaction commits; if that fails, it doesn't commit."""
    connection.info[_POSTPONED].append((write, values))


async def commit(connection: AsyncConnection) -> None:
    """Write what was postponed, and commit.

    Raises:
        psycopg.Error: it could not be written; nothing is committed, unless the connection was lost.
    """
    postponed = connection.info.pop(_POSTPONED)
    async with raw_connection(connection) as driver:
        if not postponed:
            await driver.execute("commit")
            return
        async with atomic_pipeline(driver):
            for write, values in sorted(_gathered(postponed), key=lambda one: one[0].rank):
                await driver.execute(write.sql, values)
            await driver.execute("commit")


def _gathered(
    postponed: Iterable[tuple[DeferredWrite, Mapping[str, Any]]],
) -> Iterator[tuple[DeferredWrite, Mapping[str, Any]]]:
    """What was postponed, with one of each write that gathers."""
    lists: dict[DeferredWrite, dict[str, list[Any]]] = {}
    for write, values in postponed:
        if not write.gathers:
            yield write, values
            continue
        joined = lists.setdefault(write, {})
        for name, items in values.items():
            joined.setdefault(name, []).extend(items)
    yield from lists.items()
