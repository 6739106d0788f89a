"""When a delivery that failed is tried again, and when it is given up."""

from __future__ import annotations

import random

MINUTE, HOUR = 60.0, 3600.0

DELAYS = (
    *(1.0, 2.0, 5.0, 10.0, 30.0),
    *(1 * MINUTE, 5 * MINUTE, 30 * MINUTE),
    *(2 * HOUR, 5 * HOUR, 10 * HOUR, 24 * HOUR, 24 * HOUR),
)
"""Seconds after the first, second, … failed attempt."""

JITTER = 0.1
LONGEST_RETRY_AFTER = 24 * HOUR


def delay(failures: int, retry_after: float | None = None) -> float | None:
    """Seconds until the next attempt after so many failed ones; None if it was the last.

    Args:
        retry_after: seconds that the endpoint asked for; honoured up to a day.
    """
    if failures > len(DELAYS):
        return None
    planned = DELAYS[failures - 1] * random.uniform(1.0, 1.0 + JITTER)  # noqa: S311 - no secret hangs on it
    return max(planned, min(retry_after or 0.0, LONGEST_RETRY_AFTER))
