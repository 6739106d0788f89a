"""Windows in a Redis that all processes share; loaded only where there is one."""

from __future__ import annotations

import asyncio
from typing import Any

from limits import RateLimitItem
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from app.values import ENDED_AT_ONCE

TIMEOUT_SECONDS = 0.5
"""How long a request may wait for Redis."""

CONNECTIONS = 20
PREFIX = "rentgate"


class SharedWindows:
    """Moving windows in one Redis."""

    def __init__(self, redis_url: str) -> None:
        """Count in the Redis at a `redis://` or `rediss://` URL."""
        self._pool = BlockingConnectionPool.from_url(
            redis_url,
            max_connections=CONNECTIONS,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        options: dict[str, Any] = {"connection_pool": self._pool}
        storage = RedisStorage(redis_url, implementation="redispy", key_prefix=PREFIX, **options)
        self._limiter = MovingWindowRateLimiter(storage)

    async def hit(self, limit: RateLimitItem, *who: str) -> tuple[bool, float, int]:
        """Count a request: whether there was room, when there is again (seconds since the epoch), how much.

        Raises:
            OSError: Redis does not answer in time.
        """
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return await self._limiter.hit(limit, *who), *await self._limiter.get_window_stats(
                    limit, *who
                )
        except (RedisError, *ENDED_AT_ONCE) as error:
            raise OSError(type(error).__name__) from None

    async def aclose(self) -> None:
        """Close the connections."""
        await self._pool.aclose()
