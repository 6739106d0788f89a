"""The seals of an audit trail: what was changed, removed or inserted past the gateway is found."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb
from sqlalchemy.exc import DBAPIError

from app.audit import repository as audit
from app.audit import seals
from app.audit.export import export
from app.audit.seals import Head
from app.audit.verification import Verdict, verify
from app.database import Access, Database, Role
from app.migrate import DatabaseUrls
from tests.integration.conftest import OpenHouse
from tests.integration.house import House

Run = Callable[[Awaitable[None]], None]


@pytest.fixture
def open_house(open_house: OpenHouse, superuser_url: str) -> OpenHouse:
    """Opens a House whose tenant has an empty trail: how it came to be is not there."""

    @asynccontextmanager
    async def emptied(**settings: Any) -> AsyncIterator[House]:
        async with open_house(**settings) as house:
            with psycopg.connect(superuser_url) as superuser:
                superuser.execute("truncate audit_logs, audit_unsealed")
            yield house

    return emptied


async def written(house: House, count: int) -> None:
    """Some rows, each in a transaction of its own, and sealed."""
    for n in range(count):
        async with house.database.transaction(house.tenant) as connection:
            audit.record(connection, house.caller, "test.write", target=str(n), details={"n": n})
    await sealed(house)


async def sealed(house: House) -> int:
    keyed = await house.services.audit_hash()
    async with house.database.transaction(Access.sealer(house.tenant_id)) as connection:
        return await seals.seal(connection, house.tenant_id, keyed)


async def checked(house: House, noted: Head | None = None) -> Verdict:
    keyed = await house.services.audit_hash()
    async with house.database.transaction(Access.sealer(house.tenant_id)) as connection:
        return await verify(connection, house.tenant_id, keyed, noted=noted)


def found(verdict: Verdict) -> list[tuple[str, int | None]]:
    return [(finding.what, finding.position) for finding in verdict.findings]


def test_an_honest_trail_has_no_finding(open_house: OpenHouse, run: Run) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            assert found(await checked(house)) == []
            await written(house, 3)
            await written(house, 2)
            async with house.database.transaction(house.tenant) as connection:
                audit.record(connection, house.caller, "test.wait")
            verdict = await checked(house)
            assert (found(verdict), verdict.checked, verdict.waiting) == ([], 5, 1)
            assert await sealed(house) == 1
            assert await sealed(house) == 0

    run(scenario())


def test_sealers_at_once_make_one_chain(open_house: OpenHouse, run: Run) -> None:
    async def scenario() -> None:
        async with open_house() as house:

            async def write(n: int) -> None:
                async with house.database.transaction(house.tenant) as connection:
                    audit.record(connection, house.caller, "test.write", target=str(n))

            await asyncio.gather(*(write(n) for n in range(40)), *(sealed(house) for _ in range(8)))
            await sealed(house)
            verdict = await checked(house)
            assert (found(verdict), verdict.checked, verdict.waiting) == ([], 40, 0)

    run(scenario())


TAMPERINGS = {
    "change": (
        "update audit_logs set actor = 'somebody else' where tenant_id = %s and target = '2'",
        [("the row or its seal was changed", 3)],
    ),
    "remove": (
        "delete from audit_logs where tenant_id = %s and target = '2'",
        [("the row was removed", 3)],
    ),
    "remove with its seal": (
        "with gone as (delete from audit_logs where tenant_id = %s and target = '2' returning id)"
        " delete from audit_seals where audit_id in (select id from gone)",
        [("seals are missing before this one", 4)],
    ),
    "remove the newest with their seals": (
        "with gone as (delete from audit_logs where tenant_id = %s and target in ('4', '5') returning id)"
        " delete from audit_seals where audit_id in (select id from gone)",
        [("the newest seals are missing", 6)],
    ),
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_tampering_is_found(tampering: str, open_house: OpenHouse, superuser_url: str, run: Run) -> None:
    statement, findings = TAMPERINGS[tampering]

    async def scenario() -> None:
        async with open_house() as house:
            await written(house, 6)
            with psycopg.connect(superuser_url) as connection:
                connection.execute(statement, [house.tenant_id])
            assert found(await checked(house)) == findings

    run(scenario())


def test_an_inserted_row_is_found(open_house: OpenHouse, superuser_url: str, run: Run) -> None:
    insert = (
        "insert into audit_logs (tenant_id, id, actor, action, outcome, details, created_at)"
        " values (%s, %s, 'admin', 'forged', 'succeeded', %s, %s)"
    )

    async def scenario() -> None:
        async with open_house() as house:
            await written(house, 2)
            stranger, dated_back = uuid4(), uuid4()
            an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
            with psycopg.connect(superuser_url) as connection:
                for row_id in (stranger, dated_back):
                    connection.execute(insert, [house.tenant_id, row_id, Jsonb({}), an_hour_ago])
                connection.execute(
                    "insert into audit_unsealed values (%s, %s)", [house.tenant_id, dated_back]
                )
            await sealed(house)  # also the one that was made to look as if it had come by the gateway
            verdict = await checked(house)
            assert {(f.what, f.audit_id) for f in verdict.findings} == {
                ("the row was inserted past the gateway", stranger),
                ("the row is dated back: others were sealed without it", dated_back),
            }

    run(scenario())


def test_a_trail_that_was_cut_and_sealed_anew_lacks_what_was_noted(
    open_house: OpenHouse, superuser_url: str, run: Run
) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            await written(house, 3)
            noted = (await checked(house)).head
            with psycopg.connect(superuser_url) as connection:
                for table in ("audit_logs", "audit_seals", "audit_heads"):
                    connection.execute(f"delete from {table} where tenant_id = %s", [house.tenant_id])
            await written(house, 4)
            assert found(await checked(house)) == []
            assert found(await checked(house, noted)) == [
                ("the trail does not contain the seal that was noted", 3)
            ]

    run(scenario())


def test_what_pruning_leaves_is_verified_from_there(
    open_house: OpenHouse, database_urls: DatabaseUrls, run: Run
) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            await written(house, 3)
            noted = (await checked(house)).head
            border = datetime.now(UTC)
            await written(house, 2)
            owner = Database(database_urls.owner)
            for gone in (3, 0):
                async with owner.transaction(Access.owner(house.tenant_id)) as connection:
                    assert await seals.prune(connection, house.tenant_id, border) == gone
            verdict = await checked(house, noted)
            assert (found(verdict), verdict.checked) == ([], 2)
            await written(house, 1)
            assert found(await checked(house)) == []
            async with owner.transaction(Access.owner(house.tenant_id)) as connection:
                assert await seals.prune(connection, house.tenant_id, datetime.now(UTC)) == 3
            await written(house, 1)
            verdict = await checked(house)
            assert (found(verdict), verdict.checked) == ([], 1)
            await owner.aclose()

    run(scenario())


@pytest.mark.parametrize("role", list(Role))
def test_no_role_of_the_gateway_can_remove_or_change(role: Role, open_house: OpenHouse, run: Run) -> None:
    async def scenario() -> None:
        async with open_house() as house:
            await written(house, 1)
            for table in ("audit_logs", "audit_seals"):
                for statement in (f"delete from {table}", f"update {table} set tenant_id = tenant_id"):
                    assert await refused(house.database, Access(role, house.tenant_id), statement)

    run(scenario())


async def refused(database: Database, access: Access, statement: str) -> bool:
    """Whether the database says that this role may not."""
    try:
        async with database.transaction(access) as connection:
            await connection.exec_driver_sql(statement)
    except DBAPIError as error:
        return isinstance(error.orig, psycopg.errors.InsufficientPrivilege)
    return False


def test_the_export_is_in_order_of_time_with_seals(open_house: OpenHouse, run: Run) -> None:
    async def exported(house: House, since: datetime | None, until: datetime | None) -> list[str | None]:
        async with house.database.transaction(house.tenant) as connection:
            return [row["target"] async for row in export(connection, house.tenant_id, since, until)]

    async def scenario() -> None:
        async with open_house() as house:
            await written(house, 3)
            border = datetime.now(UTC)
            await written(house, 2)
            assert await exported(house, None, None) == ["0", "1", "2", "0", "1"]
            assert await exported(house, border, None) == ["0", "1"]
            assert await exported(house, None, border) == ["0", "1", "2"]
            async with house.database.transaction(house.tenant) as connection:
                rows = [row async for row in export(connection, house.tenant_id, None, None)]
            head = (await checked(house)).head
            assert rows[-1]["seal"] == str(head)
            assert UUID(rows[-1]["id"])

    run(scenario())
