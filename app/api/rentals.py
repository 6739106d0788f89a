"""`/rentals`: renting, listing, activating and restoring numbers."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Body, Depends, Query, Request, Response
from pydantic import BaseModel, Field, StrictBool, StrictInt, StringConstraints, model_validator

from app.api.auth import Require, services_of
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
from app.api.idempotency import IdempotentRoute, claim_of
from app.api.paging import Cursor, Limit, Page, after_id, next_cursor
from app.api.responses import UPSTREAM, WITH_BODY, problems
from app.audit.caller import Caller
from app.database import Access
from app.errors import (
    ArchivedOrderNotFound,
    CountryUnknown,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    InsufficientBalance,
    NoNumbersAvailable,
    NotFound,
    NoUpstreamKey,
    OperationPending,
    OrderNotOwned,
    PeriodInvalid,
    PriceAboveMax,
    PriceUnknown,
    PurchaseNotMade,
    RentalNotActive,
    RentalNotExpired,
    RentalNotFound,
    RestoreNeedsSupport,
    RestoreNotAvailable,
    ServiceUnknown,
    SpendLimitExceeded,
)
from app.rentals import repository
from app.rentals.repository import RentalFilter
from app.rentals.schemas import Rental, RentalStatus
from app.rentals.service import Purchase
from app.schemas import Money
from app.tenants.scopes import Scope
from app.values import PeriodUnit, amount_text, iso_country
from app.wiring import Services

router = APIRouter(tags=["rentals"], route_class=IdempotentRoute)
Reader = Annotated[Caller, Depends(Require(Scope.RENTALS_READ))]
Writer = Annotated[Caller, Depends(Require(Scope.RENTALS_WRITE))]
Wired = Annotated[Services, Depends(services_of)]

CURSOR = "rentals"
IDEMPOTENT = (IdempotencyKeyInUse, IdempotencyKeyReused)
RESTORING = (
    RentalNotFound,
    RentalNotActive,
    RentalNotExpired,
    RestoreNotAvailable,
    RestoreNeedsSupport,
    ArchivedOrderNotFound,
    OrderNotOwned,
    OperationPending,
)

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


class RentalChange(RequestBody):
    """What to change; `metadata` replaces what was noted before."""

    metadata: Metadata | None = None


class RestoreRequest(RequestBody):
    """How much restoring may cost."""

    max_price: Annotated[
        DecimalText | None, Field(description="US dollars that restoring may cost at most.")
    ] = None


class RestoreQuoteOut(BaseModel):
    """What restoring would cost now."""

    price: Money
    days_overdue: int | None
    prolonged_days: int | None
    phone_number: str | None
    service: str | None
    country: str | None
    upstream_order_id: str


class RentalList(Page[Rental]):
    """A page of rentals."""


@router.post(
    "/rentals",
    status_code=201,
    summary="Rent a number",
    responses={
        202: {"model": Rental, "description": "The outcome is still open; the rental is `pending`."},
        **problems(
            InsufficientBalance,
            SpendLimitExceeded,
            CountryUnknown,
            NotFound,
            NoNumbersAvailable,
            PriceAboveMax,
            PriceUnknown,
            NoUpstreamKey,
            ServiceUnknown,
            PeriodInvalid,
            PurchaseNotMade,
            *IDEMPOTENT,
            *WITH_BODY,
            *UPSTREAM,
        ),
    },
)
async def create_rental(
    body: RentalRequest, caller: Writer, services: Wired, request: Request, response: Response
) -> Rental:
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
    outcome = await services.rentals.purchase(caller, wanted, claim_of(request))
    response.status_code = 201 if outcome.settled else 202
    response.headers["Location"] = f"/rentals/{outcome.rental.id}"
    return outcome.rental


@router.get("/rentals", summary="List rentals", responses=problems())
async def list_rentals(
    caller: Reader,
    services: Wired,
    status: Annotated[RentalStatus | None, Query()] = None,
    country: Annotated[FilterText | None, Query()] = None,
    service: Annotated[FilterText | None, Query()] = None,
    phone_number: Annotated[FilterText | None, Query(description="E.164")] = None,
    upstream_order_id: Annotated[
        FilterText | None, Query(description="Of any of its orders, also from before a restore.")
    ] = None,
    created_after: Annotated[Moment | None, Query()] = None,
    created_before: Annotated[Moment | None, Query()] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
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
    before = after_id(CURSOR, cursor)
    async with services.database.transaction(Access.tenant(caller.tenant_id)) as connection:
        found = await repository.listed(connection, caller.tenant_id, wanted, limit=limit + 1, before=before)
    return RentalList(
        items=found[:limit], next_cursor=next_cursor(CURSOR, found, limit, lambda rental: rental.id)
    )


@router.get("/rentals/{rental_id}", summary="Read a rental", responses=problems(RentalNotFound))
async def get_rental(rental_id: UUID, caller: Reader, services: Wired) -> Rental:
    """One rental, as it was last seen; `synced_at` tells when."""
    return await services.rentals.get(caller, rental_id)


@router.patch(
    "/rentals/{rental_id}", summary="Change a rental", responses=problems(RentalNotFound, *WITH_BODY)
)
async def update_rental(
    rental_id: UUID,
    caller: Writer,
    services: Wired,
    body: Annotated[RentalChange | None, Body()] = None,
) -> Rental:
    """Change what is noted on a rental; it costs nothing and calls nobody."""
    if body is None or body.metadata is None:
        return await services.rentals.get(caller, rental_id)
    return await services.rentals.describe(caller, rental_id, body.metadata)


@router.post(
    "/rentals/{rental_id}/activate",
    status_code=202,
    summary="Activate a rental's number",
    responses=problems(
        RentalNotFound,
        RentalNotActive,
        OperationPending,
        PurchaseNotMade,
        OrderNotOwned,
        *IDEMPOTENT,
        *UPSTREAM,
    ),
)
async def activate_rental(rental_id: UUID, caller: Writer, services: Wired, request: Request) -> Rental:
    """Queue the number for activation, so that it can receive; its `number_state` tells when it can."""
    return (await services.rentals.activate(caller, rental_id, claim_of(request))).rental


@router.get(
    "/rentals/{rental_id}/restore-quote",
    summary="Ask what restoring costs",
    responses=problems(*RESTORING, *UPSTREAM),
)
async def get_restore_quote(rental_id: UUID, caller: Reader, services: Wired) -> RestoreQuoteOut:
    """What restoring an expired rental would cost now, and whether it is possible."""
    quote = await services.rentals.restore_quote(caller, rental_id)
    return RestoreQuoteOut(
        price=Money(amount=amount_text(quote.price)),
        days_overdue=quote.days_overdue,
        prolonged_days=quote.prolonged_days,
        phone_number=quote.phone_number,
        service=quote.service,
        country=quote.country,
        upstream_order_id=quote.order_id,
    )


@router.post(
    "/rentals/{rental_id}/restore",
    summary="Restore a rental",
    responses={
        202: {"model": Rental, "description": "The outcome is still open; `pending_operation` tells it."},
        **problems(
            *RESTORING,
            InsufficientBalance,
            SpendLimitExceeded,
            PriceAboveMax,
            PriceUnknown,
            PurchaseNotMade,
            *IDEMPOTENT,
            *WITH_BODY,
            *UPSTREAM,
        ),
    },
)
async def restore_rental(
    rental_id: UUID,
    caller: Writer,
    services: Wired,
    request: Request,
    response: Response,
    body: Annotated[RestoreRequest | None, Body()] = None,
) -> Rental:
    """Restore a rental after its end, once, for the price that is quoted now; its new end is read back."""
    max_price = dollars(body.max_price) if body else None
    outcome = await services.rentals.restore(caller, rental_id, max_price, claim_of(request))
    response.status_code = 200 if outcome.settled else 202
    return outcome.rental
