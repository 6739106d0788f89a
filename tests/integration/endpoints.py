"""Endpoints of a tenant, and deliveries to them, as tests need them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import UUID, uuid4

import psycopg

from app.database import WORKER
from app.webhooks import claims, repository
from tests.integration.house import House


async def hooked(house: House, url: str = "https://example.com") -> UUID:
    """An endpoint of the house's tenant that wants every event; its id."""
    async with house.database.transaction(house.tenant) as connection:
        webhook, _ = await repository.add(
            connection, house.services.keyring, house.tenant_id, url=url, events=["*"], description=None
        )
    return webhook.id


def queue_up(
    superuser_url: str, tenant_id: UUID, webhook_id: UUID, *, rentals: int, of_each: int = 1
) -> list[UUID]:
    """Queue deliveries of events to an endpoint; the rentals' ids."""
    rental_ids = [uuid4() for _ in range(rentals)]
    with psycopg.connect(superuser_url) as connection:
        connection.execute(
            "insert into webhook_deliveries"
            " (tenant_id, id, webhook_id, event_id, event_type, rental_id, position)"
            " select %s, new_uuid7(), %s, gen_random_uuid(), 'rental.created', rental_id, position"
            " from unnest(%s::uuid[]) rental_id, generate_series(1, %s) position",
            [tenant_id, webhook_id, rental_ids, of_each],
        )
        connection.execute(
            "update webhook_schedules set due_at = least(due_at, clock_timestamp()) where webhook_id = %s",
            [webhook_id],
        )
    return rental_ids


async def queued(house: House) -> claims.Queue:
    """How deliveries stand."""
    async with house.database.transaction(WORKER) as connection:
        return await claims.queue(connection)


async def until(found: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until something is found."""
    async with asyncio.timeout(seconds):
        while not found():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.02)
