"""Hundreds of callers who wait for an SMS: woken by it at once, and until then they cost no query."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx
import psycopg

from tests.acceptance.conftest import ADMIN_TOKEN, running_gateway
from tests.acceptance.tenant import Tenant, ok
from tests.conftest import superuser_of
from tests.served import ServedSandbox

WAITING, FEW = 400, 20
"""The latter are the test's own, and those of who sees whether the database lives."""


def transactions(superuser_url: str) -> int:
    """How many the database has seen so far; sessions say so 10 s after their last one at the latest."""
    with psycopg.connect(superuser_url) as connection:
        query = "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()"
        (found,) = connection.execute(query).fetchone() or (0,)
    return int(found)


def test_hundreds_who_wait_cost_no_query_while_nothing_happens(
    settings: dict[str, str], postgres: str, sandbox: ServedSandbox, tmp_path: Path
) -> None:
    superuser_url = superuser_of(postgres, settings["RENTGATE_DATABASE_URL"])
    with (
        running_gateway(tmp_path / "log", "--no-worker", **settings) as gateway,
        gateway.client(ADMIN_TOKEN) as admin,
    ):
        tenant = Tenant.create(gateway.client, admin, sandbox)
        rental = tenant.rent()

        async def scenario() -> None:
            limits = httpx.Limits(max_connections=None)
            headers = {"Authorization": f"Bearer {tenant.token}"}
            async with httpx.AsyncClient(
                base_url=gateway.url, headers=headers, timeout=90, limits=limits
            ) as http:
                waiting = []
                for _ in range(WAITING):
                    waiting.append(asyncio.ensure_future(http.get(f"/rentals/{rental['id']}/sms?wait=60")))
                    await asyncio.sleep(0.005)
                for _ in range(8):  # until all of them wait, and the sessions have told what that took
                    before = await asyncio.to_thread(transactions, superuser_url)
                    await asyncio.sleep(5)
                    asked = await asyncio.to_thread(transactions, superuser_url) - before
                    if asked < FEW:
                        break
                assert asked < FEW
                assert not [one.result().text for one in waiting if one.done()]
                tenant.arrive("code 1")
                with running_gateway(tmp_path / "worker", **settings):  # which polls, since they wait
                    started = time.monotonic()
                    answers = await asyncio.gather(*waiting)
                assert time.monotonic() - started < 30
                assert all(len(ok(answer)["items"]) == 1 for answer in answers)

        asyncio.run(scenario())
        tenant.close()
