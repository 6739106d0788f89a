"""The breaker: when the upstream is down, most calls are answered at once instead of waited for."""

from __future__ import annotations

import time
from collections.abc import Callable

from app.errors import UpstreamUnavailable

FAILURES_TO_OPEN = 20
SECONDS_BETWEEN_TRIES = 10.0


class Breaker:
    """Opens after 20 transport errors or 5xx in a row; then lets one try pass every 10 seconds.

    A refusal is an answer, so it never counts. Each process has its own, since each has its own way to
    the upstream.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._next_try = 0.0

    def pass_or_refuse(self) -> None:
        """Let a call pass.

        Raises:
            UpstreamUnavailable: the breaker is open, and it isn't time for the next try.
        """
        if self._failures < FAILURES_TO_OPEN:
            return
        now = self._clock()
        if now < self._next_try:
            raise UpstreamUnavailable(
                "The upstream failed many times in a row; it is tried again soon.",
                retry_after=self._next_try - now,
            )
        self._next_try = now + SECONDS_BETWEEN_TRIES

    def answered(self) -> None:
        """The upstream answered, be it with a refusal."""
        self._failures = 0

    def failed(self) -> None:
        """The upstream could not be reached, or answered with a 5xx."""
        self._failures += 1
        if self._failures == FAILURES_TO_OPEN:
            self._next_try = self._clock() + SECONDS_BETWEEN_TRIES
