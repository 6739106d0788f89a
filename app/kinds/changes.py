"""What the kinds that change a rental have in common: reading it, its offers, and carrying the change out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from app.accounts.calls import UpstreamCalls
from app.audit.caller import Caller
from app.catalog.service import Catalog
from app.database import Access, Database
from app.errors import (
    CountryUnknown,
    DatabaseUnavailable,
    OperationPending,
    RentalNotActive,
    ServiceUnknown,
)
from app.idempotency import repository as idempotency
from app.idempotency.repository import Claim
from app.kinds.kind import Kind
from app.kinds.prices import fresh_offers
from app.operations import ledger
from app.operations.executor import Executor
from app.operations.request import Request, Step
from app.rentals import repository, schemas
from app.rentals.reading import OrderReader
from app.rentals.repository import Row
from app.rentals.service import Rentals
from app.upstream.wire import Offer
from app.values import Period


class ChangeRequest(Request):
    """What a change of a rental is asked to do: one step for each of its orders that it is about."""

    orders: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A rental after an operation, and whether the operation is settled."""

    rental: schemas.Rental
    settled: bool


@dataclass(frozen=True, slots=True)
class Changes:
    """What operations on existing rentals are made with; those of all tenants, one caller a call.

    A rental of several services has several orders upstream: such an operation takes one after the other.
    """

    database: Database
    catalog: Catalog
    calls: UpstreamCalls
    executor: Executor[schemas.Rental]
    reader: OrderReader
    rentals: Rentals

    async def read_whole(self, caller: Caller, rental_id: UUID) -> tuple[Row, Sequence[Row]]:
        """A rental and all its orders. An answer to a purchase may name but one of several: the others are in
        the account's list.

        Raises:
            RentgateError: that can't be read.
        """
        rental, orders = await self._read(caller, rental_id)
        rented = {service["code"] for service in rental.services}
        if rental.status == "active" and rented - {order.service for order in orders}:
            await self.reader.read(caller, rental.upstream_key_id)
            rental, orders = await self._read(caller, rental_id)
        return rental, orders

    async def with_ends(self, caller: Caller, rental_id: UUID) -> tuple[Row, list[Row]]:
        """A rental and its living orders, with their present ends as far as the upstream tells them.

        Raises:
            RentgateError: it has none, or the ends can't be read.
        """
        rental, orders = await self.read_whole(caller, rental_id)
        if any(order.expires_at is None or order.end_outdated for order in living(rental, orders)):
            await self.reader.read(caller, rental.upstream_key_id)
            rental, orders = await self._read(caller, rental_id)
        return rental, living(rental, orders)

    async def offers(
        self, caller: Caller, rental: Row, period: Period, services: list[str], *, required: bool = False
    ) -> list[Offer | None]:
        """Fresh offers of these services in the rental's country, None for what can't be told.

        Raises:
            ServiceUnknown: it is required that there are such, and there are not.
        """
        try:
            country = await self.catalog.country(rental.country or "", caller)
            return await fresh_offers(self.catalog, caller, country, period, services)
        except (CountryUnknown, ServiceUnknown):
            if required:
                raise
            return [None] * len(services)

    async def run(
        self,
        caller: Caller,
        kind: Kind,
        rental_id: UUID,
        request_for: Callable[[Row, Sequence[Row]], Request],
        *,
        claim: Claim | None,
        price: Decimal | None = None,
        read_back: bool = False,
        noting: Callable[[Row], Mapping[str, Any]] | None = None,
    ) -> Outcome:
        """Carry out an operation on a rental, which has to be free for it.

        Args:
            request_for: what is asked, given the rental and its orders, locked.
            price: what is held against the tenant's limit, in US dollars.
            read_back: whether its result is only told by the account's orders.
            noting: what else is noted on the rental with the intent.
        """
        tenant = Access.tenant(caller.tenant_id)
        async with self.database.transaction(tenant) as connection:
            key_id = await repository.upstream_key_of(connection, caller.tenant_id, rental_id)
        await self.calls.keys.make_ready(caller.tenant_id, key_id)
        async with self.database.transaction(tenant) as connection:
            rental = await repository.locked(connection, caller.tenant_id, rental_id)
            if rental.pending_operation_id is not None:
                raise OperationPending(retry_after=5, operation_id=str(rental.pending_operation_id))
            orders = await repository.orders_of(connection, caller.tenant_id, rental_id)
            request, noted = request_for(rental, orders), noting(rental) if noting is not None else {}
            operation = await ledger.commit_intent(
                connection,
                caller,
                kind,
                upstream_key_id=rental.upstream_key_id,
                rental_id=rental_id,
                request=request.record(),
                price=price,
            )
            await repository.reserve(connection, caller.tenant_id, rental_id, operation.id, **noted)
            if claim is not None:
                await idempotency.attach(connection, claim, operation.id)
            turn = await self.executor.take_turn(connection, caller, operation)
        reached, shown = await self.executor.carry_out(operation, turn)
        if read_back and not reached.is_open:
            await self.reader.read_back(caller, reached.upstream_key_id)
            with suppress(DatabaseUnavailable):  # what was done is told of all the same
                shown = await self.rentals.get(caller, rental_id)
        return Outcome(shown, settled=not reached.is_open)

    async def _read(self, caller: Caller, rental_id: UUID) -> tuple[Row, Sequence[Row]]:
        async with self.database.transaction(Access.tenant(caller.tenant_id)) as connection:
            rental = await repository.locked(connection, caller.tenant_id, rental_id)
            return rental, await repository.orders_of(connection, caller.tenant_id, rental_id)


def step_of(order: Row, price: Decimal | None = None) -> Step:
    """The step that is about an order, as that is now."""
    return Step(id=order.upstream_order_id, service=order.service, expires_at=order.expires_at, price=price)


def living(rental: Row, orders: Sequence[Row]) -> list[Row]:
    """The orders of a rental that the upstream lists.

    Raises:
        OperationPending: it is not known yet which it has.
        RentalNotActive: it has none.
    """
    listed = [order for order in orders if order.status == "listed"]
    if rental.status in ("pending", "review"):
        raise OperationPending(retry_after=5)
    if rental.status != "active" or not listed:
        raise RentalNotActive
    return listed


def require_known_ends(orders: Sequence[Row]) -> None:
    """See that no order's end may have moved since it was last seen.

    Raises:
        OperationPending: one's may have.
    """
    if any(order.end_outdated for order in orders):
        raise OperationPending("The rental was just prolonged.", retry_after=5)
