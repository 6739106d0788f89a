"""`/rentals/{id}/…`: activating, prolonging, adding services, restoring, deleting and importing."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Body, Depends, Request, Response
from pydantic import BaseModel, Field, StrictInt

from app.accounts import schedule
from app.api.auth import Require
from app.api.fields import Code, DecimalText, RequestBody, dollars, period
from app.api.idempotency import IdempotentRoute, claim_of, keep_answer
from app.api.responses import IDEMPOTENT, UPSTREAM, WITH_BODY, problems
from app.api.wired import Wired
from app.audit import repository as audit
from app.audit.caller import Caller
from app.catalog.service import addable, prolongable
from app.database import Access
from app.errors import (
    ArchivedOrderNotFound,
    CountryUnknown,
    InsufficientBalance,
    NoNumbersAvailable,
    NoUpstreamKey,
    OperationPending,
    OrderNotOwned,
    PeriodInvalid,
    PriceAboveMax,
    PriceUnknown,
    ProlongLimitReached,
    ProlongTooEarly,
    PurchaseNotMade,
    RentalNotActive,
    RentalNotExpired,
    RentalNotFound,
    RentgateError,
    RestoreNeedsSupport,
    RestoreNotAvailable,
    ServiceUnknown,
    SpendLimitExceeded,
)
from app.kinds import activate, add_service, delete, prolong, restore
from app.kinds.changes import Outcome
from app.kinds.kind import Kind
from app.rentals.schemas import Rental
from app.schemas import Money
from app.tenants.scopes import Scope
from app.values import LONGEST_SERVICE_DAYS, PeriodUnit, amount_text
from app.wiring import Services

router = APIRouter(tags=["rentals"], route_class=IdempotentRoute)
Reader = Annotated[Caller, Depends(Require(Scope.RENTALS_READ))]
Writer = Annotated[Caller, Depends(Require(Scope.RENTALS_WRITE))]

Errors = tuple[type[RentgateError], ...]

OPEN_OUTCOME: dict[int | str, dict[str, Any]] = {
    202: {"model": Rental, "description": "The outcome is still open; `pending_operation` tells it."}
}
CHANGING: Errors = (
    RentalNotFound,
    RentalNotActive,
    OperationPending,
    OrderNotOwned,
    PurchaseNotMade,
    *IDEMPOTENT,
)
SPENDING: Errors = (InsufficientBalance, SpendLimitExceeded, PriceAboveMax, PriceUnknown)
RESTORING: Errors = (
    RentalNotFound,
    RentalNotActive,
    RentalNotExpired,
    RestoreNotAvailable,
    RestoreNeedsSupport,
    ArchivedOrderNotFound,
    OrderNotOwned,
    OperationPending,
)


class ProlongPeriod(RequestBody):
    """By how long to prolong: 1 to 6 days, or any number of weeks or months that the upstream grants."""

    unit: Literal["day", "week", "month"]
    count: Annotated[StrictInt, Field(examples=[1])]


class ProlongRequest(RequestBody):
    """By how long to prolong, and for how much."""

    period: ProlongPeriod
    max_price: Annotated[
        DecimalText | None, Field(description="US dollars that prolonging may cost at most.")
    ] = None


class ServiceRequest(RequestBody):
    """The service to add, for how long, and for how much."""

    service: Annotated[Code, Field(examples=["opt29"])]
    days: Annotated[
        StrictInt | None,
        Field(description=f"For how many days, 1 to {LONGEST_SERVICE_DAYS}; until the rental's end if null."),
    ] = None
    max_price: Annotated[
        DecimalText | None, Field(description="US dollars that the service may cost at most.")
    ] = None


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


class ImportStarted(BaseModel):
    """How many accounts are being read; what is found appears among the rentals, with `source: imported`."""

    accounts: int


@router.post(
    "/rentals/{rental_id}/activate",
    status_code=activate.KIND.status,
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
async def activate_rental(
    rental_id: UUID, caller: Writer, services: Wired, request: Request, response: Response
) -> Rental:
    """Queue the number for activation, so that it can receive; its `number_state` tells when it can."""
    outcome = await activate.activate(services.changes, caller, rental_id, claim_of(request))
    return _answer(services, response, activate.KIND, outcome)


@router.get(
    "/rentals/{rental_id}/restore-quote",
    summary="Ask what restoring costs",
    responses=problems(*RESTORING, *UPSTREAM),
)
async def get_restore_quote(rental_id: UUID, caller: Reader, services: Wired) -> RestoreQuoteOut:
    """What restoring an expired rental would cost now, and whether it is possible."""
    quote = await restore.restore_quote(services.changes, caller, rental_id)
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
    status_code=restore.KIND.status,
    summary="Restore a rental",
    responses={
        **OPEN_OUTCOME,
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
    outcome = await restore.restore(
        services.changes, caller, rental_id, max_price=max_price, claim=claim_of(request)
    )
    return _answer(services, response, restore.KIND, outcome)


@router.post(
    "/rentals/{rental_id}/prolong",
    status_code=prolong.KIND.status,
    summary="Prolong a rental",
    responses={
        **OPEN_OUTCOME,
        **problems(
            *CHANGING, *SPENDING, PeriodInvalid, ProlongTooEarly, ProlongLimitReached, *WITH_BODY, *UPSTREAM
        ),
    },
)
async def prolong_rental(
    rental_id: UUID,
    body: ProlongRequest,
    caller: Writer,
    services: Wired,
    request: Request,
    response: Response,
) -> Rental:
    """Prolong a rental, once; its new end is read back. The upstream prolongs only in the last days before
    the end. A rental of several services is prolonged order by order.
    """
    wanted = prolongable(period(PeriodUnit(body.period.unit), body.period.count))
    outcome = await prolong.prolong(
        services.changes,
        caller,
        rental_id,
        wanted,
        max_price=dollars(body.max_price),
        claim=claim_of(request),
    )
    return _answer(services, response, prolong.KIND, outcome)


@router.post(
    "/rentals/{rental_id}/services",
    status_code=add_service.KIND.status,
    summary="Add a service to a rental",
    responses={
        **OPEN_OUTCOME,
        **problems(
            *CHANGING,
            *SPENDING,
            CountryUnknown,
            ServiceUnknown,
            PeriodInvalid,
            NoNumbersAvailable,
            *WITH_BODY,
            *UPSTREAM,
        ),
    },
)
async def add_rental_service(
    rental_id: UUID,
    body: ServiceRequest,
    caller: Writer,
    services: Wired,
    request: Request,
    response: Response,
) -> Rental:
    """Rent the number for another service too, once, for so many days or until the rental's end. The rental's
    `expires_at` is the earliest end of its orders; `upstream_orders` has each.
    """
    outcome = await add_service.add_service(
        services.changes,
        caller,
        rental_id,
        body.service,
        max_price=dollars(body.max_price),
        claim=claim_of(request),
        days=addable(body.days),
    )
    response.headers["Location"] = f"/rentals/{rental_id}"
    return _answer(services, response, add_service.KIND, outcome)


@router.delete(
    "/rentals/{rental_id:rental}",
    status_code=delete.KIND.status,
    response_model=None,
    summary="Delete a rental",
    responses={**OPEN_OUTCOME, **problems(*CHANGING, *UPSTREAM)},
)
async def delete_rental(
    rental_id: UUID, caller: Writer, services: Wired, request: Request, response: Response
) -> Rental | None:
    """Give a rental up before its end; the upstream promises no refund. The rental stays readable."""
    outcome = await delete.delete(services.changes, caller, rental_id, claim_of(request))
    rental = _answer(services, response, delete.KIND, outcome)
    return None if outcome.settled else rental


@router.post(
    "/rentals/import",
    status_code=202,
    summary="Import rentals",
    responses=problems(NoUpstreamKey, *IDEMPOTENT),
)
async def import_rentals(caller: Writer, services: Wired, request: Request) -> ImportStarted:
    """Take in what was bought or closed outside the gateway: living orders, and every page of the archive.
    The worker does so by itself as well, once a day and for each new account.
    """
    async with services.database.transaction(Access.tenant(caller.tenant_id)) as connection:
        keys = await services.vault.living_ids(connection, caller.tenant_id)
        if not keys:
            raise NoUpstreamKey
        for key_id in keys:
            await schedule.want_archive(connection, caller.tenant_id, key_id)
        audit.record(connection, caller, "rental.import", details={"accounts": len(keys)})
        started = ImportStarted(accounts=len(keys))
        await keep_answer(connection, request, status=202, body=started.model_dump())
        return started


def _answer(services: Services, response: Response, kind: Kind, outcome: Outcome) -> Rental:
    """The rental after a change, answered with its kind's status, or 202 while the outcome is open."""
    services.notifications.note(outcome.rental.id)
    response.status_code = kind.status if outcome.settled else 202
    return outcome.rental
