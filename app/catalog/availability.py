"""Where services can be rented, how many numbers there are, and for how long at least; cached like offers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

from app.accounts.calls import UpstreamCalls
from app.audit.caller import Caller
from app.catalog.cache import Cache, Cached
from app.catalog.service import Catalog
from app.errors import (
    NoNumbersAvailable,
    RentgateError,
    ServiceUnknown,
    UpstreamBadResponse,
    UpstreamRefusedError,
)
from app.upstream.client import UpstreamClient
from app.upstream.rows import Listing
from app.upstream.wire import Country, DayChoice, MinimumDays, Stock
from app.upstream.wire import ServiceCountry as UpstreamServiceCountry
from app.values import Period, iso_country

A = TypeVar("A")

CHOICES_COUNTRY, CHOICES_SERVICE = "CA", "opt83"
"""Canada's PayPal: all that `get_days_canada_paypal` is about (the provider's Python client)."""


@dataclass(frozen=True, slots=True)
class ServiceCountry:
    """A country that a service can be rented in, with the price of one day in US dollars for one very period.

    Attributes:
        name: the country's, if the list of countries tells it.
    """

    country: str
    upstream_code: str
    name: str | None
    price_per_day: Decimal
    available: int | None


@dataclass(frozen=True, slots=True)
class Restrictions:
    """For how long a service can be rented in a country.

    Attributes:
        minimum_days: None if the upstream tells no least number.
        choices: the only numbers of days there are; None if the upstream tells none.
        message: what the upstream says of it.
    """

    minimum_days: int | None
    choices: tuple[DayChoice, ...] | None
    message: str | None


class Availability:
    """What the upstream tells of services and countries beside their offers. None of it prices a purchase."""

    def __init__(self, calls: UpstreamCalls, catalog: Catalog, *, ttl: float) -> None:
        """Ask through `calls`; answers are fresh for `ttl` seconds."""
        self._calls = calls
        self._catalog = catalog
        self._countries: Cache[tuple[str, Period], Listing[UpstreamServiceCountry]] = Cache(ttl)
        self._stock: Cache[tuple[str, Period], Listing[Stock]] = Cache(ttl)
        self._stock_of_all: Cache[tuple[str, tuple[str, ...], Period], int] = Cache(ttl)
        self._minimum_days: Cache[tuple[str, str], MinimumDays] = Cache(ttl)
        self._choices: Cache[None, tuple[DayChoice, ...] | None] = Cache(ttl)

    async def countries_of(
        self, service: str, period: Period, caller: Caller
    ) -> Cached[tuple[ServiceCountry, ...]]:
        """Where a service can be rented for a period, the cheapest first.

        Raises:
            ServiceUnknown: the upstream says that there is no such service.
        """

        async def fetch() -> Listing[UpstreamServiceCountry]:
            return await self._read(
                "get_country_by_service",
                lambda client: client.get_countries_of_service(service, period),
                caller,
                none=Listing(()),
            )

        found = await self._countries.get((service, period), fetch)
        known = await self._known_countries(caller)
        named = [_named(row, known) for row in found.value]
        named.sort(key=lambda row: (row.price_per_day, row.upstream_code))
        return Cached(tuple(named), found.age)

    async def _known_countries(self, caller: Caller) -> Sequence[Country]:
        """The countries that names are taken from; without them there are no names."""
        try:
            return (await self._catalog.countries(caller)).value.rows
        except RentgateError:
            return ()

    async def stock(self, country: Country, period: Period, caller: Caller) -> Cached[Listing[Stock]]:
        """How many numbers of each service a country has for a period, by operator where that is told.

        Raises:
            UpstreamBadResponse: the upstream tells it of no service.
        """
        key = country.upstream_code, period
        return await self._stock.get(key, lambda: self._fetch_stock(*key, caller))

    async def _fetch_stock(self, upstream_code: str, period: Period, caller: Caller) -> Listing[Stock]:
        """The methods that tell it are tried in order: the first tells operators too."""
        counted: Listing[Stock] | int | None = None
        with suppress(UpstreamBadResponse, UpstreamRefusedError):
            counted = await self._read(
                "getCountWithProviders",
                lambda client: client.get_stock_by_operator(upstream_code, period),
                caller,
                none=Listing(()),
            )
        if not isinstance(counted, Listing):
            counted = await self._read(
                "getcount",
                lambda client: client.get_stock(upstream_code, period),
                caller,
                none=Listing(()),
            )
        if isinstance(counted, Listing):
            return counted
        if not counted:
            return Listing(())
        raise UpstreamBadResponse("The upstream tells how many numbers there are, but not of which service.")

    async def stock_of_all(
        self, country: Country, services: Sequence[str], period: Period, caller: Caller
    ) -> Cached[int]:
        """How many numbers of a country can take all of some services for a period.

        Raises:
            ServiceUnknown: there is none, and one of the services is unknown.
        """

        async def fetch() -> int:
            return await self._read(
                "get_count_multi",
                lambda client: client.get_stock_of_all(country.upstream_code, services, period),
                caller,
                none=0,
            )

        found = await self._stock_of_all.get((country.upstream_code, tuple(services), period), fetch)
        if not found.value:
            await self._require_known(services, caller)
        return found

    async def restrictions(self, country: Country, service: str, caller: Caller) -> Cached[Restrictions]:
        """For how long at least, and for which times only, a service can be rented in a country.

        Raises:
            ServiceUnknown: nothing is told of it, and it is unknown.
        """

        async def fetch() -> MinimumDays:
            return await self._read(
                "get_min_paypal_days",
                lambda client: client.get_minimum_days(country.upstream_code, service),
                caller,
                none=MinimumDays(None, None),
            )

        least = await self._minimum_days.get((country.upstream_code, service), fetch)
        age = least.age
        choices = None
        if (country.code, service) == (CHOICES_COUNTRY, CHOICES_SERVICE):
            chosen = await self._choices.get(None, lambda: self._fetch_choices(caller))
            choices, age = chosen.value, max(age, chosen.age)
        told = Restrictions(least.value.days, choices, least.value.message)
        if told == Restrictions(None, None, None):
            await self._require_known([service], caller)
        return Cached(told, age)

    async def _fetch_choices(self, caller: Caller) -> tuple[DayChoice, ...] | None:
        """Sorted by days; what can't be read doesn't take down what is told beside it."""
        nothing: Listing[DayChoice] = Listing(())
        try:
            found = await self._read(
                "get_days_canada_paypal", lambda client: client.get_day_choices(), caller, none=nothing
            )
        except (UpstreamBadResponse, UpstreamRefusedError):
            return None
        return tuple(sorted(found, key=lambda choice: choice.days))

    async def _require_known(self, services: Iterable[str], caller: Caller) -> None:
        """See that a service of which the upstream told nothing is no misspelt one.

        Raises:
            ServiceUnknown: the upstream's list of all services, read whole, lacks it.
        """
        try:
            listed = (await self._catalog.default_services(caller)).value
        except RentgateError:
            return
        known = {service.service.casefold() for service in listed}
        for service in services:
            if known and listed.complete and service.casefold() not in known:
                raise ServiceUnknown(f"The upstream knows no service {service!r}.")

    async def _read(
        self, method: str, call: Callable[[UpstreamClient], Awaitable[A]], caller: Caller, *, none: A
    ) -> A:
        """What a keyless call answers; `none` where the upstream says that there are no numbers."""
        try:
            return await self._calls.read_keyless(method, call, caller=caller)
        except NoNumbersAvailable:
            return none


def _named(row: UpstreamServiceCountry, known: Sequence[Country]) -> ServiceCountry:
    """A row with what the list of countries tells of its country, which the upstream may call by its name."""
    called = row.country.casefold()
    of_its_names: tuple[Callable[[Country], str | None], ...] = (
        lambda country: country.upstream_code,
        lambda country: country.code,
        lambda country: country.name,
    )
    for name_of in of_its_names:
        for country in known:
            if (name_of(country) or "").casefold() == called:
                return ServiceCountry(
                    country.code, country.upstream_code, country.name, row.price_per_day, row.available
                )
    return ServiceCountry(iso_country(row.country), row.country, None, row.price_per_day, row.available)
