"""Renting numbers: from what a caller wants to an operation of kind `create`, and to its outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeVar
from uuid import UUID

import structlog

from app.accounts import schedule
from app.audit.caller import Caller
from app.audit.repository import Entry
from app.catalog.service import rentable
from app.database import Access, new_id
from app.errors import DatabaseUnavailable
from app.idempotency import repository as idempotency
from app.idempotency.repository import Claim
from app.kinds import create
from app.kinds.activate import activate_bought
from app.kinds.changes import Changes, Outcome
from app.kinds.create import CreateRequest
from app.kinds.prices import Quote, fresh_offers
from app.operations import ledger
from app.rentals import schemas
from app.upstream.wire import Country
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

    def __post_init__(self) -> None:
        """Raises:
        PeriodInvalid: numbers are not rented for so long.
        """
        rentable(self.period)


class _AnotherAccountError(Exception):
    """The account to rent with is not the one any more that was prepared for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchases:
    """Rents numbers, for all tenants, one caller a call."""

    vault: Vault
    changes: Changes
    _seen: dict[tuple[UUID, UUID | None], UUID] = field(default_factory=dict, init=False)

    async def purchase(self, caller: Caller, wanted: Purchase, claim: Claim | None) -> Outcome:
        """Rent a number, once.

        Raises:
            RentgateError: nothing was bought; the error says why.
        """
        country = await self.changes.catalog.country(wanted.country, caller)
        async with self.changes.calls.noting(caller) as notes:
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
            fresh_offers(self.changes.catalog, caller, country, wanted.period, wanted.services, notes=notes),
        )
        quote = Quote.of(offers, wanted.period).within(wanted.max_price)
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

        await self.changes.calls.keys.make_ready(caller.tenant_id, key_id)
        async with self.changes.database.transaction(Access.tenant(caller.tenant_id)) as connection:
            operation = await ledger.commit_intent(
                connection,
                caller,
                create.KIND,
                upstream_key_id=key_id,
                rental_id=new_id(),
                request=request.record(),
                price=quote.total,
                checks=[self.vault.choosing(caller.tenant_id, wanted.upstream_key_id).then(still)],
            )
            if claim is not None:
                await idempotency.attach(connection, claim, operation.id)
            turn = await self.changes.executor.take_turn(connection, caller, operation, notes)
        notes.clear()
        reached, rental = await self.changes.executor.carry_out(operation, turn)
        if not reached.is_open and not _is_told_whole(rental, wanted):
            await self.changes.reader.read_back(caller, key_id)
            with suppress(DatabaseUnavailable):
                rental = await self.changes.rentals.get(caller, reached.rental_id)
        if wanted.activate and not reached.is_open:
            await activate_bought(self.changes, caller, reached.rental_id)
            with suppress(DatabaseUnavailable):  # what was bought is told of as it was then
                rental = await self.changes.rentals.get(caller, reached.rental_id)
        return Outcome(rental, settled=not reached.is_open)

    async def _account(self, caller: Caller, wanted: UUID | None) -> UUID:
        """The account to rent with, which has been looked at before; as it was last time, if there was one.

        Raises:
            RentgateError: there is none, or it can't be looked at.
        """
        seen = self._seen.get((caller.tenant_id, wanted))
        if seen is not None:
            return seen
        async with self.changes.database.transaction(Access.tenant(caller.tenant_id)) as connection:
            key = await self.vault.chosen(connection, caller.tenant_id, wanted)
            looks = await schedule.state(connection, caller.tenant_id, key.id)
        if looks is None or looks.looked_at is None:
            # Only what was there before can be told from what this purchase makes.
            await self.changes.reader.read(caller, key.id)
        if len(self._seen) >= MOST_SEEN:
            self._seen.clear()
        self._seen[caller.tenant_id, wanted] = key.id
        return key.id


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
