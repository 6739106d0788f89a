"""Where requests are counted: in Redis, which all processes share, or in this process alone.

A limit keeps order, and is no reason to refuse anybody when it can't be kept. While Redis is away each
process counts for itself: no request fails for it, and few wait for it, half a second at most.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from limits import RateLimitItem
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter as OwnWindows

if TYPE_CHECKING:
    from app.api.shared_windows import SharedWindows

RETRY_SECONDS = 5.0
"""How long Redis is left alone after it did not answer."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Window:
    """A window right after a request: whether it had room for it, how many more it has, and in how many
    seconds it has room for another one again.
    """

    had_room: bool
    remaining: int
    seconds: float


class Windows:
    """Moving windows, each known by its limit and by whom it is for."""

    def __init__(self, redis_url: str | None) -> None:
        """Count in the Redis at a `redis://` or `rediss://` URL, and without one in this process."""
        # Not the asynchronous storage: it starts a task and a thread with every request.
        self._own = OwnWindows(MemoryStorage())
        self._shared: SharedWindows | None = None
        self._away = False
        self._next_try = 0.0
        if redis_url is not None:
            from app.api.shared_windows import SharedWindows  # noqa: PLC0415  what is off is not loaded

            self._shared = SharedWindows(redis_url)

    @property
    def away(self) -> bool:
        """Whether there should be a Redis, but it did not answer when last asked."""
        return self._away

    async def hit(self, limit: RateLimitItem, *who: str) -> Window:
        """Count a request in the window of whom it is for, unless that has no room; never raises."""
        if self._shared is not None and time.monotonic() >= self._next_try:
            if self._away:
                self._next_try = time.monotonic() + RETRY_SECONDS  # one request tries it for all
            try:
                window = _window(*await self._shared.hit(limit, *who))
            except OSError as error:
                self._lose(error)
            else:
                self._find()
                return window
        return _window(self._own.hit(limit, *who), *self._own.get_window_stats(limit, *who))

    def _lose(self, error: Exception) -> None:
        self._next_try = time.monotonic() + RETRY_SECONDS
        if not self._away:
            self._away = True
            log.warning(
                "limits.redis_away",
                error=type(error).__name__,
                advice="Each process counts for itself until Redis answers again.",
            )

    def _find(self) -> None:
        if self._away:
            self._away = False
            self._next_try = 0.0
            log.info("limits.redis_back")

    async def aclose(self) -> None:
        """Close the connections to Redis."""
        if self._shared is not None:
            await self._shared.aclose()


def _window(had_room: bool, reset_at: float, remaining: int) -> Window:
    return Window(had_room, max(0, remaining), max(0.0, reset_at - time.time()))
