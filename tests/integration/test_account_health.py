"""The health of accounts as it is kept: apart from purchases, by several processes, and until it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import LiteralString

import psycopg
import pytest
import sqlalchemy as sa
import structlog

from app.accounts import health_records, overview
from app.accounts.health import LASTS, LIST, Observation, Observations
from app.accounts.health_notes import KNOWN_SECONDS, HealthNotes
from app.accounts.health_records import AccountHealth
from app.accounts.models import account_health
from app.audit.caller import background
from app.database import WORKER
from app.events import repository as events
from app.operations.states import State
from app.upstream.set_aside import SetAside
from tests.integration.conftest import OpenHouse
from tests.integration.house import House
from tests.verbatim import Verbatim

QUOTE = "restore_user_precalc"
ODD_PURCHASE = {
    "id": 40301,
    "pnumber": "9096068511",
    "ccode": "+7",
    "service": {"a": 1},
    "until": time.time() + 604_800,
}


def readings(method: str, *, odd: bool, subject: str = "") -> Observations:
    found = Observations(subject)
    found.made.append(Observation(method, subject, (SetAside(method, "data", "text"),) if odd else ()))
    return found


async def health_of(house: House) -> AccountHealth:
    async with house.database.transaction(house.tenant) as connection:
        found = await health_records.of_accounts(connection, house.tenant_id, [house.key_id])
    return found[house.key_id].shown(datetime.now().astimezone())


async def told(house: House) -> list[tuple[str, AccountHealth]]:
    """What the tenant is told of the account's health, oldest first."""
    async with house.database.transaction(house.tenant) as connection:
        found = await events.after(connection, house.tenant_id, 0, types=None, limit=100)
    kinds = ("upstream_key.degraded", "upstream_key.recovered")
    return [(row.type, AccountHealth(**row.data["health"])) for row in found if row.type in kinds]


async def observe(house: House, method: str, *, odd: bool) -> None:
    async with house.database.transaction(house.tenant) as connection:
        made = readings(method, odd=odd).made
        await health_records.observe(connection, background(house.tenant_id), house.key_id, made)


async def counted(house: House) -> dict[str, int]:
    async with house.database.transaction(WORKER) as connection:
        return await health_records.by_status(connection)


def age(superuser_url: str, passed: timedelta) -> None:
    """Let so much time have passed for what is known of health."""
    with psycopg.connect(superuser_url) as connection:
        aged = connection.execute(
            """
            update account_health set since = since - %(passed)s, problems = (
                select jsonb_agg(problem || jsonb_build_object(
                    'ends_at', (problem->>'ends_at')::timestamptz - %(passed)s
                )) from jsonb_array_elements(problems) as problem
            )
            """,
            {"passed": passed},
        )
        assert aged.rowcount == 1


@asynccontextmanager
async def oddly_answered(open_house: OpenHouse, upstream: Verbatim) -> AsyncIterator[House]:
    """A house whose upstream answers a purchase with a field that can't be read."""
    upstream.answers |= {
        "getcountries": {"status": 1, "data": [{"name": "Россия", "code": "RU"}]},
        "getdata": {
            "status": 1,
            "data": [{"name": "Google", "service": "opt1", "price_day": 0.35, "count": 3}],
        },
        "create": {"status": 1, "data": ODD_PURCHASE},
        "orders": {"status": 1, "data": []},
        "get_rent_history": {"status": 1, "data": []},
    }
    async with open_house(upstream_url=upstream.url) as house:
        await house.look()
        yield house


async def methods_with_problems(house: House) -> list[str]:
    async with house.database.transaction(house.tenant) as connection:
        found = await health_records.of_accounts(connection, house.tenant_id, [house.key_id])
    return [problem.method for problem in found[house.key_id].health.problems]


def test_a_purchase_waits_for_no_note_of_the_accounts_health(open_house: OpenHouse) -> None:
    async def scenario(upstream: Verbatim) -> None:
        async with oddly_answered(open_house, upstream) as house:
            await observe(house, QUOTE, odd=True)
            async with house.database.transaction(house.tenant) as holding:
                await holding.execute(sa.select(account_health).with_for_update())
                bought = await house.buy()
                assert bought.rental.upstream_order_id == "40301"
                assert [operation.state for operation in await house.operations()] == [State.SUCCEEDED]
                assert await methods_with_problems(house) == [QUOTE]
            await house.services.executor.drain()
            assert await methods_with_problems(house) == [QUOTE, "create"]
            assert len(upstream.of("create")) == 1

    with Verbatim() as upstream:
        asyncio.run(scenario(upstream))


BROKEN: dict[str, LiteralString] = {
    "health.not_noted": "drop table account_health",
    "health.note_crashed": "alter table account_health alter column problems type text",
}


@pytest.mark.parametrize("logged", BROKEN)
def test_a_purchase_does_not_hang_on_a_note_that_cant_be_written(
    open_house: OpenHouse, superuser_url: str, logged: str
) -> None:
    async def scenario(upstream: Verbatim) -> None:
        async with oddly_answered(open_house, upstream) as house:
            with psycopg.connect(superuser_url) as connection:
                connection.execute(BROKEN[logged])
            with structlog.testing.capture_logs() as logs:
                bought = await house.buy()
                await house.services.executor.drain()
            assert bought.rental.upstream_order_id == "40301"
            assert [operation.state for operation in await house.operations()] == [State.SUCCEEDED]
            assert [line["event"] for line in logs if line["event"].startswith("health.")] == [logged]

    with Verbatim() as upstream:
        asyncio.run(scenario(upstream))


def test_an_odd_answer_to_a_purchase_degrades_the_account_once_the_outcome_is_known(
    open_house: OpenHouse,
) -> None:
    async def scenario(upstream: Verbatim) -> None:
        async with oddly_answered(open_house, upstream) as house:
            await house.buy()
            await house.services.executor.drain()
            shown = await health_of(house)
            assert shown.problem is not None
            assert (shown.problem.method, shown.problem.field) == ("create", "data.service")

    with Verbatim() as upstream:
        asyncio.run(scenario(upstream))


def test_what_ended_by_itself_is_so_everywhere_before_it_is_written(
    open_house: OpenHouse, superuser_url: str
) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            await observe(house, QUOTE, odd=True)
            age(superuser_url, LASTS - timedelta(seconds=60))
            assert (await health_of(house)).status == "degraded"
            assert await counted(house) == {"ok": 0, "degraded": 1, "failing": 0}
            age(superuser_url, timedelta(seconds=120))
            shown = await health_of(house)
            assert (shown.status, shown.problem) == ("ok", None)
            assert await counted(house) == {"ok": 1, "degraded": 0, "failing": 0}
            async with house.database.transaction(WORKER) as connection:
                (account,) = await overview.accounts(connection, 10)
            assert account.health.status == "ok"
            assert [kind for kind, _ in await told(house)] == ["upstream_key.degraded"]
            await house.look()
            assert await health_of(house) == shown
            assert (await told(house))[1:] == [("upstream_key.recovered", shown)]

    asyncio.run(scenario())


def test_a_problem_that_is_polled_ends_by_no_time(open_house: OpenHouse, superuser_url: str) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            await observe(house, QUOTE, odd=True)
            await observe(house, LIST, odd=True)
            age(superuser_url, LASTS * 2)
            shown = await health_of(house)
            assert (shown.status, shown.problem and shown.problem.method) == ("degraded", LIST)
            assert (await counted(house))["degraded"] == 1

    asyncio.run(scenario())


def test_clean_answers_count_though_another_process_met_the_problem(open_house: OpenHouse) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            now = time.monotonic()
            ours, theirs = (HealthNotes(house.database, clock=lambda: now) for _ in range(2))

            async def note(notes: HealthNotes, *, odd: bool) -> None:
                await notes.note_apart(house.caller, house.key_id, readings(QUOTE, odd=odd))

            clean = readings(QUOTE, odd=False)
            assert ours.are_news(house.key_id, clean)
            await note(ours, odd=False)
            assert not ours.are_news(house.key_id, clean)
            await note(theirs, odd=True)
            for _ in range(3):
                await note(ours, odd=False)  # these may go by, since a moment ago there was no problem
            assert (await health_of(house)).status == "degraded"
            now += KNOWN_SECONDS
            for _ in range(3):
                assert (await health_of(house)).status == "degraded"
                await note(ours, odd=False)
            assert (await health_of(house)).status == "ok"
            assert ours.are_news(house.key_id, readings(QUOTE, odd=True))

    asyncio.run(scenario())
