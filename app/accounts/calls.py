"""Calling the upstream in somebody's name: the turn, the key, the call, and the trace that it leaves."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.breaker import Breaker
from app.accounts.pace import Pace
from app.audit import repository as audit
from app.audit.caller import Caller
from app.database import Access, Database
from app.errors import RentgateError, UpstreamKeyRejected, UpstreamTimeout, UpstreamUnavailable
from app.events import repository as events
from app.events.types import EventType
from app.telemetry import Metrics
from app.upstream.client import UpstreamClient
from app.upstream.errors import CallFailed, Outcome
from app.upstream.wire import Order
from app.vault.service import ACTIVE, REJECTED, Vault

T = TypeVar("T")


class UpstreamCalls:
    """Makes every upstream call of a process; each waits for its turn and is counted."""

    def __init__(
        self, database: Database, vault: Vault, client: UpstreamClient, pace: Pace, metrics: Metrics
    ) -> None:
        self._database = database
        self._vault = vault
        self._client = client
        self._pace = pace
        self._breaker = Breaker()
        self._metrics = metrics

    async def read(
        self,
        caller: Caller,
        upstream_key_id: UUID,
        method: str,
        call: Callable[[UpstreamClient, str], Awaitable[T]],
        *,
        patient: bool = False,
    ) -> T:
        """Make a call that spends and changes nothing, and put it into the audit trail.

        Args:
            caller: who caused it; the background goes behind callers, and its calls are only summed up.
            method: the upstream's name of the call, for audit and metrics.
            call: makes it, given the client and the plain key.
            patient: wait as a caller does, though the background asks: a money call hangs on the answer.

        Raises:
            RentgateError: what went wrong, fit for the caller.
        """
        try:
            result = await self.send(
                caller, upstream_key_id, method, call, background=caller.is_background and not patient
            )
        except CallFailed as failure:
            await self._note(caller, upstream_key_id, method, failure.error.code)
            raise failure.error from None
        await self._note(caller, upstream_key_id, method, audit.SUCCEEDED)
        return result

    async def read_keyless(
        self, method: str, call: Callable[[UpstreamClient], Awaitable[T]], *, caller: Caller | None
    ) -> T:
        """Make a call that needs no account, for a caller or for the gateway's own cache.

        Raises:
            RentgateError: what went wrong, fit for the caller.
        """
        await self._pace.wait_for_turn(None, background=False)
        outcome = audit.SUCCEEDED
        try:
            return await self._counted(method, lambda: call(self._client))
        except CallFailed as failure:
            outcome = failure.error.code
            raise failure.error from None
        finally:
            if caller is not None:
                async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
                    await audit.record(connection, caller, f"upstream.{method}", outcome=outcome)

    async def try_secret(self, caller: Caller, upstream_key_id: UUID, api_key: str) -> tuple[Order, ...]:
        """The orders that a secret shows which is not stored (yet) in this key's place.

        Raises:
            UpstreamKeyRejected: the upstream does not accept it.
            RentgateError: what else went wrong, fit for the caller.
        """
        await self._pace.wait_for_turn(upstream_key_id, background=False)
        try:
            found = await self._counted("orders", lambda: self._client.orders(api_key))
        except CallFailed as failure:
            await self._note_trial(caller, upstream_key_id, failure.error.code)
            raise failure.error from None
        await self._note_trial(caller, upstream_key_id, audit.SUCCEEDED)
        return found

    async def _note_trial(self, caller: Caller, upstream_key_id: UUID, outcome: str) -> None:
        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
            await audit.record(connection, caller, "upstream.orders", target=upstream_key_id, outcome=outcome)

    async def send(
        self,
        caller: Caller,
        upstream_key_id: UUID,
        method: str,
        call: Callable[[UpstreamClient, str], Awaitable[T]],
        *,
        background: bool = False,
    ) -> T:
        """Make a call once, leaving the audit trail to the caller of this method.

        Raises:
            CallFailed: with what is certain of the outcome.
        """
        try:
            await self.wait_for_turn(upstream_key_id, background=background)
            async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
                api_key = await self.open_key(connection, caller.tenant_id, upstream_key_id)
        except RentgateError as error:
            raise CallFailed(Outcome.NOT_SENT, error, method) from None
        return await self.fire(caller, upstream_key_id, method, lambda client: call(client, api_key))

    async def wait_for_turn(self, upstream_key_id: UUID, *, background: bool = False) -> None:
        """Wait for the account's turn.

        Raises:
            UpstreamBusy: it would come too late.
        """
        await self._pace.wait_for_turn(upstream_key_id, background=background)

    async def open_key(self, connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID) -> str:
        """The account's plain key, for a call that is made at once.

        Raises:
            NotFound: it was deleted meanwhile.
        """
        return await self._vault.open_secret(connection, tenant_id, upstream_key_id)

    async def fire(
        self,
        caller: Caller,
        upstream_key_id: UUID,
        method: str,
        call: Callable[[UpstreamClient], Awaitable[T]],
    ) -> T:
        """Make a call once whose turn has come.

        Raises:
            CallFailed: with what is certain of the outcome.
        """
        try:
            return await self._counted(method, lambda: call(self._client))
        except CallFailed as failure:
            if isinstance(failure.error, UpstreamKeyRejected):
                await self._mark_rejected(caller, upstream_key_id)
            raise

    async def _counted(self, method: str, call: Callable[[], Awaitable[T]]) -> T:
        try:
            self._breaker.pass_or_refuse()
        except UpstreamUnavailable as error:
            raise CallFailed(Outcome.NOT_SENT, error, method) from None
        started = time.monotonic()
        outcome = audit.SUCCEEDED
        try:
            result = await call()
        except CallFailed as failure:
            outcome = failure.error.code
            if isinstance(failure.error, UpstreamUnavailable | UpstreamTimeout):
                self._breaker.failed()
            else:
                self._breaker.answered()
            raise
        else:
            self._breaker.answered()
            return result
        finally:
            self._metrics.upstream_call(method, outcome, time.monotonic() - started)

    async def _note(self, caller: Caller, upstream_key_id: UUID, method: str, outcome: str) -> None:
        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
            if caller.is_background:
                await audit.count_background_call(
                    connection, caller.tenant_id, upstream_key_id, method, outcome
                )
            else:
                await audit.record(
                    connection, caller, f"upstream.{method}", target=upstream_key_id, outcome=outcome
                )
            if outcome == audit.SUCCEEDED:  # a key that was rejected once has proven itself again
                await self._vault.set_status(connection, caller.tenant_id, upstream_key_id, ACTIVE)

    async def _mark_rejected(self, caller: Caller, upstream_key_id: UUID) -> None:
        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
            if await self._vault.set_status(connection, caller.tenant_id, upstream_key_id, REJECTED):
                await events.emit(
                    connection,
                    caller,
                    EventType.UPSTREAM_KEY_REJECTED,
                    {"upstream_key_id": str(upstream_key_id)},
                )
                await audit.record(connection, caller, "upstream_key.reject", target=upstream_key_id)
