"""Slows down who sends wrong tokens, and who goes beyond the limit of its key. Counted in each process."""

from __future__ import annotations

import time

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from app.errors import RateLimited

WRONG_TOKENS_PER_MINUTE = 20


class Throttle:
    """Moving windows of a minute, by key and by address."""

    def __init__(self, requests_per_minute: int | None) -> None:
        """Let each key make so many requests a minute; None for any number."""
        self._windows = MovingWindowRateLimiter(MemoryStorage())
        self._requests = RateLimitItemPerMinute(requests_per_minute) if requests_per_minute else None
        self._wrong_tokens = RateLimitItemPerMinute(WRONG_TOKENS_PER_MINUTE)

    def count_request(self, key_id: str) -> None:
        """Count a request of a key.

        Raises:
            RateLimited: it is one too many.
        """
        if self._requests is not None:
            self._hit(self._requests, "key", key_id, "This key has used up its requests of the minute.")

    def count_wrong_token(self, address: str) -> None:
        """Count a wrong token from an address; right ones never count.

        Raises:
            RateLimited: it is one too many.
        """
        self._hit(self._wrong_tokens, "address", address, "Too many wrong tokens came from this address.")

    def _hit(self, limit: RateLimitItem, kind: str, who: str, detail: str) -> None:
        if not self._windows.hit(limit, kind, who):
            reset_at = self._windows.get_window_stats(limit, kind, who).reset_time
            raise RateLimited(detail, retry_after=max(1.0, reset_at - time.time()))
