"""How long it is until an account is asked again: after a look, and after answers that can't be read."""

from __future__ import annotations

import random
from dataclasses import dataclass

from app.errors import RentgateError, UpstreamBusy
from app.sync.watch import Watch

LONGEST_BACKOFF = 30.0
LONGEST_UNREADABLE = 300.0
LONGEST_ARCHIVE_UNSETTLED = 60.0
"""Seconds between two tries at an archive while the outcome of an operation is unknown."""


@dataclass(frozen=True, slots=True)
class Intervals:
    """Seconds between two looks, at a busy and at an idle account, and of proving an absence."""

    busy: float
    idle: float
    reconcile: float

    def after(self, watch: Watch) -> float:
        """Seconds until the next look."""
        return self.busy if watch.busy else self.idle

    def pause(self, error: RentgateError, failures: int) -> float:
        """Seconds until the next look after one that failed: longer each time in a row, and never the same
        for all whom an upstream has failed at one moment.
        """
        if isinstance(error, UpstreamBusy) and error.retry_after:
            return error.retry_after  # it only waits for its turn, and knows when that comes
        return self._growing(failures, LONGEST_BACKOFF)

    def list_pause(self, failures: int, *, unsettled: bool) -> float:
        """Seconds until a list of orders is asked for again that was answered but can't be read."""
        return self.busy if unsettled else self._growing(failures, LONGEST_UNREADABLE)

    def archive_pause(self, failures: int, *, unsettled: bool) -> float:
        """Seconds until an archive is asked for again that can't be read."""
        return self._growing(failures, LONGEST_ARCHIVE_UNSETTLED if unsettled else LONGEST_UNREADABLE)

    def _growing(self, failures: int, longest: float) -> float:
        seconds = min(longest, self.busy * float(2 ** min(failures, 16)))
        return seconds * random.uniform(0.75, 1.0)  # noqa: S311
