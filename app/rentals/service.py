"""Renting numbers: from a request to an operation, and to its outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any, TypeVar
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts import schedule
from app.accounts.calls import UpstreamCalls
from app.audit import repository as audit
from app.audit.caller import Caller
from app.audit.repository import Entry
from app.catalog.service import Catalog, Country, Offer, rentable
from app.database import Access, Database, new_id
from app.errors import DatabaseUnavailable, RentalNotActive, RentgateError
from app.idempotency import repository as idempotency
from app.idempotency.repository import Claim
from app.operations import ledger
from app.operations.executor import Executor
from app.operations.operation import Operation
from app.operations.states import Kind
from app.rentals import repository, schemas
from app.rentals.auto_prolong import Plan
from app.rentals.changes import Changes, Outcome
from app.rentals.prices import Quote, fresh_offers
from app.rentals.reading import OrderReader
from app.values import Period, amount_text
from app.vault.service import Vault
from app.vault.stored import UpstreamKey

A = TypeVar("A")
B = TypeVar("B")

MOST_SEEN = 100_000
"""Accounts that a process remembers, by the tenant and what it asked for: they were looked at before."""

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


class _AnotherAccountError(Exception):
    """The account to rent with is not the one any more that was prepared for."""


class Keep(Enum):
    """Stands for what is not to be changed, where None says something else."""

    KEEP = "keep"


KEEP = Keep.KEEP


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What to note on a rental.

    Attributes:
        metadata: in the place of what was noted before; None keeps that.
        prolonging: how it is prolonged by itself; None for not at all.
    """

    metadata: dict[str, str] | None = None
    prolonging: Plan | Keep | None = KEEP


class Rentals:
    """The rentals of all tenants, one caller a call."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        catalog: Catalog,
        *,
        executor: Executor[schemas.Rental],
        calls: UpstreamCalls,
        reader: OrderReader,
        changes: Changes,
    ) -> None:
        self._database = database
        self._vault = vault
        self._catalog = catalog
        self._calls = calls
        self._executor = executor
        self._reader = reader
        self._changes = changes
        self._seen: dict[tuple[UUID, UUID | None], UUID] = {}

    async def purchase(self, caller: Caller, wanted: Purchase, claim: Claim | None) -> Outcome:
        """Rent a number, once.

        Raises:
            RentgateError: nothing was bought; the error says why.
        """
        rentable(wanted.period)
        country = await self._catalog.country(wanted.country, caller)
        async with self._calls.noting(caller) as notes:
            try:
                return await self._purchase(caller, wanted, country, claim, notes)
            except _AnotherAccountError:
                self._seen.pop((caller.tenant_id, wanted.upstream_key_id), None)
                return await self._purchase(caller, wanted, country, claim, notes)

    async def _purchase(
        self, caller: Caller, wanted: Purchase, country: Country, claim: Claim | None, notes: list[Entry]
    ) -> Outcome:
        key_id, offers = await _both(
            self._account(caller, wanted.upstream_key_id),
            fresh_offers(self._catalog, caller, country, wanted.period, wanted.services, notes=notes),
        )
        quote = _quote(offers).within(wanted.max_price)
        request = {
            "country": country.code,
            "upstream_country": country.upstream_code,
            "services": list(wanted.services),
            "service_names": {offer.service: offer.name for offer in offers if offer},
            "period": {"unit": wanted.period.unit.value, "count": wanted.period.count},
            "operator": wanted.operator,
            "activate": wanted.activate,
            "max_price": None if wanted.max_price is None else amount_text(wanted.max_price),
            "metadata": wanted.metadata,
        }

        def still(chosen: UpstreamKey) -> None:
            if chosen.id != key_id:
                raise _AnotherAccountError

        async def intend(connection: AsyncConnection) -> Operation:
            operation = await ledger.commit_intent(
                connection,
                caller,
                Kind.CREATE,
                upstream_key_id=key_id,
                rental_id=new_id(),
                request=request,
                price=quote.total,
                checks=[self._vault.choosing(caller.tenant_id, wanted.upstream_key_id).then(still)],
            )
            if claim is not None:
                await idempotency.attach(connection, claim, operation.id)
            return operation

        reached, rental = await self._executor.run(caller, key_id, intend, notes=notes)
        if not reached.is_open and not _is_told_whole(rental, wanted):
            await self._reader.read_back(caller, key_id)
            with suppress(DatabaseUnavailable):
                rental = await self.get(caller, reached.rental_id)
        if wanted.activate and not reached.is_open:
            await self._activate_bought(caller, reached.rental_id)
            with suppress(DatabaseUnavailable):  # what was bought is told of as it was then
                rental = await self.get(caller, reached.rental_id)
        return Outcome(rental, settled=not reached.is_open)

    async def _account(self, caller: Caller, wanted: UUID | None) -> UUID:
        """The account to rent with, which has been looked at before; as it was last time, if there was one.

        Raises:
            RentgateError: there is none, or it can't be looked at.
        """
        seen = self._seen.get((caller.tenant_id, wanted))
        if seen is not None:
            return seen
        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
            key = await self._vault.chosen(connection, caller.tenant_id, wanted)
            looks = await schedule.state(connection, caller.tenant_id, key.id)
        if looks is None or looks.looked_at is None:
            # Only what was there before can be told from what this purchase makes.
            await self._reader.read(caller, key.id)
        if len(self._seen) >= MOST_SEEN:
            self._seen.clear()
        self._seen[caller.tenant_id, wanted] = key.id
        return key.id

    async def _activate_bought(self, caller: Caller, rental_id: UUID) -> None:
        """Activate what was just bought; a failure never hides the number, and stands in its history."""
        try:
            await self._changes.activate(caller, rental_id, None)
        except RentgateError as error:
            log.info("rental.activation_failed", rental_id=str(rental_id), code=error.code)

    async def get(self, caller: Caller, rental_id: UUID) -> schemas.Rental:
        """One rental.

        Raises:
            RentalNotFound: the tenant has no such rental.
        """
        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
            return await repository.get(connection, caller.tenant_id, rental_id)

    async def describe(self, caller: Caller, rental_id: UUID, change: Change) -> schemas.Rental:
        """Change what is noted on a rental.

        Raises:
            RentalNotFound: the tenant has no such rental.
            RentalNotActive: it is to be prolonged by itself, but has come to its end.
        """
        noted: dict[str, Any] = {}
        if change.metadata is not None:
            noted["metadata"] = change.metadata
        if change.prolonging is not KEEP:
            plan = change.prolonging
            noted["auto_prolong"] = None if plan is None else plan.record()
            noted |= {"auto_prolong_tried_end": None, "auto_prolong_retry_at": None}
        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
            rental = await repository.locked(connection, caller.tenant_id, rental_id)
            if noted.get("auto_prolong") and rental.status not in repository.LIVING:
                raise RentalNotActive
            if noted:
                await repository.store(connection, caller.tenant_id, rental_id, **noted)
                audit.record(
                    connection, caller, "rental.update", target=rental_id, details={"changed": sorted(noted)}
                )
            return await repository.get(connection, caller.tenant_id, rental_id)


async def _both(first: Awaitable[A], second: Awaitable[B]) -> tuple[A, B]:
    """The results of two things done at the same time, both of which have ended also if one failed."""
    tasks = asyncio.ensure_future(first), asyncio.ensure_future(second)
    await asyncio.wait(tasks)
    return tasks[0].result(), tasks[1].result()


def _is_told_whole(rental: schemas.Rental, wanted: Purchase) -> bool:
    """Whether the upstream's answer told all of what was bought: it may name one order of several only, or
    its number and end under names that nobody knows.
    """
    return (
        len(rental.upstream_orders) >= len(wanted.services)
        and rental.phone_number is not None
        and rental.expires_at is not None
    )


def _quote(offers: list[Offer | None]) -> Quote:
    return Quote(tuple(offer.total_price if offer else None for offer in offers))
