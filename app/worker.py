"""The background process: looks at accounts that are due, and goes on with what others left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import sqlalchemy as sa
import structlog

from app.accounts import balances, health_records, refresh_requests
from app.accounts import overview as accounts
from app.audit import repository as audit
from app.audit import seals
from app.audit.caller import background
from app.audit.models import upstream_usage
from app.database import WORKER, Access
from app.errors import RentgateError
from app.idempotency import repository as idempotency
from app.kinds.activate import activate_bought
from app.kinds.prolong import prolong_by_plan
from app.operations import lookup
from app.operations.states import State
from app.rentals import auto_prolong, expiring
from app.rentals.models import rentals
from app.settlement.recovery import adopt_orphans
from app.sync.balances import BalanceReader
from app.sync.watching import Watching
from app.webhooks import claims, deliveries
from app.wiring import Services

WAITING_AT_ONCE = 20
TICK_SECONDS = 0.5
MOMENT_SECONDS = 0.02
HOUSE_SECONDS = 60.0
SEAL_SECONDS = 2.0
EXPIRING_SECONDS = 5.0
EXPIRING_AT_ONCE = 100
TRAILS_AT_ONCE = 100
BALANCE_SECONDS = 1.0
MEASURE_SECONDS = 5.0
ROTATION_SECONDS = 2.0
ROTATION_STEPS = 20

log = structlog.get_logger(__name__)


class Worker:
    """The loops of the background. Any number of workers may run; the database keeps them apart."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._watching = Watching(
            services.database, services.looker, services.pace, services.notifications, services.metrics
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; a look that is under way is finished."""
        loops = [
            self._watch(stop),
            self._every(TICK_SECONDS, self._adopt, stop),
            self._every(SEAL_SECONDS, self._seal, stop),
            self._every(EXPIRING_SECONDS, self._tell_of_ends, stop),
            self._every(EXPIRING_SECONDS, self._prolong_by_plan, stop),
            self._services.dispatcher.run(stop),
            self._every(HOUSE_SECONDS, self._keep_house, stop),
            self._every(MEASURE_SECONDS, self._measure, stop),
            self._every(ROTATION_SECONDS, self._rotate, stop),
        ]
        if self._services.balances is not None:
            loops.append(self._read_balances(self._services.balances, stop))
        await asyncio.gather(*loops)

    async def _watch(self, stop: asyncio.Event) -> None:
        """Look at accounts; `stop` gives them back to the other workers."""
        with self._watching.listening():
            await self._every(MOMENT_SECONDS, self._watching.step, stop)
            await self._watching.stop()

    async def _read_balances(self, reader: BalanceReader, stop: asyncio.Event) -> None:
        await self._every(BALANCE_SECONDS, reader.step, stop)
        await reader.stop()

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

    async def _adopt(self) -> None:
        await adopt_orphans(self._services.database, self._services.executor.resume)
        await self._activate_bought()

    async def _activate_bought(self) -> None:
        """Activate numbers that were bought with `activate: true` by a request that did not get to it."""
        query = sa.select(rentals.c.tenant_id, rentals.c.id).where(
            rentals.c.activate_after < sa.func.clock_timestamp()
        )
        async with self._services.database.transaction(WORKER) as connection:
            waiting = (await connection.execute(query.limit(WAITING_AT_ONCE))).all()
        for row in waiting:
            await activate_bought(self._services.changes, background(row.tenant_id), row.id)

    async def _rotate(self) -> None:
        """Go on with a rotation of the vault, if nobody else does."""
        for _ in range(ROTATION_STEPS):
            if not await self._services.rotations.step():
                return

    async def _tell_of_ends(self) -> None:
        """Tell of rentals that end soon."""
        async with self._services.database.transaction(WORKER) as connection:
            found = await expiring.due(connection, EXPIRING_AT_ONCE)
        for tenant_id, rental_id in found:
            async with self._services.database.transaction(Access.tenant(tenant_id)) as connection:
                await expiring.tell(connection, tenant_id, rental_id)

    async def _prolong_by_plan(self) -> None:
        """Prolong rentals that end soon, and whose tenants want that."""
        async with self._services.database.transaction(WORKER) as connection:
            found = await auto_prolong.due(connection, EXPIRING_AT_ONCE)
        prolonging = [
            prolong_by_plan(self._services.changes, background(tenant_id), rental_id)
            for tenant_id, rental_id in found
        ]
        for ended in await asyncio.gather(*prolonging, return_exceptions=True):
            if isinstance(ended, BaseException):
                log.error("rental.auto_prolong_crashed", exc_info=ended)

    async def _measure(self) -> None:
        async with self._services.database.transaction(WORKER) as connection:
            operations = await lookup.open_by_state(connection)
            look_age = await accounts.oldest_look_age(connection)
            queue = await claims.queue(connection)
            health = await health_records.by_status(connection)
            is_read = self._services.balances is not None
            below_mark = await accounts.accounts_below_mark(connection) if is_read else 0
            reading_age = await accounts.oldest_balance_reading_age(connection) if is_read else 0.0
        self._services.metrics.measured(
            {state.value: standing.count for state, standing in operations.items()},
            accounts=health,
            oldest_unknown=operations[State.UNKNOWN].oldest_seconds,
            look_age=look_age,
            deliveries_due=queue.due,
            oldest_delivery=queue.oldest_due_seconds,
            below_balance_mark=below_mark,
            oldest_balance_reading=reading_age,
        )

    async def _seal(self) -> None:
        """Seal what was written to the audit trails since."""
        database = self._services.database
        async with database.transaction(WORKER) as connection:
            tenants = await seals.unsealed_tenants(connection, TRAILS_AT_ONCE)
        if tenants:
            keyed = await self._services.audit_hash()
        for tenant_id in tenants:
            sealed = seals.AT_ONCE
            while sealed == seals.AT_ONCE:
                async with database.transaction(Access.sealer(tenant_id)) as connection:
                    sealed = await seals.seal(connection, tenant_id, keyed)

    async def _keep_house(self) -> None:
        """Delete what is no longer kept, and move sums of hours that are over into the audit trail. Each
        process does so, and finds nothing to do where another has done it.
        """
        database = self._services.database
        async with database.transaction(WORKER) as connection:
            await idempotency.delete_old(connection)
            await balances.delete_old(connection)
            await refresh_requests.delete_old(connection)
            await deliveries.delete_old(connection, timedelta(days=self._services.settings.events_kept_days))
            hour = sa.func.date_trunc("hour", sa.func.now())
            tenants = await connection.scalars(
                sa.select(upstream_usage.c.tenant_id).where(upstream_usage.c.hour < hour).distinct()
            )
            to_seal = list(tenants)
        for tenant_id in to_seal:
            async with database.transaction(Access.tenant(tenant_id)) as connection:
                await audit.seal_past_hours(connection, tenant_id)
