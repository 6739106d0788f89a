"""The whole work of the gateway, for tests that watch what it does while it does everything."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

from app.accounts import balances
from app.audit import repository as audit
from app.audit.repository import AuditFilter
from app.database import PLATFORM, WORKER, new_id
from app.events import repository as events
from app.events.types import EventType
from app.idempotency import repository as idempotency
from app.kinds.activate import activate
from app.kinds.add_service import add_service
from app.kinds.delete import delete
from app.kinds.prolong import prolong
from app.kinds.purchases import Purchase
from app.kinds.registry import KindName
from app.kinds.restore import restore
from app.messages import repository as messages
from app.operations import lookup
from app.operations.states import State
from app.overview import overview
from app.rentals import views
from app.rentals.auto_prolong import Plan
from app.rentals.service import Change
from app.rentals.views import RentalFilter
from app.settlement.recovery import adopt_orphans
from app.sync.watching import NOTE_SECONDS
from app.tenants import service as tenants
from app.values import Period, PeriodUnit
from app.webhooks import claims, deliveries
from app.webhooks import repository as webhooks
from app.worker import Worker
from tests.integration.house import House

WEEK = Period(PeriodUnit.WEEK, 1)


async def everything(house: House) -> None:
    """The whole work of the gateway, with each query that a caller can cause."""
    caller, tenant_id = house.caller, house.tenant_id
    services = house.services
    account = house.sandbox.world.accounts[house.api_key]
    account.balance = Decimal(10**6)
    wanted = Purchase(country="RU", services=("opt1", "opt2"), period=WEEK, metadata={})
    bought = (await services.purchases.purchase(caller, wanted, None)).rental
    await house.look()
    await activate(services.changes, caller, bought.id, None)
    await add_service(services.changes, caller, bought.id, "opt20", max_price=None, claim=None)
    await prolong(services.changes, caller, bought.id, WEEK, max_price=None, claim=None)
    await services.rentals.describe(caller, bought.id, Change(prolonging=Plan(WEEK, None)))
    await house.look()
    await asyncio.sleep(0.1)  # past the interval
    await house.refresh(bought.id)
    house.sandbox.world.age(20 * 86_400)
    for _ in range(4):
        await house.look()
    await restore(services.changes, caller, bought.id, max_price=None, claim=None)
    await delete(services.changes, caller, bought.id, None)
    await house.look()
    moment = datetime.now(UTC) - timedelta(days=1)
    before = new_id()

    async def within(ask: Callable[[Any], Awaitable[Any]]) -> None:
        async with house.database.transaction(house.tenant) as connection:
            await ask(connection)

    for rental_filter in (
        RentalFilter(),
        RentalFilter(status="active"),
        RentalFilter(country="RU"),
        RentalFilter(service="opt1"),
        RentalFilter(phone_number="+1"),
        RentalFilter(upstream_order_id="1"),
        RentalFilter(created_after=moment),
        RentalFilter(created_before=moment),
    ):
        await within(
            lambda c, f=rental_filter: views.listed(c, tenant_id, f, limit=51, before=before)  # type: ignore[misc]
        )
    for audit_filter in (
        AuditFilter(),
        AuditFilter(actor="x"),
        AuditFilter(action="x"),
        AuditFilter(target="x"),
        AuditFilter(outcome="x"),
        AuditFilter(created_after=moment),
        AuditFilter(created_before=moment),
    ):
        await within(
            lambda c, f=audit_filter: audit.listed(c, tenant_id, f, limit=51, before=before)  # type: ignore[misc]
        )
    for state, kind, rental_id in (
        (None, None, None),
        (State.REVIEW, None, None),
        (None, KindName.CREATE, None),
        (None, None, bought.id),
    ):
        await within(
            lambda c, s=state, k=kind, r=rental_id: lookup.listed(  # type: ignore[misc]
                c, tenant_id, state=s, kind=k, rental_id=r, limit=51, before=before
            )
        )
    await within(lambda c: messages.after(c, tenant_id, bought.id, scope="rented", position=0, limit=51))
    await within(lambda c: messages.newest(c, tenant_id, bought.id, scope=None, before=9, limit=51))
    await within(lambda c: events.of_rental(c, tenant_id, bought.id, limit=51, before=before))
    await within(lambda c: events.after(c, tenant_id, 0, types=[EventType.SMS_RECEIVED], limit=51))
    await within(lambda c: events.newest_position(c, tenant_id))
    await within(lambda c: events.position_before_kept(c, tenant_id, timedelta(days=90)))
    await within(lambda c: events.check_position(c, tenant_id, 1, timedelta(days=90)))
    await services.refresher.want(caller, house.key_id, bought.id, 1)
    await within(lambda c: idempotency.claim(c, tenant_id, "key", b"request", 60))
    await within(lambda c: tenants.list_api_keys(c, tenant_id, limit=51, before=before))
    await within(lambda c: services.vault.listed(c, tenant_id, limit=51, before=before))
    await within(lambda c: balances.set_mark(c, caller, house.key_id, Decimal(20)))
    await within(lambda c: balances.of_accounts(c, tenant_id, [house.key_id, before]))
    assert services.balances
    for _ in range(2):
        await services.balances.step()
        await services.balances.idle()
    async with house.database.transaction(PLATFORM) as connection:
        await tenants.list_tenants(connection, limit=51, before=before)
        _, token = await _key(house)
    await services.recognition.holder_of(token)
    await adopt_orphans(house.database, services.executor.resume)
    worker = Worker(services)
    stop = asyncio.Event()
    watching = asyncio.ensure_future(worker._watch(stop))
    await asyncio.sleep(NOTE_SECONDS + 1)  # so that it has done each of its duties
    stop.set()
    await watching
    await worker._activate_bought()
    await delivered(house)
    await worker._measure()
    await overview(house.database, services.pace, 50)
    await worker._tell_of_ends()
    await worker._prolong_by_plan()
    async with house.database.transaction(WORKER) as connection:
        await idempotency.delete_old(connection)
        await balances.delete_old(connection)


async def delivered(house: House) -> None:
    """The deliveries of what has happened, to an endpoint that isn't there."""
    services, tenant_id = house.services, house.tenant_id
    async with house.database.transaction(house.tenant) as connection:
        webhook, _ = await webhooks.add(
            connection, services.keyring, tenant_id, url="https://localhost", events=["*"], description=None
        )
    moment = datetime.now(UTC) - timedelta(days=1)
    async with house.database.transaction(house.tenant) as connection:
        await deliveries.retry_since(connection, tenant_id, webhook.id, moment)
    stop = asyncio.Event()
    dispatching = asyncio.ensure_future(services.dispatcher.run(stop))
    await asyncio.sleep(1)
    stop.set()
    await dispatching
    async with house.database.transaction(WORKER) as connection:
        await claims.renew(connection, new_id(), [webhook.id])
        await deliveries.delete_old(connection, timedelta(days=90))
    async with house.database.transaction(house.tenant) as connection:
        await deliveries.listed(connection, tenant_id, webhook.id, status=None, limit=51, before=None)


async def _key(house: House) -> Any:
    async with house.database.transaction(house.tenant) as connection:
        return await tenants.create_api_key(
            connection, house.caller, name=str(uuid4()), scopes=[], expires_at=None
        )
