"""What a purchase will cost: the upstream tells prices of a day only, and never what was charged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from app.audit.caller import Caller
from app.audit.repository import Entry
from app.catalog.service import Catalog
from app.errors import PriceAboveMax, PriceUnknown, RentgateError, ServiceUnknown
from app.upstream.wire import Country, Offer
from app.values import (
    LONGEST_RENTAL_DAYS,
    SHORTEST_RENTAL_DAYS,
    Period,
    PeriodUnit,
    amount_text,
    utc_now,
)

SECONDS_A_DAY = 86_400

_OFFERED = tuple(
    Period(unit, count)
    for unit in (PeriodUnit.WEEK, PeriodUnit.MONTH)
    for count in range(1, LONGEST_RENTAL_DAYS // unit.days + 1)
    if unit.days * count >= SHORTEST_RENTAL_DAYS
)
"""All periods that offers can be asked for."""


@dataclass(frozen=True, slots=True)
class Quote:
    """The price of each thing that is bought, in US dollars, and of all; None where it can't be told.

    Nothing is for sale for nothing, so a price of 0 tells no more than a missing one.
    """

    parts: tuple[Decimal | None, ...]

    @classmethod
    def of(cls, offers: Sequence[Offer | None], period: Period) -> Quote:
        """What these offers cost for the whole of the period that they are for."""
        return cls(tuple(offer.price_per_day * period.days if offer else None for offer in offers))

    @property
    def total(self) -> Decimal | None:
        """The sum, None if a part of it is unknown or there are no parts."""
        known = [part for part in self.parts if part]
        return sum(known, Decimal(0)) if known and len(known) == len(self.parts) else None

    def within(self, max_price: Decimal | None) -> Quote:
        """This quote, if it is not higher than what the caller would pay.

        Raises:
            PriceAboveMax: it is.
            PriceUnknown: nobody can tell.
        """
        if max_price is not None:
            if self.total is None:
                raise PriceUnknown
            if self.total > max_price:
                raise PriceAboveMax(f"The price is {amount_text(self.total)} USD.", required=self.total)
        return self


async def fresh_offers(
    catalog: Catalog,
    caller: Caller,
    country: Country,
    period: Period,
    services: Sequence[str],
    *,
    notes: list[Entry] | None = None,
) -> list[Offer | None]:
    """The offers of these services, in their order, as they are now; None for each that can't be told.

    Args:
        notes: where the call's row of the audit trail goes, if the caller of this method sees to it.

    Raises:
        ServiceUnknown: the country has no such service for this period.
    """
    try:
        offers = await catalog.fresh_offers(country, period, caller, notes)
    except RentgateError:
        return [None] * len(services)
    by_service = {offer.service: offer for offer in offers}
    for service in services:
        if service not in by_service and offers.complete:
            raise ServiceUnknown(f"{country.code} has no service {service!r} for this period.")
    return [by_service.get(service) for service in services]


def offered_period(days: int) -> Period:
    """The period whose price of a day fits so many days: the longest offered one that is no longer. A day
    costs the less the longer the period, so what is quoted is no less than what is due.
    """
    return max((p for p in _OFFERED if p.days <= days), key=lambda p: p.days, default=_OFFERED[0])


def days_left(end: datetime) -> int:
    """The days until an end, rounded up."""
    return max(0, math.ceil((end - utc_now()).total_seconds() / SECONDS_A_DAY))
