"""The background process: looks at accounts that are due, and goes on with what others left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import sqlalchemy as sa
import structlog

from app.accounts import schedule
from app.audit import repository as audit
from app.audit.caller import background
from app.audit.models import upstream_usage
from app.database import WORKER, Access
from app.errors import RentgateError
from app.idempotency import repository as idempotency
from app.operations import ledger
from app.rentals.models import rentals
from app.sync.orphans import adopt_orphans
from app.wiring import Services

LOOKS_AT_ONCE = 20
TICK_SECONDS = 0.5
HOUSEKEEPING_SECONDS = 60.0
MEASURE_SECONDS = 5.0

log = structlog.get_logger(__name__)


class Worker:
    """The loops of the background. Any number of workers may run; the database keeps them apart."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._looking: dict[UUID, asyncio.Task[None]] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; a look that is under way is finished."""
        loops = [
            self._every(TICK_SECONDS, self._start_due_looks, stop),
            self._every(TICK_SECONDS, self._adopt, stop),
            self._every(HOUSEKEEPING_SECONDS, self._keep_house, stop),
            self._every(MEASURE_SECONDS, self._measure, stop),
        ]
        await asyncio.gather(*loops)
        if self._looking:
            await asyncio.wait(self._looking.values())

    async def _every(self, seconds: float, step: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
        """Repeat a step; one that fails is logged and tried again, since the background must never end."""
        while not stop.is_set():
            try:
                await step()
            except RentgateError as error:
                log.warning("worker.step_failed", step=step.__name__, code=error.code)
            except Exception:
                log.exception("worker.step_crashed", step=step.__name__)
            try:
                async with asyncio.timeout(seconds):
                    await stop.wait()
            except TimeoutError:
                continue

    async def _start_due_looks(self) -> None:
        room = LOOKS_AT_ONCE - len(self._looking)
        if room <= 0:
            return
        async with self._services.database.transaction(WORKER) as connection:
            due = await schedule.due(connection, room)
        for tenant_id, upstream_key_id in due:
            if upstream_key_id not in self._looking:
                self._looking[upstream_key_id] = asyncio.ensure_future(self._look(tenant_id, upstream_key_id))

    async def _look(self, tenant_id: UUID, upstream_key_id: UUID) -> None:
        try:
            await self._services.looker.look_if_due(tenant_id, upstream_key_id)
        except Exception:
            log.exception("worker.look_crashed", upstream_key_id=str(upstream_key_id))
        finally:
            self._looking.pop(upstream_key_id, None)

    async def _adopt(self) -> None:
        await adopt_orphans(self._services.database)
        await self._activate_bought()

    async def _activate_bought(self) -> None:
        """Activate numbers that were bought with `activate: true` by a request that did not get to it."""
        query = sa.select(rentals.c.tenant_id, rentals.c.id).where(
            rentals.c.activate_after < sa.func.clock_timestamp()
        )
        async with self._services.database.transaction(WORKER) as connection:
            waiting = (await connection.execute(query.limit(LOOKS_AT_ONCE))).all()
        for row in waiting:
            try:
                await self._services.rentals.activate(background(row.tenant_id), row.id, None)
            except RentgateError as error:
                log.info("rental.activation_failed", rental_id=str(row.id), code=error.code)

    async def _measure(self) -> None:
        async with self._services.database.transaction(WORKER) as connection:
            self._services.metrics.open_operations(*await ledger.open_by_state(connection))
            self._services.metrics.look_age(await schedule.oldest_look_age(connection))

    async def _keep_house(self) -> None:
        database = self._services.database
        async with database.transaction(WORKER) as connection:
            await idempotency.delete_old(connection)
            hour = sa.func.date_trunc("hour", sa.func.now())
            tenants = await connection.scalars(
                sa.select(upstream_usage.c.tenant_id).where(upstream_usage.c.hour < hour).distinct()
            )
            to_seal = list(tenants)
        for tenant_id in to_seal:
            async with database.transaction(Access.tenant(tenant_id)) as connection:
                await audit.seal_past_hours(connection, tenant_id)
