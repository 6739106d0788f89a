"""Buying, through every way that a call can end: money is spent at most once, and nothing bought is lost."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from app.audit import repository as audit
from app.audit.repository import AuditFilter
from app.errors import (
    InsufficientBalance,
    NoNumbersAvailable,
    OperationPending,
    RentgateError,
    UpstreamRefusal,
)
from app.events import repository as events
from app.kinds.activate import activate
from app.kinds.changes import Outcome
from app.kinds.delete import delete
from app.kinds.purchases import Purchase
from app.kinds.registry import KindName
from app.kinds.restore import restore
from app.operations import lookup
from app.operations.operation import Operation, error_of
from app.operations.states import State
from app.rentals import repository
from app.rentals.schemas import Rental
from app.sandbox.faults import Fault, FaultKind
from app.sandbox.shop import COUNTRIES
from app.values import Period, PeriodUnit
from tests.integration.conftest import House, OpenHouse

WANTED: dict[str, Any] = {
    "country": "RU",
    "services": ("opt1",),
    "period": Period(PeriodUnit.WEEK, 1),
    "metadata": {},
}


async def buy(house: House, **changes: Any) -> Outcome:
    return await house.services.purchases.purchase(house.caller, Purchase(**{**WANTED, **changes}), None)


async def rental(house: House, rental_id: UUID) -> Rental:
    return await house.services.rentals.get(house.caller, rental_id)


async def operations(house: House) -> list[Operation]:
    async with house.database.transaction(house.tenant) as connection:
        return await lookup.listed(
            connection, house.tenant_id, state=None, kind=None, rental_id=None, limit=100, before=None
        )


async def history(house: House, rental_id: UUID) -> list[str]:
    async with house.database.transaction(house.tenant) as connection:
        rows = await events.of_rental(connection, house.tenant_id, rental_id, limit=100, before=None)
    return [row.type for row in reversed(rows)]


async def look_until_settled(house: House, rental_id: UUID) -> Rental:
    for _ in range(200):
        await house.look()
        found = await rental(house, rental_id)
        if found.pending_operation is None:
            return found
        await asyncio.sleep(0.02)
    raise AssertionError("the operation was never settled")


def fault(house: House, method: str, kind: FaultKind, when: str = "before", **more: Any) -> None:
    house.sandbox.faults.waiting.append(
        Fault.model_validate({"method": method, "kind": kind, "when": when, **more})
    )


def charged(house: House) -> list[str]:
    return [entry["method"] for entry in house.sandbox.world.ledger]


def test_a_purchase_is_settled_with_its_rental_event_and_audit(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            outcome = await buy(house, metadata={"a": "b"})
            assert outcome.settled
            found = outcome.rental
            assert (found.status, found.country, found.metadata) == ("active", "RU", {"a": "b"})
            assert found.price is not None
            assert found.price.amount == "4.20"
            assert charged(house) == ["create"]
            assert await history(house, found.id) == ["rental.created"]
            (operation,) = await operations(house)
            assert (operation.state, operation.price) == (State.SUCCEEDED, Decimal("4.2"))
            async with house.database.transaction(house.tenant) as connection:
                rows = await audit.listed(connection, house.tenant_id, AuditFilter(), limit=50, before=None)
            assert [(row.action, row.outcome) for row in reversed(rows)][-3:] == [
                ("operation.create", "accepted"),
                ("upstream.create", "sent"),
                ("operation.create", "succeeded"),
            ]

    asyncio.run(scenario())


def test_a_refusal_leaves_an_operation_and_no_rental(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            house.sandbox.world.accounts[house.api_key].balance = Decimal(1)
            with pytest.raises(InsufficientBalance):
                await buy(house)
            (operation,) = await operations(house)
            assert operation.state is State.FAILED
            async with house.database.transaction(house.tenant) as connection:
                assert not await repository.existing(connection, house.tenant_id, [operation.rental_id])
            assert not charged(house)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "kind",
    [
        FaultKind.DROP,
        FaultKind.STATUS_500,
        FaultKind.PROXY_403,
        FaultKind.HTML,
        FaultKind.CUT_JSON,
        FaultKind.EMPTY,
        FaultKind.HANG,
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_unknown_purchase_is_found_if_it_was_made_and_fails_if_it_was_not(
    open_house: OpenHouse, kind: FaultKind, when: str
) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=2.0) as house:
            await house.look()
            fault(house, "create", kind, when, seconds=20)
            outcome = await buy(house)
            assert not outcome.settled
            assert outcome.rental.status == "pending"
            assert outcome.rental.pending_operation is not None
            settled = await look_until_settled(house, outcome.rental.id)
            (operation,) = await operations(house)
            if when == "after":
                assert settled.status == "active"
                assert settled.phone_number
                assert operation.state is State.SUCCEEDED
                assert charged(house) == ["create"]
                assert await history(house, settled.id) == ["rental.pending", "rental.created"]
            else:
                assert settled.status == "failed"
                assert operation.state is State.FAILED
                assert operation.error is not None
                assert operation.error["code"] == "purchase_not_made"
                assert charged(house) == []
                assert await history(house, settled.id) == ["rental.pending", "rental.failed"]

    asyncio.run(scenario())


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_refusal_that_nobody_knows_is_looked_up_and_its_text_is_kept(
    open_house: OpenHouse, when: str
) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            await house.look()
            said = f"Planet retrograde {house.api_key}"
            fault(house, "create", FaultKind.REFUSE, when, message=said)
            outcome = await buy(house)
            assert outcome.rental.status == "pending"
            (operation,) = await operations(house)
            assert (operation.state, operation.error) == (State.UNKNOWN, None)
            settled = await look_until_settled(house, outcome.rental.id)
            (operation,) = await operations(house)
            if when == "after":
                assert (settled.status, operation.state) == ("active", State.SUCCEEDED)
                assert charged(house) == ["create"]
                return
            assert (settled.status, operation.state) == ("failed", State.FAILED)
            error = error_of(operation)
            assert error.code == "purchase_not_made"
            assert error.upstream == UpstreamRefusal("create", "Planet retrograde [redacted]")
            assert charged(house) == []

    asyncio.run(scenario())


def test_what_was_said_to_one_order_is_not_told_of_the_next(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            bought = (await buy(house, services=("opt1", "opt2"))).rental
            fault(house, "delete", FaultKind.REFUSE, "after", message="Planet retrograde")
            await delete(house.services.changes, house.caller, bought.id, None)
            for _ in range(200):
                await house.look()
                operation, *_ = await operations(house)
                if operation.step:
                    break
                await asyncio.sleep(0.02)
            assert (operation.step, operation.unexplained) == (1, None)

    asyncio.run(scenario())


def test_a_purchase_that_the_upstream_makes_late_is_found(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=2.0, reconcile_seconds=6.0) as house:
            fault(house, "create", FaultKind.LATE, seconds=3.0)
            outcome = await buy(house)
            assert outcome.rental.status == "pending"
            settled = await look_until_settled(house, outcome.rental.id)
            assert settled.status == "active"
            assert charged(house) == ["create"]

    asyncio.run(scenario())


def test_absence_counts_only_time_in_which_the_list_could_be_read(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=2.0, reconcile_seconds=0.5) as house:
            fault(house, "create", FaultKind.HANG, seconds=20)
            outcome = await buy(house)
            fault(house, "orders", FaultKind.HTML, times=10)
            for _ in range(10):
                await house.look()
                await asyncio.sleep(0.1)
            assert (await rental(house, outcome.rental.id)).status == "pending"
            assert (await look_until_settled(house, outcome.rental.id)).status == "failed"

    asyncio.run(scenario())


def test_two_orders_that_fit_go_to_review_with_both_as_candidates(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=2.0) as house:
            await house.look()
            fault(house, "create", FaultKind.DROP, "after")
            outcome = await buy(house)
            account = house.sandbox.world.accounts[house.api_key]
            country = next(iter(house.sandbox.world.living.values())).number.country
            house.sandbox.world.new_order(account, house.sandbox.world.new_number(country), "opt1", 7)
            await house.look()
            assert (await rental(house, outcome.rental.id)).status == "review"
            (operation,) = await operations(house)
            assert operation.state is State.REVIEW
            assert operation.candidates is not None
            assert len(operation.candidates) == 2

    asyncio.run(scenario())


def test_an_order_that_was_there_before_is_not_taken_for_a_purchase(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=2.0) as house:
            account = house.sandbox.world.accounts[house.api_key]
            from_website = house.sandbox.world.new_order(
                account, house.sandbox.world.new_number(COUNTRIES["RU"]), "opt1", 7
            )
            await house.look()
            fault(house, "create", FaultKind.DROP, "before")
            outcome = await buy(house)
            settled = await look_until_settled(house, outcome.rental.id)
            assert settled.status == "failed"
            assert from_website.id in house.sandbox.world.living

    asyncio.run(scenario())


def test_one_money_call_at_a_time_for_an_account(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            outcomes = await asyncio.gather(*(buy(house) for _ in range(6)))
            assert all(outcome.settled for outcome in outcomes)
            assert len({outcome.rental.phone_number for outcome in outcomes}) == 6
            sent = sorted(operation.sent_at for operation in await operations(house) if operation.sent_at)
            settled = sorted(o.settled_at for o in await operations(house) if o.settled_at)
            assert all(before <= after for before, after in zip(settled, sent[1:], strict=False))
            assert charged(house) == ["create"] * 6

    asyncio.run(scenario())


def test_looks_and_purchases_at_once_lose_nothing(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            buying = asyncio.gather(*(buy(house) for _ in range(8)))
            while not buying.done():
                await house.look()
            await house.look()
            for outcome in await buying:
                found = await rental(house, outcome.rental.id)
                assert (found.status, len(found.upstream_orders)) == ("active", 1)
                assert found.upstream_orders[0].service == "opt1"

    asyncio.run(scenario())


def test_several_services_are_one_rental(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            outcome = await buy(house, services=("opt1", "opt2"))
            assert charged(house) == ["create_multi"]
            assert outcome.rental.price is not None
            assert outcome.rental.price.amount == "8.40"
            await house.look()
            found = await rental(house, outcome.rental.id)
            assert {order.service for order in found.upstream_orders} == {"opt1", "opt2"}
            assert [service.code for service in found.services] == ["opt1", "opt2"]

    asyncio.run(scenario())


def test_buying_with_activation(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            outcome = await buy(house, activate=True)
            assert outcome.rental.number_state == "activating"
            for _ in range(100):
                await house.look()
                if (await rental(house, outcome.rental.id)).number_state == "active":
                    break
                await asyncio.sleep(0.02)
            happened = await history(house, outcome.rental.id)
            assert [event for event in happened if event.startswith("rental.")] == [
                "rental.created",
                "rental.activating",
                "rental.activated",
            ]

    asyncio.run(scenario())


def test_a_failing_activation_never_hides_the_bought_number(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            fault(house, "activate", FaultKind.REFUSE, message="Incorrect order")
            outcome = await buy(house, activate=True)
            assert outcome.settled
            assert (outcome.rental.status, outcome.rental.number_state) == ("active", "inactive")
            assert await history(house, outcome.rental.id) == [
                "rental.created",
                "rental.activation_failed",
            ]

    asyncio.run(scenario())


def test_an_unknown_activation_is_found_by_the_numbers_state(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=2.0) as house:
            outcome = await buy(house)
            fault(house, "activate", FaultKind.DROP, "after")
            pending = await activate(house.services.changes, house.caller, outcome.rental.id, None)
            assert pending.rental.pending_operation is not None
            with pytest.raises(OperationPending):
                await activate(house.services.changes, house.caller, outcome.rental.id, None)
            settled = await look_until_settled(house, outcome.rental.id)
            assert settled.number_state in ("activating", "active")

    asyncio.run(scenario())


def test_an_empty_stock_is_said(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            house.sandbox.world.stock["RU", "opt1"] = 0
            with pytest.raises(NoNumbersAvailable):
                await buy(house)

    asyncio.run(scenario())


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_unknown_restore_is_settled_from_the_list(open_house: OpenHouse, when: str) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=2.0) as house:
            outcome = await buy(house)
            house.sandbox.world.age(8 * 86_400)
            for _ in range(3):
                await house.look()
            assert (await rental(house, outcome.rental.id)).status == "expired"
            fault(house, "restore_user", FaultKind.CUT_JSON, when)
            pending = await restore(
                house.services.changes, house.caller, outcome.rental.id, max_price=None, claim=None
            )
            assert not pending.settled
            settled = await look_until_settled(house, outcome.rental.id)
            if when == "after":
                assert settled.status == "active"
                assert settled.expires_at is not None
                assert charged(house) == ["create", "restore_user"]
                assert (await history(house, settled.id)).count("rental.restored") == 1
            else:
                assert settled.status == "expired"
                assert charged(house) == ["create"]

    asyncio.run(scenario())


def test_a_restored_rental_reads_its_end_back(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            outcome = await buy(house)
            house.sandbox.world.age(8 * 86_400)
            restored = await restore(
                house.services.changes, house.caller, outcome.rental.id, max_price=None, claim=None
            )
            (order,) = house.sandbox.world.living.values()
            assert restored.rental.expires_at is not None
            assert int(restored.rental.expires_at.timestamp()) == int(order.until)
            kinds = [operation.kind for operation in await operations(house)]
            assert kinds == [KindName.RESTORE, KindName.CREATE]

    asyncio.run(scenario())


def test_a_call_that_was_never_sent_fails_and_charges_nothing(
    open_house: OpenHouse, served_sandbox: Any
) -> None:
    async def scenario() -> None:
        async with open_house(purchase_wait=2.0) as house:
            await house.look()
            await house.services.catalog.countries(house.caller)
            served_sandbox.__exit__(None, None, None)
            with pytest.raises(RentgateError) as failed:
                await buy(house)
            assert failed.value.code == "upstream_unavailable"
            (operation,) = await operations(house)
            assert operation.state is State.FAILED

    asyncio.run(scenario())
