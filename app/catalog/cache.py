"""A cache for slow answers: one fetch at a time, and the old answer while a new one is on its way."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from app.cache import BoundedCache
from app.errors import RentgateError

K = TypeVar("K")
V = TypeVar("V")

log = structlog.get_logger(__name__)


OLD = 10.0
"""How many times as old as the oldest fresh one a value is given at once, while another is fetched."""


@dataclass(frozen=True, slots=True)
class Cached(Generic[V]):
    """A value and the seconds since it was fetched."""

    value: V
    age: float


class Cache(Generic[K, V]):
    """Values by key, each fetched at most once at a time however many ask for it."""

    def __init__(
        self,
        ttl: float | Callable[[V], float],
        *,
        capacity: int = 2000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep values.

        Args:
            ttl: seconds for which a value is fresh, which may depend on the value.
            capacity: of more than so many the longest unused one goes.
        """
        self._ttl = ttl
        self._clock = clock
        self._kept: BoundedCache[K, tuple[V, float]] = BoundedCache(capacity)
        self._fetching: dict[K, asyncio.Task[V]] = {}

    async def get(self, key: K, fetch: Callable[[], Awaitable[V]]) -> Cached[V]:
        """The value, fetched now if there is none; an old one at once, while a new one is fetched behind it.
        A very old one is given only if no new one can be had.

        Raises:
            whatever `fetch` raises, when there is no old value to give.
        """
        if key in self._kept:
            value, fetched_at = self._kept[key]
            self._kept.move_to_end(key)
            age = self._clock() - fetched_at
            ttl = self._ttl(value) if callable(self._ttl) else self._ttl
            if age >= ttl:
                self._refetch(key, fetch)
            if age >= OLD * ttl:
                with contextlib.suppress(RentgateError):
                    return await self.fresh(key, fetch)
            return Cached(value, age)
        return await self.fresh(key, fetch)

    async def fresh(self, key: K, fetch: Callable[[], Awaitable[V]]) -> Cached[V]:
        """The value as the source has it now; joins a fetch that is under way."""
        return Cached(await asyncio.shield(self._refetch(key, fetch)), 0.0)

    def _refetch(self, key: K, fetch: Callable[[], Awaitable[V]]) -> asyncio.Task[V]:
        task = self._fetching.get(key)
        if task is None:
            task = asyncio.ensure_future(self._store(key, fetch))
            self._fetching[key] = task
            task.add_done_callback(lambda done: self._fetched(key, done))
        return task

    async def _store(self, key: K, fetch: Callable[[], Awaitable[V]]) -> V:
        value = await fetch()
        self._kept[key] = (value, self._clock())
        return value

    def _fetched(self, key: K, task: asyncio.Task[V]) -> None:
        self._fetching.pop(key, None)
        if task.cancelled():
            return
        error = task.exception()  # asking also keeps asyncio from complaining when nobody waited
        if isinstance(error, RentgateError):
            log.info("catalog.fetch_failed", code=error.code)
        elif error is not None:
            log.error("catalog.fetch_crashed", exc_info=error)
