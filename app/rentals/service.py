"""Renting, activating and restoring numbers: from a request to an operation, and to its outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

import structlog

from app.accounts import schedule
from app.accounts.calls import UpstreamCalls
from app.audit import repository as audit
from app.audit.caller import Caller
from app.catalog.service import Catalog, Country, Offer, rentable
from app.database import Access, Database, new_id
from app.errors import (
    OperationPending,
    PriceAboveMax,
    PriceUnknown,
    RentalNotActive,
    RentgateError,
    ServiceUnknown,
)
from app.idempotency import repository as idempotency
from app.idempotency.repository import Claim
from app.operations import ledger
from app.operations.executor import Executor
from app.operations.ledger import Operation
from app.operations.states import Kind
from app.rentals import intake, repository, schemas
from app.rentals.plans import activation_plan, purchase_plan, restore_plan
from app.rentals.repository import Row
from app.upstream.wire import RestoreQuote
from app.values import Period, amount_text
from app.vault.service import Vault

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """What a caller wants to rent. `max_price` is US dollars for the whole of it."""

    country: str
    services: tuple[str, ...]
    period: Period
    operator: str | None = None
    activate: bool = False
    max_price: Decimal | None = None
    upstream_key_id: UUID | None = None
    metadata: dict[str, str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A rental after an operation, and whether the operation is settled."""

    rental: schemas.Rental
    settled: bool


class Rentals:
    """The rentals of all tenants, one caller a call."""

    def __init__(
        self, database: Database, vault: Vault, catalog: Catalog, calls: UpstreamCalls, executor: Executor
    ) -> None:
        self._database = database
        self._vault = vault
        self._catalog = catalog
        self._calls = calls
        self._executor = executor

    async def purchase(self, caller: Caller, wanted: Purchase, claim: Claim | None) -> Outcome:
        """Rent a number, once.

        Raises:
            RentgateError: nothing was bought; the error says why.
        """
        rentable(wanted.period)
        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
            key = await self._vault.chosen(connection, caller.tenant_id, wanted.upstream_key_id)
            looks = await schedule.state(connection, caller.tenant_id, key.id)
        if looks is None or looks.looked_at is None:
            # Only what was there before can be told from what this purchase makes.
            await self._read_orders(caller, key.id)
        country = await self._catalog.country(wanted.country, caller)
        offers = await self._offers(caller, country, wanted)
        price = _total(offers, wanted)
        request = {
            "country": country.code,
            "upstream_country": country.upstream_code,
            "services": list(wanted.services),
            "service_names": {offer.service: offer.name for offer in offers},
            "period": {"unit": wanted.period.unit.value, "count": wanted.period.count},
            "operator": wanted.operator,
            "activate": wanted.activate,
            "max_price": None if wanted.max_price is None else amount_text(wanted.max_price),
            "metadata": wanted.metadata,
        }
        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
            operation = await ledger.commit_intent(
                connection,
                caller,
                Kind.CREATE,
                upstream_key_id=key.id,
                rental_id=new_id(),
                request=request,
                price=price,
            )
            if claim is not None:
                await idempotency.attach(connection, claim, operation.id)
        reached = await self._executor.run(operation, purchase_plan(operation))
        if wanted.activate and not reached.is_open:
            await self._activate_bought(caller, reached.rental_id)
        return await self._outcome(reached)

    async def _offers(self, caller: Caller, country: Country, wanted: Purchase) -> Sequence[Offer]:
        """The offers of the wanted services, as they are now; empty if they can't be had."""
        try:
            offers = await self._catalog.fresh_offers(country, wanted.period, caller)
        except RentgateError as error:
            if wanted.max_price is not None:
                raise PriceUnknown(upstream=error.upstream) from None
            return ()
        by_service = {offer.service: offer for offer in offers}
        for service in wanted.services:
            if service not in by_service:
                raise ServiceUnknown(f"{country.code} has no service {service!r} for this period.")
        return [by_service[service] for service in wanted.services]

    async def _activate_bought(self, caller: Caller, rental_id: UUID) -> None:
        """Activate what was just bought; a failure never hides the number, and stands in its history."""
        try:
            await self.activate(caller, rental_id, None)
        except RentgateError as error:
            log.info("rental.activation_failed", rental_id=str(rental_id), code=error.code)

    async def activate(self, caller: Caller, rental_id: UUID, claim: Claim | None) -> Outcome:
        """Have a number activated, so that it can receive.

        Raises:
            RentalNotActive: the rental has no living order.
            OperationPending: another operation on it is open.
            RentgateError: the upstream's refusal.
        """

        def request_for(rental: Row, orders: Sequence[Row]) -> dict[str, object]:
            if rental.status != "active" or not orders:
                raise RentalNotActive
            return {"upstream_order_id": orders[0].upstream_order_id}

        operation = await self._intend(caller, Kind.ACTIVATE, rental_id, request_for, price=None, claim=claim)
        reached = await self._executor.run(operation, activation_plan(operation))
        return await self._outcome(reached)

    async def restore_quote(self, caller: Caller, rental_id: UUID) -> RestoreQuote:
        """What restoring a rental would cost now.

        Raises:
            RentgateError: the rental can't be restored, and why.
        """
        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
            rental = await repository.locked(connection, caller.tenant_id, rental_id)
            orders = await repository.orders_of(connection, caller.tenant_id, rental_id)
        order_id = _restorable_order(rental, orders).upstream_order_id
        return await self._calls.read(
            caller,
            rental.upstream_key_id,
            "restore_user_precalc",
            lambda client, api_key: client.restore_quote(api_key, order_id=order_id),
        )

    async def restore(
        self, caller: Caller, rental_id: UUID, max_price: Decimal | None, claim: Claim | None
    ) -> Outcome:
        """Restore a rental after its end, once, for the price that is quoted now.

        Raises:
            PriceAboveMax: the quote is higher than `max_price` (US dollars).
            RentgateError: nothing was restored, and why.
        """
        quote = await self.restore_quote(caller, rental_id)
        if max_price is not None and quote.price > max_price:
            raise PriceAboveMax(f"Restoring costs {amount_text(quote.price)} USD.", required=quote.price)

        def request_for(rental: Row, orders: Sequence[Row]) -> dict[str, object]:
            order = _restorable_order(rental, orders)
            return {
                "upstream_order_id": order.upstream_order_id,
                "phone_number": rental.phone_number,
                "service": order.service,
                "max_price": None if max_price is None else amount_text(max_price),
            }

        operation = await self._intend(
            caller, Kind.RESTORE, rental_id, request_for, price=quote.price, claim=claim
        )
        reached = await self._executor.run(operation, restore_plan(operation))
        if not reached.is_open:
            await self._read_back(caller, reached.upstream_key_id)
        return await self._outcome(reached)

    async def get(self, caller: Caller, rental_id: UUID) -> schemas.Rental:
        """One rental.

        Raises:
            RentalNotFound: the tenant has no such rental.
        """
        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
            return await repository.get(connection, caller.tenant_id, rental_id)

    async def describe(self, caller: Caller, rental_id: UUID, metadata: dict[str, str]) -> schemas.Rental:
        """Replace a rental's metadata.

        Raises:
            RentalNotFound: the tenant has no such rental.
        """
        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
            await repository.locked(connection, caller.tenant_id, rental_id)
            await repository.describe(connection, caller.tenant_id, rental_id, metadata)
            await audit.record(connection, caller, "rental.update", target=rental_id)
            return await repository.get(connection, caller.tenant_id, rental_id)

    async def _intend(
        self,
        caller: Caller,
        kind: Kind,
        rental_id: UUID,
        request_for: Callable[[Row, Sequence[Row]], dict[str, object]],
        *,
        price: Decimal | None,
        claim: Claim | None,
    ) -> Operation:
        """Commit the intent to change a rental that exists, which has to be free for it."""
        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
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
            await repository.reserve(connection, caller.tenant_id, rental_id, operation.id)
            if claim is not None:
                await idempotency.attach(connection, claim, operation.id)
            return operation

    async def _read_back(self, caller: Caller, upstream_key_id: UUID) -> None:
        """Read an account's orders after a change; should that fail, the worker's next look does it."""
        try:
            await self._read_orders(caller, upstream_key_id)
        except RentgateError as error:
            log.info("rental.read_back_failed", code=error.code)

    async def _read_orders(self, caller: Caller, upstream_key_id: UUID) -> None:
        looked_from = await self._database.clock()
        orders = await self._calls.read(
            caller, upstream_key_id, "orders", lambda client, api_key: client.orders(api_key)
        )
        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
            await schedule.lock(connection, caller.tenant_id, upstream_key_id)
            await intake.take_in(connection, caller, upstream_key_id, orders, looked_from)
            await schedule.note_seen(connection, caller.tenant_id, upstream_key_id)

    async def _outcome(self, operation: Operation) -> Outcome:
        async with self._database.transaction(Access.tenant(operation.tenant_id)) as connection:
            rental = await repository.get(connection, operation.tenant_id, operation.rental_id)
        return Outcome(rental, settled=not operation.is_open)


def _total(offers: Sequence[Offer], wanted: Purchase) -> Decimal | None:
    """The price of all wanted services, None if there is no offer to tell it.

    Raises:
        PriceAboveMax: it is higher than what the caller would pay.
    """
    if not offers:
        return None
    total = sum((offer.total_price for offer in offers), Decimal(0))
    if wanted.max_price is not None and total > wanted.max_price:
        raise PriceAboveMax(f"The price is {amount_text(total)} USD.", required=total)
    return total


def _restorable_order(rental: Row, orders: Sequence[Row]) -> Row:
    if rental.status in ("pending", "review"):
        raise OperationPending(retry_after=5)
    if not orders:
        raise RentalNotActive("Nothing was bought for this rental, so there is nothing to restore.")
    return orders[0]
