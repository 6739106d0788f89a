"""Leases: a process has a row until a moment, by the database's clock, and renews it while it lives.

Whoever has a lease is named in the row, by a holder or by the moment itself, and everything that it writes
under the lease asks for that name. A lease that has ended is anybody's.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from app.database.tables import NOW


def until(seconds: float) -> sa.ColumnElement[datetime]:
    """The moment so many seconds from now."""
    return NOW + timedelta(seconds=seconds)


def ended(held_until: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    """Whether a lease that lasts to a moment has ended; one that nobody has is null, and has ended too."""
    return sa.or_(held_until.is_(None), held_until < NOW)
