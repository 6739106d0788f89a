"""Claiming idempotency keys: one claim at a time, the same request only, and a fence after a crash."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from app.database import Access, Database
from app.errors import IdempotencyKeyInUse, IdempotencyKeyReused
from app.idempotency import repository as idempotency
from app.idempotency.repository import Claim, Remembered
from app.migrate import DatabaseUrls

TENANT = uuid4()
ACCESS = Access.tenant(TENANT)


async def claim(database: Database, key: str, request: bytes, seconds: float = 60) -> Claim | Remembered:
    async with database.transaction(ACCESS) as connection:
        return await idempotency.claim(connection, TENANT, key, request, seconds)


async def claimed(database: Database, key: str, request: bytes, seconds: float = 60) -> Claim:
    found = await claim(database, key, request, seconds)
    assert isinstance(found, Claim)
    return found


def test_of_many_at_once_one_gets_the_claim(database_urls: DatabaseUrls) -> None:
    async def scenario() -> None:
        database = Database(database_urls.app)
        results = await asyncio.gather(
            *(claim(database, "k", b"request") for _ in range(10)), return_exceptions=True
        )
        assert sum(isinstance(result, Claim) for result in results) == 1
        assert sum(isinstance(result, IdempotencyKeyInUse) for result in results) == 9
        await database.aclose()

    asyncio.run(scenario())


def test_the_answer_is_remembered_for_the_same_request_only(database_urls: DatabaseUrls) -> None:
    async def scenario() -> None:
        database = Database(database_urls.app)
        first = await claimed(database, "k", b"request")
        async with database.transaction(ACCESS) as connection:
            await idempotency.remember(connection, first, status=201, body={"a": 1}, location="/x")
        assert await claim(database, "k", b"request") == Remembered(201, {"a": 1}, "/x", None)
        with pytest.raises(IdempotencyKeyReused):
            await claim(database, "k", b"another")
        await database.aclose()

    asyncio.run(scenario())


def test_a_forgotten_key_is_free_again(database_urls: DatabaseUrls) -> None:
    async def scenario() -> None:
        database = Database(database_urls.app)
        first = await claimed(database, "k", b"request")
        async with database.transaction(ACCESS) as connection:
            await idempotency.forget(connection, first)
        await claimed(database, "k", b"another")
        await database.aclose()

    asyncio.run(scenario())


def test_after_a_crash_the_next_one_takes_over_and_the_first_is_fenced_off(
    database_urls: DatabaseUrls,
) -> None:
    async def scenario() -> None:
        database = Database(database_urls.app)
        dead = await claimed(database, "k", b"request", seconds=0)
        await claimed(database, "k", b"request")
        with pytest.raises(IdempotencyKeyInUse):
            async with database.transaction(ACCESS) as connection:
                await idempotency.attach(connection, dead, uuid4())
        await database.aclose()

    asyncio.run(scenario())


def test_a_key_that_began_an_operation_is_never_taken_over(database_urls: DatabaseUrls) -> None:
    async def scenario() -> None:
        database = Database(database_urls.app)
        first, operation_id = await claimed(database, "k", b"request", seconds=0), uuid4()
        async with database.transaction(ACCESS) as connection:
            await idempotency.attach(connection, first, operation_id)
        assert await claim(database, "k", b"request") == Remembered(None, None, None, operation_id)
        await database.aclose()

    asyncio.run(scenario())
