"""The database: transactions in somebody's name, the two ways to write SQL, and the embedded server.

Where nobody waits, a query is SQLAlchemy Core. Where a caller or a poll waits, it is plain SQL with a reader
of its answer, and is sent together with others (`pipeline`).
"""

from app.database.access import PLATFORM, WORKER, Access, Role
from app.database.engine import Database
from app.database.tables import (
    NOW,
    Money,
    Timestamp,
    columns,
    metadata,
    new_id,
    seconds,
    this_account,
    violated,
)

__all__ = [
    "NOW",
    "PLATFORM",
    "WORKER",
    "Access",
    "Database",
    "Money",
    "Role",
    "Timestamp",
    "columns",
    "metadata",
    "new_id",
    "seconds",
    "this_account",
    "violated",
]
