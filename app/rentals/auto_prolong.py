"""Prolonging a rental by itself: a day before its end, once for each end, as it is done by hand.

That an end was tried is written with the intent, so that no crash tries it twice. What failed before anything
was sent, and may pass, is tried again every minute until the end; anything else is told by an event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit import repository as audit
from app.audit.caller import Caller
from app.errors import OperationPending, PriceUnknown, RentgateError, UpstreamBadResponse
from app.events.types import EventType
from app.rentals import repository, views
from app.rentals.expiring import TOLERANCE
from app.rentals.models import rentals
from app.rentals.repository import Row
from app.values import Period, PeriodUnit, amount_text, utc_now

LEAD = timedelta(days=1)
RETRY = timedelta(seconds=60)

_PASSING_STATUSES = frozenset({429, 503, 504})
_PASSING = (OperationPending, PriceUnknown, UpstreamBadResponse)


@dataclass(frozen=True, slots=True)
class Plan:
    """By how long a rental is prolonged each time, and for how many US dollars at most."""

    period: Period
    max_price: Decimal | None

    def record(self) -> dict[str, Any]:
        """As it is kept with the rental, and shown."""
        return {
            "unit": self.period.unit.value,
            "count": self.period.count,
            "max_price": None if self.max_price is None else amount_text(self.max_price),
        }

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Plan:
        """What `record` made."""
        max_price = record["max_price"]
        period = Period(PeriodUnit(record["unit"]), record["count"])
        return cls(period, None if max_price is None else Decimal(max_price))


async def due(connection: AsyncConnection, limit: int) -> Sequence[tuple[UUID, UUID]]:
    """Some rentals (tenant, rental) that are to be prolonged now, the first to end first; for the worker."""
    now = sa.func.clock_timestamp()
    tried = rentals.c.auto_prolong_tried_end >= rentals.c.expires_at - TOLERANCE
    query = (
        sa.select(rentals.c.tenant_id, rentals.c.id)
        .where(
            rentals.c.status == "active",
            rentals.c.auto_prolong.is_not(None),
            rentals.c.expires_at > now,
            rentals.c.expires_at <= now + LEAD,
            ~sa.func.coalesce(tried, sa.false()),
            sa.or_(rentals.c.auto_prolong_retry_at.is_(None), rentals.c.auto_prolong_retry_at <= now),
        )
        .order_by(rentals.c.expires_at)
        .limit(limit)
    )
    return [(row.tenant_id, row.id) for row in await connection.execute(query)]


def plan_of(rental: Row) -> Plan | None:
    """How a rental is to be prolonged for its present end; None if not at all, not yet, or tried already."""
    if rental.auto_prolong is None or rental.expires_at is None or rental.expires_at > utc_now() + LEAD:
        return None
    tried_end = rental.auto_prolong_tried_end
    if tried_end is not None and tried_end >= rental.expires_at - TOLERANCE:
        return None
    return Plan.of(rental.auto_prolong)


def tried(rental: Row, end: datetime) -> dict[str, Any]:
    """The columns which say that an end was tried; for the intent's own transaction.

    Args:
        end: for which the rental is to be prolonged.

    Raises:
        OperationPending: another process tried it, or it is the rental's end no more.
    """
    if plan_of(rental) is None or abs(rental.expires_at - end) > TOLERANCE:
        raise OperationPending("The rental's end was tried already.", retry_after=RETRY.total_seconds())
    return {"auto_prolong_tried_end": rental.expires_at, "auto_prolong_retry_at": None}


async def failed(
    connection: AsyncConnection,
    caller: Caller,
    rental_id: UUID,
    error: RentgateError,
    *,
    end: datetime | None = None,
    never_sent: bool = False,
) -> None:
    """The rental was not prolonged, and nothing was spent: have it tried again, or tell that it can't be.

    Args:
        end: for which it should have been; the one that the intent noted as tried if there was an intent.
        never_sent: whether the upstream was surely not even asked, for want of a process.
    """
    rental = await repository.locked(connection, caller.tenant_id, rental_id)
    passing = never_sent or error.status in _PASSING_STATUSES or isinstance(error, _PASSING)
    if passing and rental.expires_at is not None and rental.expires_at > utc_now() + RETRY:
        again = {
            "auto_prolong_tried_end": None,
            "auto_prolong_retry_at": sa.func.clock_timestamp() + RETRY,
        }
        await repository.update(connection, caller.tenant_id, rental_id, **again)
        return
    if end is not None:
        await repository.update(connection, caller.tenant_id, rental_id, auto_prolong_tried_end=end)
    await views.announce(connection, caller, EventType.RENTAL_AUTO_PROLONG_FAILED, rental_id)
    audit.record(connection, caller, "rental.auto_prolong", target=rental_id, outcome=error.code)
