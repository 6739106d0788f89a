"""The House: a gateway's services on a database of the test's own, with all that a test does with them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from app.accounts import leases, schedule
from app.accounts.calls import WatchedAccount
from app.audit.caller import Caller, background
from app.database import PLATFORM, WORKER, Access, Database
from app.events import repository as events
from app.idempotency.repository import NO_TENANT
from app.kinds.changes import Outcome
from app.kinds.purchases import Purchase
from app.messages import repository as messages
from app.messages.schemas import Message
from app.operations import lookup, spending
from app.operations.operation import Operation
from app.rentals.schemas import Rental
from app.sandbox.faults import Fault, FaultKind
from app.sandbox.shop import COUNTRIES
from app.sandbox.state import Sandbox
from app.sandbox.world import Arrived, Order
from app.sync.assignments import AssignedAccount, Lease
from app.sync.looks import Lost
from app.sync.watch import Watch
from app.sync.watching import Watching
from app.tenants import service as tenants
from app.upstream_accounts.service import AccountSettings
from app.values import Period, PeriodUnit
from app.wiring import Services

WANTED: dict[str, Any] = {
    "country": "RU",
    "services": ("opt1",),
    "period": Period(PeriodUnit.WEEK, 1),
    "metadata": {},
}
"""What is rented usually."""


@dataclass(frozen=True, slots=True)
class House:
    """A gateway's services with one tenant, its upstream account, and the sandbox behind it."""

    services: Services
    sandbox: Sandbox
    tenant_id: UUID
    key_id: UUID
    api_key: str

    @property
    def database(self) -> Database:
        """The gateway's database."""
        return self.services.database

    @property
    def caller(self) -> Caller:
        """Somebody of the tenant."""
        return Caller(self.tenant_id, "api_key:test", "127.0.0.1", "req-1")

    @property
    def tenant(self) -> Access:
        """The tenant's own access."""
        return Access.tenant(self.tenant_id)

    async def look(self) -> None:
        """Have a worker of the test's own poll the account once, unless another one has it."""
        built, lease = self.services, Lease()
        poller = Watching(built.database, built.looker, built.pace, built.notifications, built.metrics)
        async with self.database.transaction(WORKER) as connection:
            lease.renew(await leases.register(connection, lease.holder, 60), time.monotonic(), 60)
            await schedule.make_due(connection, self.tenant_id, self.key_id)
            taken = await leases.take(connection, lease.holder, 1_000)
        for one in taken:
            if one.upstream_key_id == self.key_id:
                watch = Watch(WatchedAccount(one.tenant_id, one.upstream_key_id), one.failures)
                account = AssignedAccount(watch, time.monotonic(), requested=one.requested)
                with contextlib.suppress(Lost):
                    await poller.poll(account, lease)
                await poller.give_back(account, lease)
        async with self.database.transaction(WORKER) as connection:
            await leases.reap(connection, lease.holder)

    async def refresh(self, rental_id: UUID) -> bool:
        """Refresh a rental as the tenant's caller, with a worker of the test's own polling."""
        asking = asyncio.ensure_future(self.services.refresher.refresh(self.caller, rental_id))
        while not asking.done():
            await self.look()
        return await asking

    async def buy(self, **changes: Any) -> Outcome:
        """Rent a number; `changes` are to what is wanted usually."""
        wanted = Purchase(**{**WANTED, **changes})
        return await self.services.purchases.purchase(self.caller, wanted, None)

    async def rental(self, rental_id: UUID) -> Rental:
        """A rental as it is shown now."""
        return await self.services.rentals.get(self.caller, rental_id)

    async def operations(self) -> list[Operation]:
        """The tenant's operations, newest first."""
        async with self.database.transaction(self.tenant) as connection:
            return await lookup.listed(
                connection, self.tenant_id, state=None, kind=None, rental_id=None, limit=100, before=None
            )

    async def history(self, rental_id: UUID) -> list[str]:
        """The types of a rental's events, oldest first."""
        async with self.database.transaction(self.tenant) as connection:
            rows = await events.of_rental(connection, self.tenant_id, rental_id, limit=100, before=None)
        return [row.type for row in reversed(rows)]

    async def look_until_settled(self, rental_id: UUID) -> Rental:
        """Poll until no operation on a rental is open."""
        for _ in range(200):
            await self.look()
            found = await self.rental(rental_id)
            if found.pending_operation is None:
                return found
            await asyncio.sleep(0.02)
        raise AssertionError("the operation was never settled")

    def fault(self, method: str, kind: FaultKind, when: str = "before", **more: Any) -> None:
        """Have a call of the upstream go wrong."""
        fault = Fault.model_validate({"method": method, "kind": kind, "when": when, **more})
        self.sandbox.faults.waiting.append(fault)

    def charged(self) -> list[str]:
        """The methods that the upstream has charged for."""
        return [entry["method"] for entry in self.sandbox.world.ledger]

    def asked(self, method: str) -> int:
        """How often the upstream was asked by a method."""
        return len([call for call in self.sandbox.calls if call["method"] == method])

    def order_from_elsewhere(self, service: str = "opt1", days: int = 7) -> Order:
        """An order that somebody made on the provider's page."""
        world = self.sandbox.world
        account = world.accounts[self.api_key]
        return world.new_order(account, world.new_number(COUNTRIES["RU"]), service, days)

    async def given_up(self) -> UUID:
        """A purchase that hung, and proved absent for the whole time; its rental's id."""
        self.fault("create", FaultKind.HANG, seconds=20)
        pending = (await self.buy()).rental
        assert (await self.look_until_settled(pending.id)).status == "failed"
        return pending.id

    async def spent(self) -> Decimal:
        """What the tenant has spent this month, with nothing held, in US dollars."""
        async with self.database.transaction(self.tenant) as connection:
            month = await spending.this_month(connection, self.tenant_id)
        assert month.held == 0
        return month.spent

    def arrive(self, text: str, *, service: str = "opt1", at: float | None = None) -> None:
        """Have an SMS come for the first order."""
        (order,) = list(self.sandbox.world.living.values())[:1]
        order.number.messages.append(Arrived(service, "Google", text, at or time.time()))

    async def kept(self, rental_id: UUID) -> list[Message]:
        """A rental's messages as they are kept, in the order of arrival."""
        async with self.database.transaction(self.tenant) as connection:
            found = await messages.after(
                connection, self.tenant_id, rental_id, scope=None, position=0, limit=200
            )
        assert [position for position, _ in found] == list(range(1, len(found) + 1))
        return [message for _, message in found]


async def add_tenant(built: Services, name: str = "test") -> UUID:
    """A new tenant."""
    async with built.database.transaction(PLATFORM) as connection:
        return (await tenants.create_tenant(connection, background(NO_TENANT), name=name)).id


async def add_account(
    built: Services,
    tenant_id: UUID,
    api_key: str | None = None,
    *,
    label: str = "a",
    reference: str | None = None,
) -> UUID:
    """A further upstream account of a tenant's."""
    accounts, settings = built.upstream_accounts, AccountSettings(label=label)
    secret = await accounts.secret(tenant_id, api_key, reference=reference)
    async with built.database.transaction(Access.tenant(tenant_id)) as connection:
        return (await accounts.add(connection, background(tenant_id), secret, settings)).id
