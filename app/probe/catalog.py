"""What the probe asks about the catalog, without the account's key: countries, offers, stock, least periods.

Country and service are those that were chosen, else the account's own, else the first that the answers name.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from app.errors import NoNumbersAvailable
from app.probe.session import Session
from app.upstream.client import UpstreamClient
from app.values import Period, PeriodUnit, iso_country

T = TypeVar("T")

WEEK = Period(PeriodUnit.WEEK, 1)
SOLD_OUT = (NoNumbersAvailable,)

PAYPAL_COUNTRY, PAYPAL_SERVICE = "CA", "opt83"
"""The provider's own client has them as an example: this service is rented for a least number of days."""

_PLAIN_COUNTRY, _PLAIN_SERVICE = re.compile(r"[A-Z]{2}[0-9]?"), re.compile(r"opt[0-9]{1,3}")


async def countries(session: Session) -> None:
    """Read where numbers can be rented."""
    found = await session.call(lambda client: client.get_countries())
    session.known.countries = () if found is None else found.rows


async def default_services(session: Session) -> None:
    """Read all services."""
    found = await session.call(lambda client: client.get_default_services())
    session.known.services = () if found is None else found.rows


async def offers(session: Session) -> None:
    """Read what a country offers."""
    found = await _about_country(session, lambda client, country: client.get_offers(country, WEEK))
    session.known.offers = () if found is None else found.rows


async def offers_with_operators(session: Session) -> None:
    """Likewise, with the numbers that each operator has."""
    await _about_country(session, lambda client, country: client.get_offers_with_operators(country, WEEK))


async def countries_of_service(session: Session) -> None:
    """Read where a service can be rented."""
    service = next(services_of(session), None)
    if service is None:
        session.skip("no service is known: name one with --service")
        return
    await session.call(
        lambda client: client.get_countries_of_service(service, WEEK),
        asked=asked(services=[service]),
        answers=SOLD_OUT,
    )


async def stock(session: Session) -> None:
    """Read how many numbers a country has."""
    await _about_country(session, lambda client, country: client.get_stock(country, WEEK))


async def stock_by_operator(session: Session) -> None:
    """Likewise, by operator."""
    await _about_country(session, lambda client, country: client.get_stock_by_operator(country, WEEK))


async def stock_of_all(session: Session) -> None:
    """Read how many numbers of a country can take two services, or one where no more are known."""
    services = list(dict.fromkeys(services_of(session)))[:2]
    if not services:
        session.skip("no service is known: name one with --service")
        return
    await _about_country(
        session, lambda client, country: client.get_stock_of_all(country, services, WEEK), services
    )


async def minimum_days(session: Session) -> None:
    """Read for how many days at least a service is rented: that of the provider's own example, if none was
    chosen and its country is listed.
    """
    country, service = country_of(session), next(services_of(session), None)
    chosen = session.choices.country or session.choices.service
    if not chosen and any(one.upstream_code == PAYPAL_COUNTRY for one in session.known.countries):
        country, service = PAYPAL_COUNTRY, PAYPAL_SERVICE
    if country is None or service is None:
        session.skip("no country, or no service, is known: name them with --country and --service")
        return
    await session.call(
        lambda client: client.get_minimum_days(country, service),
        asked=asked(country, [service], period=None),
    )


async def day_choices(session: Session) -> None:
    """Read for which numbers of days PayPal is rented in Canada."""
    await session.call(lambda client: client.get_day_choices())


async def _about_country(
    session: Session,
    read: Callable[[UpstreamClient, str], Awaitable[T]],
    services: list[str] | None = None,
) -> T | None:
    country = country_of(session)
    if country is None:
        session.skip("no country is known: name one with --country")
        return None
    return await session.call(
        lambda client: read(client, country), asked=asked(country, services or []), answers=SOLD_OUT
    )


def country_of(session: Session) -> str | None:
    """The upstream's code of the country to ask about; None if no answer named any."""
    if session.choices.country is not None:
        return session.choices.country
    listed = [country.upstream_code for country in session.known.countries]
    own = {order.country for order in session.known.orders} - {None}
    return next((code for code in listed if iso_country(code) in own), next(iter(listed), None))


def services_of(session: Session) -> Iterator[str]:
    """The upstream's codes of the services to ask about, the best first; some come more than once."""
    if session.choices.service is not None:
        yield session.choices.service
    known = session.known
    yield from (order.service for order in known.orders if order.service is not None)
    yield from (offer.service for offer in known.offers if offer.available)
    yield from (offer.service for offer in known.offers)
    yield from (service.service for service in known.services)


def asked(country: str | None = None, services: list[str] | None = None, period: Period | None = WEEK) -> str:
    """The parameters of a call; codes out of an answer are named only if they are plain ones."""
    parts = [] if country is None else [f"country={_plain(country, _PLAIN_COUNTRY)}"]
    if services:
        name = "service" if len(services) == 1 else "services"
        parts.append(f"{name}={','.join(_plain(service, _PLAIN_SERVICE) for service in services)}")
    if period is not None:
        parts.append(f"dtype={period.unit.value}, dcount={period.count}")
    return ", ".join(parts)


def _plain(code: str, pattern: re.Pattern[str]) -> str:
    return code if pattern.fullmatch(code) else "(one of the list)"
