"""Calling the upstream in somebody's name: the turn, the key, the call, and the trail that it leaves."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.exchange import Exchange
from app.accounts.health import Observation, Observations
from app.accounts.health_notes import HealthNotes
from app.accounts.keys import AccountKeys
from app.accounts.pace import Pace
from app.accounts.trials import ListedOrderIds
from app.audit import repository as audit
from app.audit.caller import Caller, background
from app.audit.repository import Entry
from app.database import Access, Database
from app.errors import (
    RentgateError,
    UpstreamKeyRejected,
)
from app.telemetry import Metrics
from app.upstream.client import UpstreamClient
from app.upstream.errors import CallFailed, Outcome
from app.vault.service import Vault

T = TypeVar("T")

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class WatchedAccount:
    """An account as the background calls it, again and again.

    Attributes:
        api_key: its plain key while it may be kept; whoever is told of news of the key forgets it.
        uses: calls that are not in the audit trail's sums yet, by method and outcome.
        observed: readings of its answers that its health doesn't know of yet.
    """

    tenant_id: UUID
    upstream_key_id: UUID
    api_key: str | None = field(default=None, repr=False)
    uses: Counter[tuple[str, str]] = field(default_factory=Counter)
    observed: list[Observation] = field(default_factory=list)


class UpstreamCalls:
    """Makes every upstream call of a process; each waits for its turn and is counted."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        client: UpstreamClient,
        pace: Pace,
        metrics: Metrics,
        *,
        listed_order_ids: ListedOrderIds,
    ) -> None:
        self._database = database
        self._pace = pace
        self._exchange = Exchange(client, pace, metrics)
        self.keys = AccountKeys(database, vault, pace, self._exchange, listed_order_ids)
        self.trials = self.keys.trials
        self.health_notes = HealthNotes(database)

    async def read(
        self,
        caller: Caller,
        upstream_key_id: UUID,
        method: str,
        call: Callable[[UpstreamClient, str], Awaitable[T]],
        *,
        subject: str = "",
    ) -> T:
        """Make a call that spends and changes nothing, and put it into the audit trail.

        Args:
            caller: who caused it; the background's own calls are only summed up.
            method: the upstream's name of the call, for audit and metrics.
            call: makes it, given the client and the plain key.
            subject: the order that it reads of, if it is about one.

        Raises:
            RentgateError: what went wrong, fit for the caller.
        """
        readings = Observations(subject)
        try:
            result = await self.send(caller, upstream_key_id, method, call, readings=readings)
        except CallFailed as failure:
            await self._note(caller, upstream_key_id, method, failure.error.code, readings)
            raise failure.error from None
        await self._note(caller, upstream_key_id, method, audit.SUCCEEDED, readings)
        return result

    @asynccontextmanager
    async def noting(self, caller: Caller) -> AsyncIterator[list[Entry]]:
        """Collects rows of the audit trail that the block's transaction takes along; those that none took
        are written at its end. Saves a commit where something is asked right before something is done.
        """
        notes: list[Entry] = []
        try:
            yield notes
        finally:
            if notes:
                async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
                    audit.record_all(connection, caller, notes)

    async def read_keyless(
        self,
        method: str,
        call: Callable[[UpstreamClient], Awaitable[T]],
        *,
        caller: Caller | None,
        notes: list[Entry] | None = None,
    ) -> T:
        """Make a call that needs no account.

        Args:
            caller: who caused it; None for a check from the shell, which leaves no trail.
            notes: where its row of the audit trail goes, if the caller of this method sees to it.

        Raises:
            RentgateError: what went wrong, fit for the caller.
        """
        await self._pace.wait_for_turn(None)
        outcome = audit.SUCCEEDED
        try:
            return await self._exchange.make(method, None, call)
        except CallFailed as failure:
            outcome = failure.error.code
            raise failure.error from None
        finally:
            entry = Entry(f"upstream.{method}", outcome=outcome)
            if notes is not None:
                notes.append(entry)
            elif caller is not None:
                async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
                    audit.record_all(connection, caller, [entry])

    async def send(
        self,
        caller: Caller,
        upstream_key_id: UUID,
        method: str,
        call: Callable[[UpstreamClient, str], Awaitable[T]],
        *,
        readings: Observations | None = None,
    ) -> T:
        """Make a call once, leaving the audit trail to the caller of this method.

        Raises:
            CallFailed: with what is certain of the outcome.
        """
        try:
            await self._pace.wait_for_turn(upstream_key_id)
            await self.keys.make_ready(caller.tenant_id, upstream_key_id)
            async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
                opened = await self.keys.open(connection, caller.tenant_id, upstream_key_id)
        except RentgateError as error:
            raise CallFailed(Outcome.NOT_SENT, error, method) from None
        return await self.fire(
            caller,
            upstream_key_id,
            method,
            lambda client: call(client, opened.secret),
            readings=readings,
        )

    async def watch(
        self,
        account: WatchedAccount,
        method: str,
        call: Callable[[UpstreamClient, str], Awaitable[T]],
        *,
        patient: bool,
        subject: str = "",
    ) -> T:
        """Make a call for the background, which goes behind callers; it is counted with the account.

        Args:
            subject: the order that it reads of, if it is about one.
            patient: wait as a caller does: a money call hangs on the answer.

        Raises:
            NotYet: callers leave no room now.
            RentgateError: what went wrong.
        """
        if not self._pace.take_reserved(account.upstream_key_id):
            wait = self._pace.wait_for_turn if patient else self._pace.wait_for_spare
            await wait(account.upstream_key_id)
        if account.api_key is None:
            await self.keys.make_ready(account.tenant_id, account.upstream_key_id)
            async with self._database.transaction(Access.tenant(account.tenant_id)) as connection:
                api_key = await self.open_for(connection, account)
        else:
            api_key = account.api_key
        outcome = audit.SUCCEEDED
        readings = Observations(subject)
        try:
            return await self.fire(
                background(account.tenant_id),
                account.upstream_key_id,
                method,
                lambda client: call(client, api_key),
                readings=readings,
            )
        except CallFailed as failure:
            outcome = failure.error.code
            raise failure.error from None
        finally:
            account.uses[method, outcome] += 1
            account.observed += readings.made

    async def open_for(self, connection: AsyncConnection, account: WatchedAccount) -> str:
        """Open the key of a watched account, and keep it in memory if its home is here.

        Raises:
            NotFound: it was deleted meanwhile.
        """
        opened = await self.keys.open(connection, account.tenant_id, account.upstream_key_id)
        account.api_key = None if opened.kept_elsewhere else opened.secret
        return opened.secret

    async def draw(self, connection: AsyncConnection, upstream_key_id: UUID) -> float:
        """Take the account's next turn for a caller: the seconds until it comes.

        Raises:
            UpstreamBusy: it would come too late.
        """
        return await self._pace.draw(connection, upstream_key_id)

    async def fire(
        self,
        caller: Caller,
        upstream_key_id: UUID,
        method: str,
        call: Callable[[UpstreamClient], Awaitable[T]],
        *,
        readings: Observations | None = None,
    ) -> T:
        """Make a call once whose turn has come.

        Args:
            readings: takes up what its answer holds that can't be read.

        Raises:
            CallFailed: with what is certain of the outcome.
        """
        try:
            return await self._exchange.make(method, upstream_key_id, call, readings)
        except CallFailed as failure:
            if isinstance(failure.error, UpstreamKeyRejected):
                await self.keys.reject(caller, upstream_key_id)
            raise

    async def _note(
        self, caller: Caller, upstream_key_id: UUID, method: str, outcome: str, readings: Observations
    ) -> None:
        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
            if caller.is_background:
                uses = audit.Uses(caller.tenant_id, upstream_key_id, method, outcome, 1)
                await audit.count_background_calls(connection, [uses])
            else:
                audit.record(
                    connection, caller, f"upstream.{method}", target=upstream_key_id, outcome=outcome
                )
            if outcome == audit.SUCCEEDED:  # a key that was rejected once has proven itself again
                await self.keys.accept(connection, caller, upstream_key_id)
            await self.health_notes.note(connection, caller, upstream_key_id, readings)
