"""The catalog: countries, services and offers, cached, since they are read far oftener than they change."""

from __future__ import annotations

from typing import Any

from app.accounts.calls import UpstreamCalls
from app.audit.caller import Caller
from app.audit.repository import Entry
from app.catalog.cache import Cache, Cached
from app.errors import CountryUnknown, NoNumbersAvailable, PeriodInvalid, UpstreamBadResponse
from app.upstream.rows import Listing
from app.upstream.wire import Country, DefaultService, Offer
from app.values import (
    LONGEST_PROLONGING,
    LONGEST_PROLONGING_BY_DAYS,
    LONGEST_RENTAL_DAYS,
    LONGEST_SERVICE_DAYS,
    SHORTEST_RENTAL_DAYS,
    Period,
    PeriodUnit,
    iso_country,
)


def rentable(period: Period) -> Period:
    """The period, if numbers are rented for so long.

    Raises:
        PeriodInvalid: it is shorter than 7 or longer than 90 days.
    """
    if not SHORTEST_RENTAL_DAYS <= period.days <= LONGEST_RENTAL_DAYS:
        raise PeriodInvalid(
            f"The period is {period.days} days long; numbers are rented for"
            f" {SHORTEST_RENTAL_DAYS} to {LONGEST_RENTAL_DAYS} days."
        )
    return period


def prolongable(period: Period) -> Period:
    """The period, if it can be asked for; whether a rental is prolonged by it is the upstream's to say.

    Raises:
        PeriodInvalid: it is none, of more than 6 days that are counted as days, or longer than anybody rents.
    """
    by_days = period.unit is PeriodUnit.DAY
    if not 1 <= period.count <= (LONGEST_PROLONGING_BY_DAYS if by_days else LONGEST_PROLONGING):
        raise PeriodInvalid(
            f"Rentals are prolonged by 1 to {LONGEST_PROLONGING_BY_DAYS} days, or by weeks or months"
            f" (1 to {LONGEST_PROLONGING})."
        )
    return period


def addable(days: int | None) -> int | None:
    """For how many days a service is added, if that can be asked for; None means to the rental's end.

    Raises:
        PeriodInvalid: it is no day, or longer than anybody rents.
    """
    if days is not None and not 1 <= days <= LONGEST_SERVICE_DAYS:
        raise PeriodInvalid(f"Services are added for 1 to {LONGEST_SERVICE_DAYS} days.")
    return days


class Catalog:
    """Countries, services and offers of the upstream, in our words."""

    def __init__(self, calls: UpstreamCalls, *, countries_ttl: float, offers_ttl: float) -> None:
        """Ask through `calls`.

        Args:
            countries_ttl: seconds for which lists that hardly change are fresh, if they are whole.
            offers_ttl: seconds for which all else is.
        """

        def ttl(listed: Listing[Any]) -> float:
            return countries_ttl if listed.complete and listed.rows else min(countries_ttl, offers_ttl)

        self._calls = calls
        self._countries: Cache[None, Listing[Country]] = Cache(ttl)
        self._last_whole: tuple[Country, ...] = ()
        self._default_services: Cache[None, Listing[DefaultService]] = Cache(ttl)
        self._offers: Cache[tuple[str, Period], Listing[Offer]] = Cache(offers_ttl)

    async def countries(self, caller: Caller) -> Cached[Listing[Country]]:
        """All countries that can be read."""

        async def fetch() -> Listing[Country]:
            listed = await self._calls.read_keyless(
                "getcountries", lambda client: client.get_countries(), caller=caller
            )
            if listed.complete:
                self._last_whole = listed.rows
            return listed

        return await self._countries.get(None, fetch)

    async def country(self, code: str, caller: Caller) -> Country:
        """The country of a code, ours or the upstream's, in any case. One that the present list can't be read
        for is taken from the last list that could be read whole.

        Raises:
            CountryUnknown: the upstream rents nothing there.
            UpstreamBadResponse: the list of countries can't be read whole, and what can be read lacks it.
        """
        wanted = iso_country(code)
        listed = (await self.countries(caller)).value
        known = listed.rows if listed.complete else (*listed, *self._last_whole)
        for country in known:
            if wanted in (country.code, country.upstream_code.upper()):
                return country
        if not listed.complete:
            raise UpstreamBadResponse("The upstream's list of countries can't be read whole.")
        raise CountryUnknown(f"The upstream rents no numbers of {code!r}." if code.isalnum() else None)

    async def default_services(self, caller: Caller) -> Cached[Listing[DefaultService]]:
        """All services that can be read, wherever they are rented."""

        async def fetch() -> Listing[DefaultService]:
            return await self._calls.read_keyless(
                "get_default_services", lambda client: client.get_default_services(), caller=caller
            )

        return await self._default_services.get(None, fetch)

    async def offers(self, country: Country, period: Period, caller: Caller) -> Cached[Listing[Offer]]:
        """What a country offers for a period, at most some seconds old."""
        return await self._offers.get(
            (country.upstream_code, period), lambda: self._fetch_offers(country, period, caller)
        )

    async def fresh_offers(
        self, country: Country, period: Period, caller: Caller, notes: list[Entry] | None = None
    ) -> Listing[Offer]:
        """What a country offers for a period now, to check a price before buying.

        Args:
            notes: where the call's row of the audit trail goes, if the caller of this method sees to it.
        """
        fetched = await self._offers.fresh(
            (country.upstream_code, period), lambda: self._fetch_offers(country, period, caller, notes)
        )
        return fetched.value

    async def _fetch_offers(
        self, country: Country, period: Period, caller: Caller, notes: list[Entry] | None = None
    ) -> Listing[Offer]:
        try:
            return await self._calls.read_keyless(
                "getdata",
                lambda client: client.get_offers(country.upstream_code, period),
                caller=caller,
                notes=notes,
            )
        except NoNumbersAvailable:  # which doesn't say that there are no such services
            return Listing((), complete=False)
