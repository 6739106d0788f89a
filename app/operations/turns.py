"""An operation's turn at its account: the lane, the pace, and the commit of `sent` before the call."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts import lane
from app.accounts.calls import UpstreamCalls
from app.accounts.lane import Lease
from app.audit import repository as audit
from app.audit.repository import Entry
from app.database import Access, Database
from app.database.pipeline import Query, run, run_together
from app.errors import UpstreamBusy
from app.operations import ledger
from app.operations.call import Call
from app.operations.operation import Operation

LANE_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Sending:
    """What is needed to make a call that is committed as sent: the plain key, until when to write, and the
    row of the audit trail that goes with the commit.
    """

    api_key: str = field(repr=False)
    send_by: float
    entry: Entry


@dataclass(frozen=True, slots=True)
class Turn:
    """The lane is this operation's: it may send now, or has to wait for the pace, or is refused by it."""

    sending: Sending | None = None
    wait: float = 0.0
    refusal: UpstreamBusy | None = None

    @property
    def entries(self) -> list[Entry]:
        """The rows of the audit trail that go with the transaction of this turn."""
        return [] if self.sending is None else [self.sending.entry]


class Turns:
    """Gives operations their turn, one at a time for an account."""

    def __init__(self, database: Database, calls: UpstreamCalls, *, call_timeout: float) -> None:
        """Give turns to calls of at most `call_timeout` seconds."""
        self._database = database
        self._calls = calls
        self._call_timeout = call_timeout
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Let nobody wait for its turn any more."""
        self._stopping.set()

    async def take(self, connection: AsyncConnection, operation: Operation, call: Call) -> Turn | None:
        """Take the lane and a token of the pace, and mark the step as sent if it may be sent now; None if
        the lane is not to be had yet. The caller writes the turn's entries in the same transaction.
        """
        # Asked after the lane was taken: only who has it can be sure that no further outcome becomes unknown.
        asked = [] if call.rival is None else [call.rival]
        lease, *rivals = await run_together(connection, self._taking_lane(operation), *asked)
        if lease is None:
            return None
        if any(rivals):
            lane.release(connection, operation.tenant_id, operation.upstream_key_id, operation.id)
            return None
        try:
            wait = await self._calls.draw(connection, operation.upstream_key_id)
        except UpstreamBusy as refusal:
            return Turn(refusal=refusal)
        if wait:
            await ledger.attend(connection, operation, wait)
        return Turn(None if wait else await self._mark_sent(connection, operation, call, lease), wait)

    async def sending(self, operation: Operation, call: Call, turn: Turn | None) -> Sending:
        """Wait for the lane and the pace as far as they are not had yet, and commit `sent`.

        Raises:
            RentgateError: it will not be sent, and why.
        """
        tenant = Access.tenant(operation.tenant_id)
        while turn is None:
            await self._wait(LANE_POLL_SECONDS)
            await self._calls.keys.make_ready(operation.tenant_id, operation.upstream_key_id)
            async with self._database.transaction(tenant) as connection:
                if not await ledger.attend(connection, operation):
                    raise UpstreamBusy("The call was given up before its turn came.", retry_after=1)
                turn = await self.take(connection, operation, call)
                if turn is not None:
                    audit.record_all(connection, operation.caller, turn.entries)
        if turn.refusal is not None:
            raise turn.refusal
        sending = turn.sending
        if sending is None:
            await self._wait(turn.wait)
            await self._calls.keys.make_ready(operation.tenant_id, operation.upstream_key_id)
            async with self._database.transaction(tenant) as connection:
                lease = await run(connection, self._taking_lane(operation))
                if lease is not None:
                    sending = await self._mark_sent(connection, operation, call, lease)
                if sending is not None:
                    audit.record_all(connection, operation.caller, [sending.entry])
        if sending is None:
            raise UpstreamBusy("The turn at the account was lost before the call.", retry_after=1)
        return sending

    async def _wait(self, seconds: float) -> None:
        """Wait for so long.

        Raises:
            UpstreamBusy: the process stops.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        if self._stopping.is_set():
            raise UpstreamBusy("The gateway stopped before the call's turn came.", retry_after=1)

    def _taking_lane(self, operation: Operation) -> Query[Lease | None]:
        return lane.taking(operation.tenant_id, operation.upstream_key_id, operation.id, self._call_timeout)

    async def _mark_sent(
        self, connection: AsyncConnection, operation: Operation, call: Call, lease: Lease
    ) -> Sending | None:
        """Mark the step as sent and open the key; None if it is no longer this process's to send."""
        marked, stored = await run_together(
            connection,
            ledger.marking_sent(operation, lane.lease_seconds(self._call_timeout)),
            self._calls.keys.stored_key(operation.tenant_id, operation.upstream_key_id),
        )
        if not marked:
            return None
        api_key = await self._calls.keys.open_stored(connection, stored)
        entry = Entry(
            f"upstream.{call.method}",
            operation.upstream_key_id,
            "sent",
            {"operation_id": str(operation.id), "fence": lease.fence},
        )
        return Sending(api_key, lease.send_by, entry)
