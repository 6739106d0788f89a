"""Executes operations: commit intent, wait for the lane, commit `sent`, send once, settle.

Where the account is free, intent and `sent` are one commit. Between two commits the process may die at any
instruction. Whatever it leaves behind says enough for another process to go on: a queued step was surely
not sent, a sent one is looked up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts import lane, schedule
from app.accounts.calls import UpstreamCalls
from app.accounts.health import Observations
from app.audit import repository as audit
from app.audit.caller import Caller
from app.audit.repository import Entry
from app.database import Access, Database
from app.errors import DatabaseUnavailable, RentgateError
from app.operations import ledger, lookup
from app.operations.call import Call
from app.operations.operation import Operation, error_of
from app.operations.outcomes import Outcomes
from app.operations.states import State
from app.operations.turns import Sending, Turn, Turns
from app.telemetry import traces
from app.upstream.errors import CallFailed, Outcome
from app.upstream.wire import PurchasedOrder

R = TypeVar("R")
S = TypeVar("S")

SETTLE_RETRY_SECONDS = 0.5
SETTLE_TRIES = 120
RESUME_SECONDS = 10.0
"""After how long a step is tried again that was surely not sent, when one before it was done."""

log = structlog.get_logger(__name__)


class Executor(Generic[S]):
    """Runs operations to their end, be it after their caller was answered."""

    def __init__(
        self,
        database: Database,
        calls: UpstreamCalls,
        call_of: Callable[[Operation], Call],
        outcomes: Outcomes[S],
        *,
        call_timeout: float,
        purchase_wait: float,
    ) -> None:
        self._database = database
        self._calls = calls
        self._call_of = call_of
        self._outcomes = outcomes
        self._turns = Turns(database, calls, call_timeout=call_timeout)
        self._purchase_wait = purchase_wait
        self._running: set[asyncio.Task[Any]] = set()

    async def take_turn(
        self,
        connection: AsyncConnection,
        caller: Caller,
        operation: Operation,
        notes: Sequence[Entry] = (),
    ) -> Turn | None:
        """Take an operation's turn at its account, if that is free, in the transaction of the intent. The
        account has to be ready for calls.

        Args:
            notes: further rows for the audit trail, written with the intent.

        Returns:
            the turn, for `carry_out`; None if it has to be waited for.
        """
        turn = await self._turns.take(connection, operation, self._call_of(operation))
        entries = [*notes, ledger.accepted(operation), *(turn.entries if turn else ())]
        audit.record_all(connection, caller, entries)
        return turn

    async def carry_out(self, operation: Operation, turn: Turn | None) -> tuple[Operation, S]:
        """Carry out an operation whose intent is committed, waiting for the outcome as long as a caller is
        kept waiting.

        Returns:
            the operation, succeeded or still open (tell the caller 202), and what is shown of its subject.

        Raises:
            RentgateError: it failed, and nothing was spent or changed.
        """
        shown: list[S] = []
        task = self._keep(self._drive(operation, turn, shown.append))
        await asyncio.wait({task}, timeout=self._purchase_wait)
        reached = task.result() if task.done() else None
        if reached is not None and reached.state is State.FAILED:
            raise error_of(reached)
        if reached is not None and reached.state is State.SUCCEEDED:
            return reached, shown[-1]
        tenant_id = operation.tenant_id
        async with self._database.transaction(Access.tenant(tenant_id)) as connection:
            reached = await lookup.get(connection, tenant_id, operation.id)
            if reached.is_open:
                reached = await ledger.mark_answered(connection, operation)
            if reached.is_open:
                await self._outcomes.left_open(connection, reached)
            if reached.state is State.FAILED:
                raise error_of(reached)
            return reached, await self._outcomes.shown(connection, reached)

    def resume(self, operation: Operation) -> None:
        """Go on in the background with an operation of which a step was done and the next was not sent."""
        self._keep(self._drive(operation, None, lambda _: None))

    def _keep(self, work: Coroutine[Any, Any, R]) -> asyncio.Task[R]:
        """Start work that outlives its caller; `drain` waits for it."""
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # asking keeps asyncio from complaining when nobody waited for it any more

    async def drain(self) -> None:
        """Wait until nothing is under way any more; called when the process stops.

        What only waits for its turn is closed as never sent: it could wait for long.
        """
        self._turns.stop()
        while self._running:
            await asyncio.wait(set(self._running))

    async def _drive(
        self, operation: Operation, turn: Turn | None, show: Callable[[S], None]
    ) -> Operation | None:
        """Take an operation to its outcome, step by step; None if another process settled it."""
        with traces.span(f"operation {operation.kind}", operation.told) as span:
            try:
                while True:
                    reached = await self._drive_step(operation, turn, show)
                    if reached is None or reached.state is not State.QUEUED or reached.step == operation.step:
                        break
                    operation, turn = reached, None
            except DatabaseUnavailable:
                log.warning("operation.left_open", operation_id=str(operation.id))
                raise
            span.note({} if reached is None else reached.told)
            return reached

    async def _drive_step(
        self, operation: Operation, turn: Turn | None, show: Callable[[S], None]
    ) -> Operation | None:
        """Send the present step's call, once, and settle it."""
        call = self._call_of(operation)
        try:
            sending = await self._turns.sending(operation, call, turn)
        except DatabaseUnavailable:
            raise
        except RentgateError as error:
            never = error
            return await self._settle(operation, lambda c: self._not_sent(c, operation, never, State.QUEUED))
        readings = Observations()
        try:
            return await self._send(operation, call, sending, readings, show)
        finally:  # once the outcome is written, which neither waits for this nor hangs on it
            notes = self._calls.health_notes
            self._keep(notes.note_apart(operation.caller, operation.upstream_key_id, readings))

    async def _send(
        self,
        operation: Operation,
        call: Call,
        sending: Sending,
        readings: Observations,
        show: Callable[[S], None],
    ) -> Operation | None:
        """Make the present step's call, once, and settle it; `readings` takes up what it answers oddly."""
        try:
            told = await self._calls.fire(
                operation.caller,
                operation.upstream_key_id,
                call.method,
                lambda client: call.make(client, sending.api_key, sending.send_by),
                readings=readings,
            )
        except CallFailed as failure:
            why = failure.error
            if failure.outcome is Outcome.NOT_SENT:
                return await self._settle(operation, lambda c: self._not_sent(c, operation, why, State.SENT))
            if failure.outcome is Outcome.REFUSED:
                return await self._settle(operation, lambda c: self._outcomes.not_made(c, operation, why))
            log.warning("operation.unknown", operation_id=str(operation.id), why=str(failure))
            return await self._settle(
                operation, lambda c: self._outcomes.unknown(c, operation, why), look=True
            )
        orders = told or ()
        return await self._settle(
            operation,
            lambda c: self._made(c, operation, orders, show),
            look=len(orders) != call.orders,
        )

    async def _settle(
        self,
        operation: Operation,
        write: Callable[[AsyncConnection], Awaitable[Operation | None]],
        *,
        look: bool = False,
    ) -> Operation | None:
        """Write a step's outcome, trying on while the database is away: this process alone knows it.

        Args:
            look: something was changed, or may have been, that is worth a look at the account at once.
        """
        for _ in range(SETTLE_TRIES - 1):
            try:
                return await self._write_outcome(operation, write, look=look)
            except DatabaseUnavailable:
                await asyncio.sleep(SETTLE_RETRY_SECONDS)
        return await self._write_outcome(operation, write, look=look)

    async def _write_outcome(
        self,
        operation: Operation,
        write: Callable[[AsyncConnection], Awaitable[Operation | None]],
        *,
        look: bool,
    ) -> Operation | None:
        tenant_id, key_id = operation.tenant_id, operation.upstream_key_id
        async with self._database.transaction(Access.tenant(tenant_id)) as connection:
            await (schedule.make_due if look else schedule.lock)(connection, tenant_id, key_id)
            reached = await write(connection)
            if reached is not None:  # else another process has the operation, and with it perhaps the lane
                lane.release(connection, tenant_id, key_id, operation.id)
            return reached

    async def _made(
        self,
        connection: AsyncConnection,
        operation: Operation,
        orders: tuple[PurchasedOrder, ...],
        show: Callable[[S], None],
    ) -> Operation | None:
        made = await self._outcomes.made_and_shown(connection, operation, orders)
        if made is None:
            return None
        reached, shown = made
        show(shown)
        return reached

    async def _not_sent(
        self, connection: AsyncConnection, operation: Operation, error: RentgateError, state: State
    ) -> Operation | None:
        """The step got as far as `state`, and its call was surely not made. If a step before it was, it is
        tried again later: a rental is not torn apart because the upstream is away for a moment.
        """
        if not operation.step:
            return await self._outcomes.not_made(connection, operation, error)
        return await ledger.postpone(connection, operation, state, RESUME_SECONDS)
