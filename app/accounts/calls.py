"""Calling the upstream in somebody's name: the turn, the key, the call, and the trace that it leaves."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID
from weakref import WeakValueDictionary

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.breaker import Breaker
from app.accounts.health import Observation, Observations
from app.accounts.health_notes import HealthNotes
from app.accounts.observed import observed
from app.accounts.pace import Pace
from app.accounts.set_aside_reports import SetAsideReports
from app.accounts.trials import ListedOrderIds, Trials
from app.audit import repository as audit
from app.audit.caller import Caller, background
from app.audit.repository import Entry
from app.database import Access, Database
from app.errors import (
    DatabaseUnavailable,
    RentgateError,
    UpstreamAccountDiffers,
    UpstreamBusy,
    UpstreamKeyInUse,
    UpstreamKeyRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from app.events import repository as events
from app.events.types import EventType
from app.queries import Query
from app.telemetry import Metrics
from app.upstream.client import UpstreamClient
from app.upstream.errors import CallFailed, Outcome
from app.upstream.rows import Listing
from app.upstream.set_aside import Findings
from app.upstream.wire import Order
from app.vault.sealed import StoredKey
from app.vault.service import Vault
from app.vault.stored import ACTIVE, REJECTED

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
        self._vault = vault
        self._client = client
        self._pace = pace
        self._breaker = Breaker()
        self._metrics = metrics
        self._set_aside = SetAsideReports(metrics)
        self.health_notes = HealthNotes(database)
        self.trials = Trials(database, vault, self.try_secret, listed_order_ids)
        self._taking: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

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
            return await self._counted(method, None, call)
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

    async def try_secret(self, caller: Caller, upstream_key_id: UUID, api_key: str) -> Listing[Order]:
        """The orders that a secret shows which is not stored (yet) in this key's place.

        Raises:
            UpstreamKeyRejected: the upstream does not accept it.
            RentgateError: what else went wrong, fit for the caller.
        """
        await self._pace.wait_for_turn(upstream_key_id)
        try:
            found = await self._counted("orders", upstream_key_id, lambda client: client.orders(api_key))
        except CallFailed as failure:
            await self._note_trial(caller, upstream_key_id, failure.error.code)
            raise failure.error from None
        await self._note_trial(caller, upstream_key_id, audit.SUCCEEDED)
        return found

    async def _note_trial(self, caller: Caller, upstream_key_id: UUID, outcome: str) -> None:
        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
            audit.record(connection, caller, "upstream.orders", target=upstream_key_id, outcome=outcome)

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
            await self.make_ready(caller.tenant_id, upstream_key_id)
            async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
                opened = await self._vault.open_secret(connection, caller.tenant_id, upstream_key_id)
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
            await self.make_ready(account.tenant_id, account.upstream_key_id)
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
        opened = await self._vault.open_secret(connection, account.tenant_id, account.upstream_key_id)
        account.api_key = None if opened.kept_elsewhere else opened.secret
        return opened.secret

    async def accept(self, connection: AsyncConnection, account: WatchedAccount) -> None:
        """Note that the upstream accepts an account's key: one that was rejected has proven itself again."""
        await self._note_acceptance(connection, background(account.tenant_id), account.upstream_key_id)

    async def _note_acceptance(
        self, connection: AsyncConnection, caller: Caller, upstream_key_id: UUID
    ) -> None:
        if await self._vault.set_status(connection, caller.tenant_id, upstream_key_id, ACTIVE):
            audit.record(connection, caller, "upstream_key.accept", target=upstream_key_id)

    async def draw(self, connection: AsyncConnection, upstream_key_id: UUID) -> float:
        """Take the account's next turn for a caller: the seconds until it comes.

        Raises:
            UpstreamBusy: it would come too late.
        """
        return await self._pace.draw(connection, upstream_key_id)

    async def make_ready(self, tenant_id: UUID, upstream_key_id: UUID) -> None:
        """Have the vault ready to open a key; to be called before the transaction that does.

        A secret that was replaced at its source is tried before it is used, and only once at a time.

        Raises:
            VaultUnavailable: the service that keeps the vault's key, or the secret, can't be asked.
            UpstreamKeyRejected: the secret at the key's reference now is no good, or another account's.
            RentgateError: what else went wrong with trying it.
        """
        if await self._vault.make_key_ready(tenant_id, upstream_key_id) is None:
            return
        async with self._taking.setdefault(upstream_key_id, asyncio.Lock()):
            rotated = await self._vault.make_key_ready(tenant_id, upstream_key_id)
            if rotated is None:
                return
            gateway = background(tenant_id)
            try:
                await self.trials.replace(
                    gateway, upstream_key_id, rotated.secret, reference=rotated.reference, rotated=True
                )
            except (UpstreamKeyRejected, UpstreamAccountDiffers, UpstreamKeyInUse) as refusal:
                await self._mark_rejected(gateway, upstream_key_id)
                why = f"The secret that is at the key's reference now is not taken: {refusal.title}."
                raise UpstreamKeyRejected(why) from None

    def stored_key(self, tenant_id: UUID, upstream_key_id: UUID) -> Query[StoredKey]:
        """What is stored of the account's key, for `open_stored`."""
        return self._vault.stored_key(tenant_id, upstream_key_id)

    async def open_stored(self, connection: AsyncConnection, stored: StoredKey) -> str:
        """The plain key of what is stored of it, for a call that is made at once."""
        return (await self._vault.open_stored(connection, stored)).secret

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
            return await self._counted(method, upstream_key_id, call, readings)
        except CallFailed as failure:
            if isinstance(failure.error, UpstreamKeyRejected):
                self._vault.doubt(upstream_key_id)
                await self._mark_rejected(caller, upstream_key_id)
            raise

    async def _hold_off(self, upstream_key_id: UUID | None, error: RentgateError) -> None:
        """If the upstream limits an account's calls, none is made before it wants one."""
        if upstream_key_id is None or not isinstance(error, UpstreamBusy) or error.retry_after is None:
            return
        try:
            await self._pace.hold_off(upstream_key_id, error.retry_after)
        except DatabaseUnavailable as away:  # what came of the call must not be lost over this
            log.warning("pace.not_held_off", upstream_key_id=str(upstream_key_id), code=away.code)

    async def _counted(
        self,
        method: str,
        upstream_key_id: UUID | None,
        call: Callable[[UpstreamClient], Awaitable[T]],
        readings: Observations | None = None,
    ) -> T:
        def observe(findings: Findings) -> None:
            self._set_aside.report(findings)
            if readings is not None:
                readings.add(findings)

        try:
            self._breaker.pass_or_refuse()
        except UpstreamUnavailable as error:
            raise CallFailed(Outcome.NOT_SENT, error, method) from None
        try:
            result = await observed(
                self._metrics, method, upstream_key_id, lambda: call(self._client.observed_by(observe))
            )
        except CallFailed as failure:
            if failure.outcome is not Outcome.NOT_SENT:
                await self._hold_off(upstream_key_id, failure.error)
            if isinstance(failure.error, UpstreamUnavailable | UpstreamTimeout):
                self._breaker.failed()
            else:
                self._breaker.answered()
            raise
        self._breaker.answered()
        return result

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
                await self._note_acceptance(connection, caller, upstream_key_id)
            await self.health_notes.note(connection, caller, upstream_key_id, readings)

    async def _mark_rejected(self, caller: Caller, upstream_key_id: UUID) -> None:
        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
            if await self._vault.set_status(connection, caller.tenant_id, upstream_key_id, REJECTED):
                events.emit(
                    connection,
                    caller,
                    EventType.UPSTREAM_KEY_REJECTED,
                    {"upstream_key_id": str(upstream_key_id)},
                )
                audit.record(connection, caller, "upstream_key.reject", target=upstream_key_id)
