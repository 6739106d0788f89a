"""`/rentals/{id}/…`: activating, prolonging, adding services, restoring, deleting and importing."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Body
from pydantic import BaseModel, Field, StrictInt

from app.accounts import schedule
from app.api.context import Context
from app.api.fields import Code, DecimalText, RequestBody, dollars, period
from app.api.guards import RentalsReader, RentalsWriter
from app.api.idempotency import IdempotentRoute
from app.api.responses import SPENDING, UPSTREAM, problems
from app.catalog.service import addable, prolongable
from app.errors import (
    ArchivedOrderNotFound,
    CountryUnknown,
    NoNumbersAvailable,
    NoUpstreamKey,
    OperationPending,
    OrderNotOwned,
    PeriodInvalid,
    ProlongLimitReached,
    ProlongTooEarly,
    PurchaseNotMade,
    RentalNotActive,
    RentalNotExpired,
    RentalNotFound,
    RestoreNeedsSupport,
    RestoreNotAvailable,
    ServiceUnknown,
)
from app.kinds import activate, add_service, delete, prolong, restore
from app.kinds.changes import Outcome
from app.kinds.kind import Kind
from app.rentals.schemas import Rental
from app.schemas import Money
from app.values import LONGEST_SERVICE_DAYS, PeriodUnit

router = APIRouter(tags=["rentals"], route_class=IdempotentRoute)

OPEN_OUTCOME: dict[int | str, dict[str, Any]] = {
    202: {"model": Rental, "description": "The outcome is still open; `pending_operation` tells it."}
}
CHANGING = (RentalNotFound, RentalNotActive, OperationPending, OrderNotOwned, PurchaseNotMade)
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
    responses=problems(*CHANGING, *UPSTREAM),
)
async def activate_rental(rental_id: UUID, context: RentalsWriter) -> Rental:
    """Queue the number for activation, so that it can receive; its `number_state` tells when it can."""
    changes = context.services.changes
    outcome = await activate.activate(changes, context.caller, rental_id, context.claim)
    return _answer(context, activate.KIND, outcome)


@router.get(
    "/rentals/{rental_id}/restore-quote",
    summary="Ask what restoring costs",
    responses=problems(*RESTORING, *UPSTREAM),
)
async def get_restore_quote(rental_id: UUID, context: RentalsReader) -> RestoreQuoteOut:
    """What restoring an expired rental would cost now, and whether it is possible."""
    quote = await restore.restore_quote(context.services.changes, context.caller, rental_id)
    return RestoreQuoteOut.model_validate({**asdict(quote), "upstream_order_id": quote.order_id})


@router.post(
    "/rentals/{rental_id}/restore",
    status_code=restore.KIND.status,
    summary="Restore a rental",
    responses=problems(*RESTORING, *SPENDING, *UPSTREAM, also=OPEN_OUTCOME),
)
async def restore_rental(
    rental_id: UUID, context: RentalsWriter, body: Annotated[RestoreRequest | None, Body()] = None
) -> Rental:
    """Restore a rental after its end, once, for the price that is quoted now; its new end is read back."""
    max_price = dollars(body.max_price) if body else None
    outcome = await restore.restore(
        context.services.changes, context.caller, rental_id, max_price=max_price, claim=context.claim
    )
    return _answer(context, restore.KIND, outcome)


@router.post(
    "/rentals/{rental_id}/prolong",
    status_code=prolong.KIND.status,
    summary="Prolong a rental",
    responses=problems(
        *CHANGING,
        *SPENDING,
        PeriodInvalid,
        ProlongTooEarly,
        ProlongLimitReached,
        *UPSTREAM,
        also=OPEN_OUTCOME,
    ),
)
async def prolong_rental(rental_id: UUID, body: ProlongRequest, context: RentalsWriter) -> Rental:
    """Prolong a rental, once; its new end is read back. The upstream prolongs only in the last days before
    the end. A rental of several services is prolonged order by order.
    """
    wanted = prolongable(period(PeriodUnit(body.period.unit), body.period.count))
    outcome = await prolong.prolong(
        context.services.changes,
        context.caller,
        rental_id,
        wanted,
        max_price=dollars(body.max_price),
        claim=context.claim,
    )
    return _answer(context, prolong.KIND, outcome)


@router.post(
    "/rentals/{rental_id}/services",
    status_code=add_service.KIND.status,
    summary="Add a service to a rental",
    responses=problems(
        *CHANGING,
        *SPENDING,
        CountryUnknown,
        ServiceUnknown,
        PeriodInvalid,
        NoNumbersAvailable,
        *UPSTREAM,
        also=OPEN_OUTCOME,
    ),
)
async def add_rental_service(rental_id: UUID, body: ServiceRequest, context: RentalsWriter) -> Rental:
    """Rent the number for another service too, once, for so many days or until the rental's end. The rental's
    `expires_at` is the earliest end of its orders; `upstream_orders` has each.
    """
    outcome = await add_service.add_service(
        context.services.changes,
        context.caller,
        rental_id,
        body.service,
        max_price=dollars(body.max_price),
        claim=context.claim,
        days=addable(body.days),
    )
    context.response.headers["Location"] = f"/rentals/{rental_id}"
    return _answer(context, add_service.KIND, outcome)


@router.delete(
    "/rentals/{rental_id:rental}",
    status_code=delete.KIND.status,
    response_model=None,
    summary="Delete a rental",
    responses=problems(*CHANGING, *UPSTREAM, also=OPEN_OUTCOME),
)
async def delete_rental(rental_id: UUID, context: RentalsWriter) -> Rental | None:
    """Give a rental up before its end; the upstream promises no refund. The rental stays readable."""
    outcome = await delete.delete(context.services.changes, context.caller, rental_id, context.claim)
    rental = _answer(context, delete.KIND, outcome)
    return None if outcome.settled else rental


@router.post("/rentals/import", status_code=202, summary="Import rentals", responses=problems(NoUpstreamKey))
async def import_rentals(context: RentalsWriter) -> ImportStarted:
    """Take in what was bought or closed outside the gateway: living orders, and every page of the archive.
    The worker does so by itself as well, once a day and for each new account.
    """
    async with context.changing() as change:
        keys = await context.services.vault.living_ids(change.connection, context.tenant_id)
        if not keys:
            raise NoUpstreamKey
        for key_id in keys:
            await schedule.want_archive(change.connection, context.tenant_id, key_id)
        change.record("rental.import", details={"accounts": len(keys)})
        return change.answer(ImportStarted(accounts=len(keys)))


def _answer(context: Context, kind: Kind, outcome: Outcome) -> Rental:
    """The rental after a change, answered with its kind's status, or 202 while the outcome is open."""
    context.services.notifications.note(outcome.rental.id)
    context.response.status_code = kind.status if outcome.settled else 202
    return outcome.rental
