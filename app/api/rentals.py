"""`/rentals`: renting and listing numbers."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Body, Query, Response
from pydantic import Field, StrictBool, StrictInt, StringConstraints, model_validator

from app.api.fields import (
    Code,
    DecimalText,
    FilterText,
    Moment,
    Operator,
    RequestBody,
    Text,
    dollars,
    period,
    phone_filter,
)
from app.api.guards import RentalsReader, RentalsWriter
from app.api.idempotency import IdempotentRoute
from app.api.paging import Page, Paging, paged
from app.api.rendered import UNCHANGED, rendered_of
from app.api.responses import SPENDING, UPSTREAM, problems
from app.catalog.service import prolongable
from app.errors import (
    CountryUnknown,
    NoNumbersAvailable,
    NoUpstreamKey,
    PeriodInvalid,
    RentalNotActive,
    RentalNotFound,
    ServiceUnknown,
)
from app.kinds import create
from app.kinds.purchases import Purchase
from app.rentals import views
from app.rentals.auto_prolong import Plan
from app.rentals.schemas import Rental, RentalStatus
from app.rentals.service import KEEP, Change, Keep
from app.rentals.views import RentalFilter
from app.values import PeriodUnit, iso_country

router = APIRouter(tags=["rentals"], route_class=IdempotentRoute)

CURSOR = "rentals"
MetadataKey = Annotated[Text, StringConstraints(min_length=1, max_length=64)]
MetadataValue = Annotated[Text, StringConstraints(max_length=500)]


Metadata = Annotated[dict[MetadataKey, MetadataValue], Field(max_length=50)]


class RentalPeriod(RequestBody):
    """How long to rent: 7 to 90 days, a month counting as 30."""

    unit: Literal["week", "month"]
    count: Annotated[StrictInt, Field(examples=[1])]


class RentalRequest(RequestBody):
    """What to rent: one `service`, or several `services` on one number."""

    country: Annotated[Code, Field(examples=["GB"])]
    service: Annotated[Code | None, Field(examples=["opt20"])] = None
    services: Annotated[list[Code] | None, Field(min_length=1, max_length=20)] = None
    period: RentalPeriod
    operator: Operator | None = None
    activate: StrictBool = False
    max_price: Annotated[
        DecimalText | None, Field(description="US dollars that the whole may cost at most.")
    ] = None
    upstream_key_id: UUID | None = None
    metadata: Metadata | None = None

    @model_validator(mode="after")
    def _one_way_to_name_services(self) -> RentalRequest:
        if (self.service is None) == (self.services is None):
            raise ValueError("name either service or services")
        if self.services is not None and len(set(self.services)) != len(self.services):
            raise ValueError("services names one of them twice")
        return self


class AutoProlongRequest(RequestBody):
    """How to prolong the rental by itself, a day before each end: by 1 to 6 days, or by weeks or months."""

    unit: Literal["day", "week", "month"]
    count: Annotated[StrictInt, Field(examples=[1])]
    max_price: Annotated[
        DecimalText | None, Field(description="US dollars that prolonging may cost at most, each time.")
    ] = None


class RentalChange(RequestBody):
    """What to change; `metadata` replaces what was noted before, and an `auto_prolong` of null ends it."""

    metadata: Metadata | None = None
    auto_prolong: AutoProlongRequest | None = None


class RentalList(Page[Rental]):
    """A page of rentals."""


@router.post(
    "/rentals",
    status_code=create.KIND.status,
    summary="Rent a number",
    responses=problems(
        *SPENDING,
        CountryUnknown,
        NoNumbersAvailable,
        NoUpstreamKey,
        ServiceUnknown,
        PeriodInvalid,
        *UPSTREAM,
        also={202: {"model": Rental, "description": "The outcome is still open; the rental is `pending`."}},
    ),
)
async def create_rental(body: RentalRequest, context: RentalsWriter) -> Rental:
    """Rent a number, once. A 202 means that it is not known yet whether the upstream made the order."""
    wanted = Purchase(
        country=body.country,
        services=tuple(body.services or [body.service or ""]),
        period=period(PeriodUnit(body.period.unit), body.period.count),
        operator=body.operator,
        activate=body.activate,
        max_price=dollars(body.max_price),
        upstream_key_id=body.upstream_key_id,
        metadata=body.metadata or {},
    )
    outcome = await context.services.purchases.purchase(context.caller, wanted, context.claim)
    context.response.status_code = create.KIND.status if outcome.settled else 202
    context.response.headers["Location"] = f"/rentals/{outcome.rental.id}"
    return outcome.rental


@router.get("/rentals", summary="List rentals")
async def list_rentals(
    context: RentalsReader,
    paging: Annotated[Paging, paged(CURSOR)],
    status: Annotated[RentalStatus | None, Query()] = None,
    country: Annotated[FilterText | None, Query()] = None,
    service: Annotated[FilterText | None, Query()] = None,
    phone_number: Annotated[FilterText | None, Query(description="E.164")] = None,
    upstream_order_id: Annotated[
        FilterText | None, Query(description="Of any of its orders, also from before a restore.")
    ] = None,
    created_after: Annotated[Moment | None, Query()] = None,
    created_before: Annotated[Moment | None, Query()] = None,
) -> RentalList:
    """The tenant's rentals, newest first."""
    wanted = RentalFilter(
        status=status,
        country=None if country is None else iso_country(country),
        service=service,
        phone_number=phone_filter(phone_number),
        upstream_order_id=upstream_order_id,
        created_after=created_after,
        created_before=created_before,
    )
    async with context.reading() as connection:
        found = await views.listed(
            connection, context.tenant_id, wanted, limit=paging.fetch, before=paging.before
        )
    page = paging.page(RentalList, found)
    context.services.notifications.note(*(rental.id for rental in page.items))
    context.services.metrics.read("rentals", looked=False)
    return page


@router.get(
    "/rentals/{rental_id:rental}",
    summary="Read a rental",
    response_model=Rental,
    responses=problems(RentalNotFound, also=UNCHANGED),
)
async def get_rental(rental_id: UUID, context: RentalsReader) -> Response:
    """One rental, as it was last seen; `synced_at` tells when."""
    services = context.services
    answer = await rendered_of(context.request).answer(
        context.request,
        context.tenant_id,
        rental_id,
        "rental",
        lambda: services.rentals.get(context.caller, rental_id),
        resource="rental",
    )
    services.metrics.read("rental", looked=False)
    return answer


def _prolonging(change: RentalChange) -> Plan | Keep | None:
    if "auto_prolong" not in change.model_fields_set:
        return KEEP
    wanted = change.auto_prolong
    if wanted is None:
        return None
    return Plan(prolongable(period(PeriodUnit(wanted.unit), wanted.count)), dollars(wanted.max_price))


@router.patch(
    "/rentals/{rental_id:rental}",
    summary="Change a rental",
    responses=problems(RentalNotFound, RentalNotActive, PeriodInvalid),
)
async def update_rental(
    rental_id: UUID, context: RentalsWriter, body: Annotated[RentalChange | None, Body()] = None
) -> Rental:
    """Change what is noted on a rental; it costs nothing and calls nobody.

    With `auto_prolong` the gateway prolongs the rental by itself a day before its end, once for each end, as
    `POST …/prolong` would. If that can't be, the event `rental.auto_prolong_failed` tells.
    """
    given = body or RentalChange()
    changed = await context.services.rentals.describe(
        context.caller, rental_id, Change(metadata=given.metadata, prolonging=_prolonging(given))
    )
    context.services.notifications.note(rental_id)
    return changed
