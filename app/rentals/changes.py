"""Changing a rental that exists: activating, restoring, prolonging, adding a service, deleting."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.calls import UpstreamCalls
from app.audit.caller import Caller
from app.catalog.service import Catalog, Offer
from app.database import Access, Database
from app.errors import (
    CountryUnknown,
    DatabaseUnavailable,
    FieldError,
    InvalidRequest,
    OperationPending,
    RentalNotActive,
    RentgateError,
    ServiceUnknown,
    UpstreamBadResponse,
)
from app.idempotency import repository as idempotency
from app.idempotency.repository import Claim
from app.operations import ledger
from app.operations.executor import Executor
from app.operations.operation import Operation
from app.operations.states import Kind
from app.rentals import auto_prolong, repository, schemas
from app.rentals.prices import Quote, days_left, fresh_offers, offered_period
from app.rentals.reading import OrderReader
from app.rentals.repository import Row
from app.upstream.wire import RestoreQuote
from app.values import Period, PeriodUnit, amount_text

WEEK = Period(PeriodUnit.WEEK, 1)
"""The period whose price of a day is taken for a rental of which nobody knows how long it was bought for."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A rental after an operation, and whether the operation is settled."""

    rental: schemas.Rental
    settled: bool


class Changes:
    """The operations on existing rentals of all tenants, one caller a call.

    A rental of several services has several orders upstream: such an operation takes one after the other.
    """

    def __init__(
        self,
        database: Database,
        catalog: Catalog,
        calls: UpstreamCalls,
        executor: Executor[schemas.Rental],
        reader: OrderReader,
    ) -> None:
        self._database = database
        self._catalog = catalog
        self._calls = calls
        self._executor = executor
        self._reader = reader

    async def activate(self, caller: Caller, rental_id: UUID, claim: Claim | None) -> Outcome:
        """Have a number activated, so that it can receive.

        Raises:
            RentalNotActive: the rental has no living order.
            OperationPending: another operation on it is open.
            RentgateError: the upstream's refusal.
        """

        def request_for(rental: Row, orders: Sequence[Row]) -> dict[str, Any]:
            return {"orders": [_named(order) for order in _living(rental, orders)[:1]]}

        return await self._run(caller, Kind.ACTIVATE, rental_id, request_for, claim=claim)

    async def restore_quote(self, caller: Caller, rental_id: UUID) -> RestoreQuote:
        """What restoring a rental would cost now: all its orders, told of the first.

        Raises:
            RentgateError: the rental can't be restored, and why.
        """
        quotes = await self._restore_quotes(caller, rental_id)
        return quotes[0].costing(sum((quote.price for quote in quotes), Decimal(0)))

    async def _restore_quotes(self, caller: Caller, rental_id: UUID) -> list[RestoreQuote]:
        rental, orders = await self._read_whole(caller, rental_id)
        return [
            await self._calls.read(
                caller,
                rental.upstream_key_id,
                "restore_user_precalc",
                lambda client, api_key, order_id=order.upstream_order_id: client.restore_quote(  # type: ignore[misc]
                    api_key, order_id=order_id
                ),
            )
            for order in _restorable(rental, orders)
        ]

    async def restore(
        self, caller: Caller, rental_id: UUID, max_price: Decimal | None, claim: Claim | None
    ) -> Outcome:
        """Restore a rental after its end, once, for the price that is quoted now.

        Raises:
            PriceAboveMax: the quote is higher than `max_price` (US dollars).
            RentgateError: nothing was restored, and why.
        """
        quotes = await self._restore_quotes(caller, rental_id)
        prices = {quote.order_id: quote.price for quote in quotes}
        quote = Quote(tuple(prices.values())).within(max_price)

        def request_for(rental: Row, orders: Sequence[Row]) -> dict[str, Any]:
            return {
                "orders": [_named(o, prices.get(o.upstream_order_id)) for o in _restorable(rental, orders)],
                "phone_number": rental.phone_number,
                "max_price": _text(max_price),
            }

        return await self._run(
            caller, Kind.RESTORE, rental_id, request_for, claim=claim, price=quote.total, read_back=True
        )

    async def prolong(
        self,
        caller: Caller,
        rental_id: UUID,
        period: Period,
        max_price: Decimal | None,
        claim: Claim | None,
        *,
        automatic_for: datetime | None = None,
    ) -> Outcome:
        """Prolong a rental; whether it can be is the upstream's to say.

        Args:
            automatic_for: by its own plan, for this end, once.

        Raises:
            PriceAboveMax: it would cost more than `max_price` (US dollars).
            RentgateError: nothing was prolonged, and why.
        """
        rental, living = await self._with_ends(caller, rental_id)
        offers = await self._offers(caller, rental, period, [order.service for order in living])
        quote = Quote(tuple(offer.total_price if offer else None for offer in offers)).within(max_price)
        prices = dict(zip((order.upstream_order_id for order in living), quote.parts, strict=True))

        def request_for(rental: Row, orders: Sequence[Row]) -> dict[str, Any]:
            living = _living(rental, orders)
            if any(order.expires_at is None for order in living):
                raise UpstreamBadResponse("The upstream doesn't tell when the rental ends. Nothing was sent.")
            _require_known_ends(living)  # which are what will tell whether the call was made
            return {
                "orders": [_named(order, prices.get(order.upstream_order_id)) for order in living],
                "period": {"unit": period.unit.value, "count": period.count},
                "max_price": _text(max_price),
                "automatic": automatic_for is not None,
            }

        return await self._run(
            caller,
            Kind.PROLONG,
            rental_id,
            request_for,
            claim=claim,
            price=quote.total,
            read_back=True,
            noting=None if automatic_for is None else partial(auto_prolong.tried, end=automatic_for),
        )

    async def prolong_by_plan(self, caller: Caller, rental_id: UUID) -> None:
        """Prolong a rental that ends soon as its tenant wants it to be, unless somebody did so meanwhile."""
        access = Access.tenant(caller.tenant_id)
        async with self._database.transaction(access) as connection:
            rental = await repository.locked(connection, caller.tenant_id, rental_id)
        plan, end = auto_prolong.plan_of(rental), rental.expires_at
        if plan is None:
            return
        try:
            await self.prolong(caller, rental_id, plan.period, plan.max_price, None, automatic_for=end)
        except RentgateError as error:
            async with self._database.transaction(access) as connection:
                rental = await repository.locked(connection, caller.tenant_id, rental_id)
                if auto_prolong.plan_of(rental) is not None:  # else what became of the operation was told
                    await auto_prolong.failed(connection, caller, rental_id, error, end=end)

    async def add_service(
        self,
        caller: Caller,
        rental_id: UUID,
        service: str,
        max_price: Decimal | None,
        claim: Claim | None,
        *,
        days: int | None = None,
    ) -> Outcome:
        """Rent a rental's number for another service too.

        Args:
            days: for how long; until the rental's end if None.

        Raises:
            ServiceUnknown: the country has no such service.
            InvalidRequest: the rental has it already.
            RentgateError: nothing was added, and why.
        """
        rental, living = await self._with_ends(caller, rental_id)
        end = living[0].expires_at
        if days is not None:
            bought = offered_period(days)
        elif rental.period_unit:
            bought = Period(PeriodUnit(rental.period_unit), rental.period_count)
        else:
            bought = WEEK
        (offer,) = await self._offers(caller, rental, bought, [service], required=True)
        paid_days = days_left(end) if days is None and end is not None else days
        price = None if offer is None or paid_days is None else offer.price_per_day * paid_days
        quote = Quote((price,)).within(max_price)
        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
            known = await repository.order_ids_of_number(
                connection, caller.tenant_id, rental.upstream_key_id, rental.phone_number
            )

        def request_for(rental: Row, orders: Sequence[Row]) -> dict[str, Any]:
            first = _living(rental, orders)[0]
            if days is None:  # then the price hangs on the end
                _require_known_ends([first])
                if first.expires_at != end:
                    raise OperationPending(
                        "The rental's end has just moved, and so the price.", retry_after=1
                    )
            if rental.phone_number is None:
                raise RentalNotActive("The upstream doesn't tell the rental's number.")
            if any(rented["code"] == service for rented in rental.services):
                raise InvalidRequest(
                    fields=(FieldError("body.service", "The rental has this service already."),)
                )
            return {
                "orders": [_named(first, price)],
                "service": service,
                "service_name": offer.name if offer else None,
                "days": days,
                "phone_number": rental.phone_number,
                "country": rental.country,
                "known_orders": known,
                "max_price": _text(max_price),
            }

        return await self._run(
            caller, Kind.ADD_SERVICE, rental_id, request_for, claim=claim, price=quote.total, read_back=True
        )

    async def delete(self, caller: Caller, rental_id: UUID, claim: Claim | None) -> Outcome:
        """Give a rental up before its end; the upstream promises no refund.

        Raises:
            RentalNotActive: it has no living order.
            RentgateError: it was not deleted, and why.
        """

        await self._read_whole(caller, rental_id)

        def request_for(rental: Row, orders: Sequence[Row]) -> dict[str, Any]:
            return {"orders": [_named(order) for order in _living(rental, orders)]}

        return await self._run(caller, Kind.DELETE, rental_id, request_for, claim=claim)

    async def _read(self, caller: Caller, rental_id: UUID) -> tuple[Row, Sequence[Row]]:
        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
            rental = await repository.locked(connection, caller.tenant_id, rental_id)
            return rental, await repository.orders_of(connection, caller.tenant_id, rental_id)

    async def _read_whole(self, caller: Caller, rental_id: UUID) -> tuple[Row, Sequence[Row]]:
        """A rental and all its orders. An answer to a purchase may name but one of several: the others are in
        the account's list.

        Raises:
            RentgateError: that can't be read.
        """
        rental, orders = await self._read(caller, rental_id)
        if rental.status == "active" and _rented(rental) - {order.service for order in orders}:
            await self._reader.read(caller, rental.upstream_key_id)
            rental, orders = await self._read(caller, rental_id)
        return rental, orders

    async def _with_ends(self, caller: Caller, rental_id: UUID) -> tuple[Row, list[Row]]:
        """A rental and its living orders, with their present ends as far as the upstream tells them.

        Raises:
            RentgateError: it has none, or the ends can't be read.
        """
        rental, orders = await self._read_whole(caller, rental_id)
        if any(order.expires_at is None or order.end_outdated for order in _living(rental, orders)):
            await self._reader.read(caller, rental.upstream_key_id)
            rental, orders = await self._read(caller, rental_id)
        return rental, _living(rental, orders)

    async def _offers(
        self, caller: Caller, rental: Row, period: Period, services: list[str], *, required: bool = False
    ) -> list[Offer | None]:
        """Fresh offers of these services in the rental's country, None for what can't be told.

        Raises:
            ServiceUnknown: it is required that there are such, and there are not.
        """
        try:
            country = await self._catalog.country(rental.country or "", caller)
            return await fresh_offers(self._catalog, caller, country, period, services)
        except (CountryUnknown, ServiceUnknown):
            if required:
                raise
            return [None] * len(services)

    async def _run(
        self,
        caller: Caller,
        kind: Kind,
        rental_id: UUID,
        request_for: Callable[[Row, Sequence[Row]], Mapping[str, Any]],
        *,
        claim: Claim | None,
        price: Decimal | None = None,
        read_back: bool = False,
        noting: Callable[[Row], Mapping[str, Any]] | None = None,
    ) -> Outcome:
        """Carry out an operation on a rental, which has to be free for it.

        Args:
            request_for: what is written down of it, given the rental and its orders, locked.
            price: what is held against the tenant's limit, in US dollars.
            read_back: whether its result is only told by the account's orders.
            noting: what else is noted on the rental with the intent.
        """

        async def intend(connection: AsyncConnection) -> Operation:
            rental = await repository.locked(connection, caller.tenant_id, rental_id)
            if rental.pending_operation_id is not None:
                raise OperationPending(retry_after=5, operation_id=str(rental.pending_operation_id))
            orders = await repository.orders_of(connection, caller.tenant_id, rental_id)
            operation = await ledger.commit_intent(
                connection,
                caller,
                kind,
                upstream_key_id=rental.upstream_key_id,
                rental_id=rental_id,
                request=request_for(rental, orders),
                price=price,
            )
            noted = noting(rental) if noting is not None else {}
            await repository.reserve(connection, caller.tenant_id, rental_id, operation.id, **noted)
            if claim is not None:
                await idempotency.attach(connection, claim, operation.id)
            return operation

        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
            key_id = await repository.upstream_key_of(connection, caller.tenant_id, rental_id)
        reached, rental = await self._executor.run(caller, key_id, intend)
        if read_back and not reached.is_open:
            await self._reader.read_back(caller, reached.upstream_key_id)
            with suppress(DatabaseUnavailable):  # what was done is told of all the same
                async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
                    rental = await repository.get(connection, caller.tenant_id, rental_id)
        return Outcome(rental, settled=not reached.is_open)


def _named(order: Row, price: Decimal | None = None) -> dict[str, Any]:
    """An order as an operation's request names it: what a step is about, and how it was before."""
    return {
        "id": order.upstream_order_id,
        "service": order.service,
        "expires_at": None if order.expires_at is None else order.expires_at.isoformat(),
        "price": _text(price),
    }


def _living(rental: Row, orders: Sequence[Row]) -> list[Row]:
    living = [order for order in orders if order.status == "listed"]
    if rental.status in ("pending", "review"):
        raise OperationPending(retry_after=5)
    if rental.status != "active" or not living:
        raise RentalNotActive
    return living


def _rented(rental: Row) -> set[str]:
    """The services that a rental is for."""
    return {service["code"] for service in rental.services}


def _require_known_ends(orders: Sequence[Row]) -> None:
    """See that no order's end may have moved since it was last seen.

    Raises:
        OperationPending: one's may have.
    """
    if any(order.end_outdated for order in orders):
        raise OperationPending("The rental was just prolonged.", retry_after=5)


def _restorable(rental: Row, orders: Sequence[Row]) -> list[Row]:
    """The orders that restoring is about: those that have ended; of a rental that lives, the first, so that
    the upstream says what it thinks of it.
    """
    if rental.status in ("pending", "review"):
        raise OperationPending(retry_after=5)
    if not orders:
        raise RentalNotActive("Nothing was bought for this rental, so there is nothing to restore.")
    return [order for order in orders if order.status == "expired"] or list(orders[:1])


def _text(price: Decimal | None) -> str | None:
    return None if price is None else amount_text(price)
