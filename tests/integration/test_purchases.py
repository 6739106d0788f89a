"""Buying, through every way that a call can end: money is spent at most once, and nothing bought is lost."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

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
from app.kinds.activate import activate
from app.kinds.delete import delete
from app.kinds.registry import KindName
from app.kinds.restore import restore
from app.operations.operation import error_of
from app.operations.states import State
from app.rentals import repository
from app.sandbox.faults import FaultKind
from app.sandbox.shop import COUNTRIES
from tests.integration.conftest import OpenHouse


def test_a_purchase_is_settled_with_its_rental_event_and_audit(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            outcome = await house.buy(metadata={"a": "b"})
            assert outcome.settled
            found = outcome.rental
            assert (found.status, found.country, found.metadata) == ("active", "RU", {"a": "b"})
            assert found.price is not None
            assert found.price.amount == "4.20"
            assert house.charged() == ["create"]
            assert await house.history(found.id) == ["rental.created"]
            (operation,) = await house.operations()
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
                await house.buy()
            (operation,) = await house.operations()
            assert operation.state is State.FAILED
            async with house.database.transaction(house.tenant) as connection:
                assert not await repository.existing(connection, house.tenant_id, [operation.rental_id])
            assert not house.charged()

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
            house.fault("create", kind, when, seconds=20)
            outcome = await house.buy()
            assert not outcome.settled
            assert outcome.rental.status == "pending"
            assert outcome.rental.pending_operation is not None
            settled = await house.look_until_settled(outcome.rental.id)
            (operation,) = await house.operations()
            if when == "after":
                assert settled.status == "active"
                assert settled.phone_number
                assert operation.state is State.SUCCEEDED
                assert house.charged() == ["create"]
                assert await house.history(settled.id) == ["rental.pending", "rental.created"]
            else:
                assert settled.status == "failed"
                assert operation.state is State.FAILED
                assert operation.error is not None
                assert operation.error["code"] == "purchase_not_made"
                assert house.charged() == []
                assert await house.history(settled.id) == ["rental.pending", "rental.failed"]

    asyncio.run(scenario())


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_refusal_that_nobody_knows_is_looked_up_and_its_text_is_kept(
    open_house: OpenHouse, when: str
) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            await house.look()
            said = f"Planet retrograde {house.api_key}"
            house.fault("create", FaultKind.REFUSE, when, message=said)
            outcome = await house.buy()
            assert outcome.rental.status == "pending"
            (operation,) = await house.operations()
            assert (operation.state, operation.error) == (State.UNKNOWN, None)
            settled = await house.look_until_settled(outcome.rental.id)
            (operation,) = await house.operations()
            if when == "after":
                assert (settled.status, operation.state) == ("active", State.SUCCEEDED)
                assert house.charged() == ["create"]
                return
            assert (settled.status, operation.state) == ("failed", State.FAILED)
            error = error_of(operation)
            assert error.code == "purchase_not_made"
            assert error.upstream == UpstreamRefusal("create", "Planet retrograde [redacted]")
            assert house.charged() == []

    asyncio.run(scenario())


def test_what_was_said_to_one_order_is_not_told_of_the_next(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            bought = (await house.buy(services=("opt1", "opt2"))).rental
            house.fault("delete", FaultKind.REFUSE, "after", message="Planet retrograde")
            await delete(house.services.changes, house.caller, bought.id, None)
            for _ in range(200):
                await house.look()
                operation, *_ = await house.operations()
                if operation.step:
                    break
                await asyncio.sleep(0.02)
            assert (operation.step, operation.unexplained) == (1, None)

    asyncio.run(scenario())


def test_a_purchase_that_the_upstream_makes_late_is_found(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=2.0, reconcile_seconds=6.0) as house:
            house.fault("create", FaultKind.LATE, seconds=3.0)
            outcome = await house.buy()
            assert outcome.rental.status == "pending"
            settled = await house.look_until_settled(outcome.rental.id)
            assert settled.status == "active"
            assert house.charged() == ["create"]

    asyncio.run(scenario())


def test_absence_counts_only_time_in_which_the_list_could_be_read(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=2.0, reconcile_seconds=0.5) as house:
            house.fault("create", FaultKind.HANG, seconds=20)
            outcome = await house.buy()
            house.fault("orders", FaultKind.HTML, times=10)
            for _ in range(10):
                await house.look()
                await asyncio.sleep(0.1)
            assert (await house.rental(outcome.rental.id)).status == "pending"
            assert (await house.look_until_settled(outcome.rental.id)).status == "failed"

    asyncio.run(scenario())


def test_two_orders_that_fit_go_to_review_with_both_as_candidates(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=2.0) as house:
            await house.look()
            house.fault("create", FaultKind.DROP, "after")
            outcome = await house.buy()
            account = house.sandbox.world.accounts[house.api_key]
            country = next(iter(house.sandbox.world.living.values())).number.country
            house.sandbox.world.new_order(account, house.sandbox.world.new_number(country), "opt1", 7)
            await house.look()
            assert (await house.rental(outcome.rental.id)).status == "review"
            (operation,) = await house.operations()
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
            house.fault("create", FaultKind.DROP, "before")
            outcome = await house.buy()
            settled = await house.look_until_settled(outcome.rental.id)
            assert settled.status == "failed"
            assert from_website.id in house.sandbox.world.living

    asyncio.run(scenario())


def test_one_money_call_at_a_time_for_an_account(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            outcomes = await asyncio.gather(*(house.buy() for _ in range(6)))
            assert all(outcome.settled for outcome in outcomes)
            assert len({outcome.rental.phone_number for outcome in outcomes}) == 6
            sent = sorted(operation.sent_at for operation in await house.operations() if operation.sent_at)
            settled = sorted(o.settled_at for o in await house.operations() if o.settled_at)
            assert all(before <= after for before, after in zip(settled, sent[1:], strict=False))
            assert house.charged() == ["create"] * 6

    asyncio.run(scenario())


def test_looks_and_purchases_at_once_lose_nothing(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            buying = asyncio.gather(*(house.buy() for _ in range(8)))
            while not buying.done():
                await house.look()
            await house.look()
            for outcome in await buying:
                found = await house.rental(outcome.rental.id)
                assert (found.status, len(found.upstream_orders)) == ("active", 1)
                assert found.upstream_orders[0].service == "opt1"

    asyncio.run(scenario())


def test_several_services_are_one_rental(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            outcome = await house.buy(services=("opt1", "opt2"))
            assert house.charged() == ["create_multi"]
            assert outcome.rental.price is not None
            assert outcome.rental.price.amount == "8.40"
            await house.look()
            found = await house.rental(outcome.rental.id)
            assert {order.service for order in found.upstream_orders} == {"opt1", "opt2"}
            assert [service.code for service in found.services] == ["opt1", "opt2"]

    asyncio.run(scenario())


def test_buying_with_activation(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            outcome = await house.buy(activate=True)
            assert outcome.rental.number_state == "activating"
            for _ in range(100):
                await house.look()
                if (await house.rental(outcome.rental.id)).number_state == "active":
                    break
                await asyncio.sleep(0.02)
            happened = await house.history(outcome.rental.id)
            assert [event for event in happened if event.startswith("rental.")] == [
                "rental.created",
                "rental.activating",
                "rental.activated",
            ]

    asyncio.run(scenario())


def test_a_failing_activation_never_hides_the_bought_number(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            house.fault("activate", FaultKind.REFUSE, message="Incorrect order")
            outcome = await house.buy(activate=True)
            assert outcome.settled
            assert (outcome.rental.status, outcome.rental.number_state) == ("active", "inactive")
            assert await house.history(outcome.rental.id) == [
                "rental.created",
                "rental.activation_failed",
            ]

    asyncio.run(scenario())


def test_an_unknown_activation_is_found_by_the_numbers_state(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=2.0) as house:
            outcome = await house.buy()
            house.fault("activate", FaultKind.DROP, "after")
            pending = await activate(house.services.changes, house.caller, outcome.rental.id, None)
            assert pending.rental.pending_operation is not None
            with pytest.raises(OperationPending):
                await activate(house.services.changes, house.caller, outcome.rental.id, None)
            settled = await house.look_until_settled(outcome.rental.id)
            assert settled.number_state in ("activating", "active")

    asyncio.run(scenario())


def test_an_empty_stock_is_said(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            house.sandbox.world.stock["RU", "opt1"] = 0
            with pytest.raises(NoNumbersAvailable):
                await house.buy()

    asyncio.run(scenario())


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_unknown_restore_is_settled_from_the_list(open_house: OpenHouse, when: str) -> None:
    async def scenario() -> None:
        async with open_house(upstream_timeout=2.0) as house:
            outcome = await house.buy()
            house.sandbox.world.age(8 * 86_400)
            for _ in range(3):
                await house.look()
            assert (await house.rental(outcome.rental.id)).status == "expired"
            house.fault("restore_user", FaultKind.CUT_JSON, when)
            pending = await restore(
                house.services.changes, house.caller, outcome.rental.id, max_price=None, claim=None
            )
            assert not pending.settled
            settled = await house.look_until_settled(outcome.rental.id)
            if when == "after":
                assert settled.status == "active"
                assert settled.expires_at is not None
                assert house.charged() == ["create", "restore_user"]
                assert (await house.history(settled.id)).count("rental.restored") == 1
            else:
                assert settled.status == "expired"
                assert house.charged() == ["create"]

    asyncio.run(scenario())


def test_a_restored_rental_reads_its_end_back(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            outcome = await house.buy()
            house.sandbox.world.age(8 * 86_400)
            restored = await restore(
                house.services.changes, house.caller, outcome.rental.id, max_price=None, claim=None
            )
            (order,) = house.sandbox.world.living.values()
            assert restored.rental.expires_at is not None
            assert int(restored.rental.expires_at.timestamp()) == int(order.until)
            kinds = [operation.kind for operation in await house.operations()]
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
                await house.buy()
            assert failed.value.code == "upstream_unavailable"
            (operation,) = await house.operations()
            assert operation.state is State.FAILED

    asyncio.run(scenario())
