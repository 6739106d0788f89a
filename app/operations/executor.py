"""Executes operations: commit intent, wait for the lane, commit `sent`, send once, settle.

Between two commits the process may die at any instruction. Whatever it leaves behind says enough for
another process to go on: a queued operation was surely not sent, a sent one is looked up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts import lane, schedule
from app.accounts.calls import UpstreamCalls
from app.audit import repository as audit
from app.database import Access, Database
from app.errors import DatabaseUnavailable, RentgateError, UpstreamBusy
from app.operations import ledger
from app.operations.ledger import Operation
from app.operations.states import Kind, State
from app.upstream.client import UpstreamClient
from app.upstream.errors import CallFailed, Outcome

R = TypeVar("R")

LANE_POLL_SECONDS = 0.1
SETTLE_RETRY_SECONDS = 0.5
SETTLE_TRIES = 120

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Plan(Generic[R]):
    """What is particular to a kind of operation.

    Attributes:
        method: the upstream's name of the call.
        call: makes it, given client, plain key, and the moment past which nothing may be written.
        succeeded: writes what a success changes, in the settling transaction.
        failed: likewise for a failure.
        pending: likewise for an outcome that the caller is told is open.
    """

    method: str
    call: Callable[[UpstreamClient, str, float], Awaitable[R]]
    succeeded: Callable[[AsyncConnection, Operation, R], Awaitable[None]]
    failed: Callable[[AsyncConnection, Operation, RentgateError], Awaitable[None]]
    pending: Callable[[AsyncConnection, Operation], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Sending:
    """What is needed to make a call that is committed as sent: the plain key, and until when to write."""

    api_key: str = field(repr=False)
    send_by: float


class Executor:
    """Runs operations to their end, be it after their caller was answered."""

    def __init__(
        self, database: Database, calls: UpstreamCalls, *, call_timeout: float, purchase_wait: float
    ) -> None:
        self._database = database
        self._calls = calls
        self._call_timeout = call_timeout
        self._purchase_wait = purchase_wait
        self._running: set[asyncio.Task[Any]] = set()
        self._stopping = False

    async def run(self, operation: Operation, plan: Plan[R]) -> Operation:
        """Run a committed intent, waiting for its outcome as long as a caller is kept waiting.

        Returns:
            the operation: succeeded, or still open (tell the caller 202).

        Raises:
            RentgateError: it failed, and nothing was spent or changed.
        """
        task = self.keep(self._drive(operation, plan))
        await asyncio.wait({task}, timeout=self._purchase_wait)
        reached = task.result() if task.done() else None
        if reached is None or reached.is_open:
            async with self._database.transaction(Access.tenant(operation.tenant_id)) as connection:
                reached = await ledger.get(connection, operation.tenant_id, operation.id)
                if reached.is_open:
                    reached = await ledger.mark_answered(connection, operation)
                if reached.is_open:
                    await plan.pending(connection, reached)
        if reached.state is State.FAILED:
            raise ledger.error_of(reached)
        return reached

    def keep(self, work: Coroutine[Any, Any, R]) -> asyncio.Task[R]:
        """Start work that outlives its caller; `drain` waits for it."""
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def drain(self) -> None:
        """Wait until nothing is under way any more; called when the process stops.

        What only waits for its turn is closed as never sent: it could wait for long.
        """
        self._stopping = True
        while self._running:
            await asyncio.wait(set(self._running))

    async def _drive(self, operation: Operation, plan: Plan[R]) -> Operation | None:
        """Take an operation to its outcome; returns it as settled, None if another process settled it."""
        caller = operation.caller
        try:
            if await self._enter_lane(operation) is None:
                stopped = UpstreamBusy("The gateway stopped before the call's turn came.", retry_after=1)
                return await self._settle(operation, plan, State.FAILED, error=stopped)
            try:
                await self._calls.wait_for_turn(operation.upstream_key_id)
                sending = await self._commit_sent(operation, plan.method)
            except DatabaseUnavailable:
                raise
            except RentgateError as error:
                return await self._settle(operation, plan, State.FAILED, error=error)
            if sending is None:
                late = UpstreamBusy("The turn at the account was lost before the call.", retry_after=1)
                return await self._settle(operation, plan, State.FAILED, error=late)
            try:
                result = await self._calls.fire(
                    caller,
                    operation.upstream_key_id,
                    plan.method,
                    lambda client: plan.call(client, sending.api_key, sending.send_by),
                )
            except CallFailed as failure:
                if failure.outcome is not Outcome.UNKNOWN:
                    return await self._settle(operation, plan, State.FAILED, error=failure.error)
                log.warning("operation.unknown", operation_id=str(operation.id), why=str(failure))
                return await self._settle(operation, plan, State.UNKNOWN)
            return await self._settle(operation, plan, State.SUCCEEDED, result=result)
        except DatabaseUnavailable:
            log.warning("operation.left_open", operation_id=str(operation.id))
            raise

    async def _enter_lane(self, operation: Operation) -> lane.Lease | None:
        """Wait for the account's lane; None if the process stops, or another one closed the operation."""
        while not self._stopping:
            async with self._database.transaction(Access.tenant(operation.tenant_id)) as connection:
                if not await ledger.attend(connection, operation):
                    return None
                if not await self._mistakable(connection, operation):
                    lease = await lane.take(
                        connection,
                        operation.tenant_id,
                        operation.upstream_key_id,
                        operation.id,
                        self._call_timeout,
                    )
                    if lease is not None:
                        return lease
            await asyncio.sleep(LANE_POLL_SECONDS)
        return None

    async def _mistakable(self, connection: AsyncConnection, operation: Operation) -> bool:
        """Whether an order of this purchase could be taken for that of one whose outcome is unknown."""
        if operation.kind is not Kind.CREATE:
            return False
        unknown = await ledger.of_account(
            connection, operation.tenant_id, operation.upstream_key_id, State.SENT, State.UNKNOWN
        )
        return any(
            other.kind is Kind.CREATE
            and other.id != operation.id
            and other.request["country"] == operation.request["country"]
            and set(other.request["services"]) & set(operation.request["services"])
            for other in unknown
        )

    async def _commit_sent(self, operation: Operation, method: str) -> _Sending | None:
        """Renew the lease, commit `sent` and open the key; None if it is no longer this process's to do.

        Raises:
            RentgateError: the key can't be opened, and nothing is committed.
        """
        async with self._database.transaction(Access.tenant(operation.tenant_id)) as connection:
            lease = await lane.take(
                connection,
                operation.tenant_id,
                operation.upstream_key_id,
                operation.id,
                self._call_timeout,
            )
            seconds = lane.lease_seconds(self._call_timeout)
            if lease is None or not await ledger.mark_sent(connection, operation, seconds):
                return None
            await audit.record(
                connection,
                operation.caller,
                f"upstream.{method}",
                target=operation.upstream_key_id,
                outcome="sent",
                details={"operation_id": str(operation.id), "fence": lease.fence},
            )
            api_key = await self._calls.open_key(connection, operation.tenant_id, operation.upstream_key_id)
            return _Sending(api_key, lease.send_by)

    async def _settle(
        self,
        operation: Operation,
        plan: Plan[R],
        state: State,
        *,
        result: R | None = None,
        error: RentgateError | None = None,
    ) -> Operation | None:
        """Write the outcome, trying on while the database is away: this process alone knows it."""
        for _ in range(SETTLE_TRIES - 1):
            try:
                return await self._write_outcome(operation, plan, state, result=result, error=error)
            except DatabaseUnavailable:
                await asyncio.sleep(SETTLE_RETRY_SECONDS)
        return await self._write_outcome(operation, plan, state, result=result, error=error)

    async def _write_outcome(
        self,
        operation: Operation,
        plan: Plan[R],
        state: State,
        *,
        result: R | None,
        error: RentgateError | None,
    ) -> Operation | None:
        async with self._database.transaction(Access.tenant(operation.tenant_id)) as connection:
            await schedule.lock(connection, operation.tenant_id, operation.upstream_key_id)
            await lane.release(connection, operation.tenant_id, operation.upstream_key_id, operation.id)
            settled = await ledger.settle(connection, operation, state, error=error)
            if settled is None:
                return None
            if state is State.FAILED and error is not None:
                await plan.failed(connection, settled, error)
                return settled
            if state is State.SUCCEEDED:
                await plan.succeeded(connection, settled, result)  # type: ignore[arg-type]
            else:
                await plan.pending(connection, settled)
            # What was changed, or may have been, is worth a look that doesn't wait for an idle interval.
            await schedule.make_due(connection, operation.tenant_id, operation.upstream_key_id)
            return settled
