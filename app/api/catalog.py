"""`/countries`: what can be rented, and for how much."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel

from app.api.auth import Require
from app.api.fields import period
from app.api.paging import Page
from app.api.responses import UPSTREAM, problems
from app.api.wired import Wired
from app.audit.caller import Caller
from app.catalog.service import rentable
from app.errors import CountryUnknown, PeriodInvalid
from app.schemas import Money
from app.tenants.scopes import Scope
from app.values import PeriodUnit, amount_text

router = APIRouter(tags=["catalog"])
Reader = Annotated[Caller, Depends(Require(Scope.CATALOG_READ))]


class CountryOut(BaseModel):
    """A country that numbers can be rented in; `code` is ISO 3166-1 alpha-2 where there is one."""

    code: str
    name: str
    upstream_code: str
    switch_type: str | None


class ServiceOffer(BaseModel):
    """A service's offer for one very period."""

    service: str
    name: str
    price_per_day: Money
    total_price: Money
    available: int
    operators: dict[str, int] | None


class CountryList(Page[CountryOut]):
    """All countries; the list is always whole."""


class ServiceOfferList(Page[ServiceOffer]):
    """All offers of a country for a period; the list is always whole."""


@router.get("/countries", summary="List countries", responses=problems(*UPSTREAM))
async def list_countries(caller: Reader, services: Wired, response: Response) -> CountryList:
    """The countries that the upstream rents numbers in. `Age` tells how many seconds old the answer is."""
    found = await services.catalog.countries(caller)
    response.headers["Age"] = str(int(found.age))
    items = [
        CountryOut(
            code=country.code,
            name=country.name,
            upstream_code=country.upstream_code,
            switch_type=country.switch_type,
        )
        for country in found.value
    ]
    return CountryList(items=items, next_cursor=None)


@router.get(
    "/countries/{country}/services",
    summary="List a country's offers",
    responses=problems(CountryUnknown, PeriodInvalid, *UPSTREAM),
)
async def list_services(
    country: Annotated[str, Path(max_length=64, examples=["GB"])],
    caller: Reader,
    services: Wired,
    response: Response,
    unit: Annotated[Literal["week", "month"], Query(description="The period's unit.")] = "week",
    count: Annotated[int, Query(description="How many of them.", examples=[1])] = 1,
) -> ServiceOfferList:
    """What can be rented in a country for a period of 7 to 90 days, and for how much."""
    wanted = rentable(period(PeriodUnit(unit), count))
    found_country = await services.catalog.country(country, caller)
    found = await services.catalog.offers(found_country, wanted, caller)
    response.headers["Age"] = str(int(found.age))
    items = [
        ServiceOffer(
            service=offer.service,
            name=offer.name,
            price_per_day=Money(amount=amount_text(offer.price_per_day)),
            total_price=Money(amount=amount_text(offer.total_price)),
            available=offer.available,
            operators=offer.operators,
        )
        for offer in found.value
    ]
    return ServiceOfferList(items=items, next_cursor=None)
