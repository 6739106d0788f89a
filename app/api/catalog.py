"""`/countries` and `/services`: what can be rented, where, for how much, and how many numbers there are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, Field

from app.api.context import Context
from app.api.fields import Code, period
from app.api.guards import Require
from app.api.paging import Page
from app.api.responses import UPSTREAM, GatewayRoute, problems
from app.catalog.cache import Cached
from app.catalog.service import rentable
from app.errors import CountryUnknown, PeriodInvalid, ServiceUnknown
from app.schemas import Money, View
from app.tenants.scopes import Scope
from app.values import Period, PeriodUnit

T = TypeVar("T")
Rows = TypeVar("Rows", bound=Iterable[Any])
P = TypeVar("P", bound=Page[Any])

router = APIRouter(tags=["catalog"], route_class=GatewayRoute)
Reader = Annotated[Context, Depends(Require(Scope.CATALOG_READ))]
CountryCode = Annotated[
    str, Path(max_length=64, description="A country's code, ours or the upstream's.", examples=["GB"])
]
ServiceCode = Annotated[Code, Path(description="A service's code.", examples=["opt20"])]

MOST_SERVICES = 20
"""As many as one rental can be for."""

Services = Annotated[
    str | None,
    Query(
        pattern=rf"^[A-Za-z0-9_.-]{{1,64}}(,[A-Za-z0-9_.-]{{1,64}}){{0,{MOST_SERVICES - 1}}}$",
        description=f"Services that one number should take: 1 to {MOST_SERVICES} codes with commas between.",
        examples=["opt1,opt20"],
    ),
]


async def _rentable(
    unit: Annotated[Literal["week", "month"], Query(description="The period's unit.")] = "week",
    count: Annotated[int, Query(description="How many of them.", examples=[1])] = 1,
) -> Period:
    """The period of a query, if numbers are rented for so long."""
    return rentable(period(PeriodUnit(unit), count))


Rentable = Annotated[Period, Depends(_rentable)]


class CountryOut(View):
    """A country that numbers can be rented in; `code` is ISO 3166-1 alpha-2 where there is one. Where the
    upstream tells no readable `name`, its code stands there. `prolongable` tells whether rentals there can be
    prolonged; null if the upstream doesn't tell.
    """

    code: str
    name: str
    upstream_code: str
    switch_type: str | None
    prolongable: bool | None


class ServiceOffer(View):
    """A service's offer for one very period. `available` is null if the upstream's count can't be read."""

    service: str
    name: str
    price_per_day: Money
    total_price: Money
    available: int | None
    operators: dict[str, int] | None


class DefaultServiceOut(View):
    """A service with what one day of it usually costs, null if that can't be read. What a rental costs is
    told by the offers of a country.
    """

    service: str
    name: str
    price_per_day: Money | None


class ServiceCountryOut(View):
    """A country that a service can be rented in. `name` is null if the list of countries doesn't tell it, and
    `available` if the upstream's count can't be read.
    """

    country: str
    upstream_code: str
    name: str | None
    price_per_day: Money
    available: int | None


class ServiceStock(View):
    """How many numbers of a service a country has; `operators` is null if the upstream doesn't tell of which
    operators they are.
    """

    service: str
    available: int | None
    operators: dict[str, int] | None


class StockOfAll(BaseModel):
    """How many numbers of a country can take all of these services."""

    services: list[str]
    available: int


class DayChoiceOut(View):
    """A number of days that can be rented, and how many numbers there are for it."""

    days: int
    available: int | None


class RestrictionsOut(View):
    """For how long a service can be rented in a country, beside the 7 to 90 days that hold everywhere. Each
    field is null if the upstream tells nothing of the kind.
    """

    minimum_days: int | None = Field(description="For how many days at least.")
    choices: list[DayChoiceOut] | None = Field(
        description="The only numbers of days there are; known of Canada's PayPal alone."
    )
    message: str | None = Field(description="What the upstream says of it.")


class CountryList(Page[CountryOut]):
    """All countries; the list is always whole."""


class ServiceOfferList(Page[ServiceOffer]):
    """All offers of a country for a period; the list is always whole."""


class DefaultServiceList(Page[DefaultServiceOut]):
    """All services; the list is always whole."""


class ServiceCountryList(Page[ServiceCountryOut]):
    """All countries of a service, the cheapest first; the list is always whole."""


class StockList(Page[ServiceStock]):
    """The stock of all services of a country; the list is always whole."""


@router.get("/countries", summary="List countries", responses=problems(*UPSTREAM))
async def list_countries(context: Reader) -> CountryList:
    """The countries that the upstream rents numbers in. `Age` tells how many seconds old the answer is."""
    found = await context.services.catalog.countries(context.caller)
    named = [replace(country, name=country.name or country.upstream_code) for country in found.value]
    return _whole(context, CountryList, Cached(named, found.age))


@router.get(
    "/countries/{country}/services",
    summary="List a country's offers",
    responses=problems(CountryUnknown, PeriodInvalid, *UPSTREAM),
)
async def list_services(country: CountryCode, context: Reader, wanted: Rentable) -> ServiceOfferList:
    """What can be rented in a country for a period of 7 to 90 days, and for how much."""
    catalog = context.services.catalog
    found_country = await catalog.country(country, context.caller)
    found = await catalog.offers(found_country, wanted, context.caller)
    items = [
        ServiceOffer(
            service=offer.service,
            name=offer.name,
            price_per_day=offer.price_per_day,
            total_price=offer.price_per_day * wanted.days,
            available=offer.available,
            operators=offer.operators,
        )
        for offer in _of_age(context, found)
    ]
    return ServiceOfferList(items=items, next_cursor=None)


@router.get("/services", summary="List services", responses=problems(*UPSTREAM))
async def list_default_services(context: Reader) -> DefaultServiceList:
    """All services of the upstream, wherever they can be rented, with the usual price of one day."""
    found = await context.services.catalog.default_services(context.caller)
    return _whole(context, DefaultServiceList, found)


@router.get(
    "/services/{service}/countries",
    summary="List a service's countries",
    responses=problems(ServiceUnknown, PeriodInvalid, *UPSTREAM),
)
async def list_service_countries(
    service: ServiceCode, context: Reader, wanted: Rentable
) -> ServiceCountryList:
    """Where a service can be rented for a period of 7 to 90 days, the cheapest first. The list is empty if
    the upstream tells of no country; it need not say whether there is such a service.
    """
    found = await context.services.availability.countries_of(service, wanted, context.caller)
    return _whole(context, ServiceCountryList, found)


@router.get(
    "/countries/{country}/stock",
    summary="Show a country's stock",
    responses=problems(CountryUnknown, ServiceUnknown, PeriodInvalid, *UPSTREAM),
)
async def get_stock(
    country: CountryCode,
    context: Reader,
    wanted: Rentable,
    together: Annotated[Services, Query(alias="services")] = None,
) -> StockList | StockOfAll:
    """How many numbers a country has for a period of 7 to 90 days: a list by service, with the numbers of
    each operator; or, with `services`, how many numbers can take all of these.
    """
    services = context.services
    found_country = await services.catalog.country(country, context.caller)
    if together is not None:
        named = list(dict.fromkeys(together.split(",")))
        counted = await services.availability.stock_of_all(found_country, named, wanted, context.caller)
        return StockOfAll(services=named, available=_of_age(context, counted))
    found = await services.availability.stock(found_country, wanted, context.caller)
    return _whole(context, StockList, found)


@router.get(
    "/countries/{country}/services/{service}/restrictions",
    summary="Show a service's restrictions",
    responses=problems(CountryUnknown, ServiceUnknown, *UPSTREAM),
)
async def get_restrictions(country: CountryCode, service: ServiceCode, context: Reader) -> RestrictionsOut:
    """For how long at least, and for which numbers of days only, a service can be rented in a country.
    Whether a rental is refused for it is the upstream's to say.
    """
    services = context.services
    found_country = await services.catalog.country(country, context.caller)
    found = await services.availability.restrictions(found_country, service, context.caller)
    return RestrictionsOut.model_validate(_of_age(context, found))


def _whole(context: Context, model: type[P], found: Cached[Rows]) -> P:
    """All of what was found, as a list that has no further page."""
    rows = _of_age(context, found)
    return model.model_validate({"items": list(rows), "next_cursor": None})


def _of_age(context: Context, found: Cached[T]) -> T:
    """What was found; the header `Age` tells how old it is."""
    context.response.headers["Age"] = str(int(found.age))
    return found.value
