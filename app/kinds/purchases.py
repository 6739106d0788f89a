"""Renting numbers: from what a caller wants to an operation of kind `create`, and to its outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar
from uuid import UUID

import structlog

from app.accounts import schedule
from app.accounts.calls import UpstreamCalls
from app.audit.caller import Caller
from app.audit.repository import Entry
from app.catalog.service import Catalog, Country, rentable
from app.database import Access, Database, new_id
from app.errors import DatabaseUnavailable, RentgateError
from app.idempotency import repository as idempotency
from app.idempotency.repository import Claim
from app.kinds import create
from app.kinds.activate import activate
from app.kinds.changes import Changes, Outcome
from app.kinds.create import CreateRequest
from app.kinds.prices import Quote, fresh_offers
from app.operations import ledger
from app.operations.executor import Executor
from app.rentals import schemas
from app.rentals.reading import OrderReader
from app.rentals.service import Rentals
from app.values import Period
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


class Purchases:
    """Rents numbers, for all tenants, one caller a call."""

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
        rentals: Rentals,
    ) -> None:
        self._database = database
        self._vault = vault
        self._catalog = catalog
        self._calls = calls
        self._executor = executor
        self._reader = reader
        self._changes = changes
        self._rentals = rentals
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
        quote = Quote.of(offers).within(wanted.max_price)
        request = CreateRequest(
            country=country.code,
            upstream_country=country.upstream_code,
            services=wanted.services,
            service_names={offer.service: offer.name for offer in offers if offer},
            period=wanted.period,
            operator=wanted.operator,
            activate=wanted.activate,
            max_price=wanted.max_price,
            metadata=wanted.metadata,
        )

        def still(chosen: UpstreamKey) -> None:
            if chosen.id != key_id:
                raise _AnotherAccountError

        await self._calls.make_ready(caller.tenant_id, key_id)
        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
            operation = await ledger.commit_intent(
                connection,
                caller,
                create.KIND,
                upstream_key_id=key_id,
                rental_id=new_id(),
                request=request.record(),
                price=quote.total,
                checks=[self._vault.choosing(caller.tenant_id, wanted.upstream_key_id).then(still)],
            )
            if claim is not None:
                await idempotency.attach(connection, claim, operation.id)
            turn = await self._executor.take_turn(connection, caller, operation, notes)
        notes.clear()
        reached, rental = await self._executor.carry_out(operation, turn)
        if not reached.is_open and not _is_told_whole(rental, wanted):
            await self._reader.read_back(caller, key_id)
            with suppress(DatabaseUnavailable):
                rental = await self._rentals.get(caller, reached.rental_id)
        if wanted.activate and not reached.is_open:
            await self._activate_bought(caller, reached.rental_id)
            with suppress(DatabaseUnavailable):  # what was bought is told of as it was then
                rental = await self._rentals.get(caller, reached.rental_id)
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
            await activate(self._changes, caller, rental_id, None)
        except RentgateError as error:
            log.info("rental.activation_failed", rental_id=str(rental_id), code=error.code)


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
