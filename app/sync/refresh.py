"""Looking at an account because a caller wants to see it now, and for longer because one waits."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from uuid import UUID

from app.accounts import schedule
from app.accounts.calls import WatchedAccount
from app.accounts.pace import NotYet
from app.audit import repository as audit
from app.audit.caller import Caller
from app.audit.repository import Uses
from app.database import Access, Database, new_id
from app.errors import InternalError, RentgateError, UpstreamBusy, UpstreamUnavailable, catalogue
from app.rentals import message_reads, repository
from app.sync.looks import UNREADABLE, Looker, Lost
from app.sync.watch import Watch

POLL_SECONDS = 0.1
ASKED_SECONDS = 3.0
"""For how long no worker takes an account that a caller asked for; he asks again while he waits."""


class Need(Enum):
    """What a caller who wants to see an account now still needs: nothing, a look that may be another's as
    well, or one of his own.
    """

    NOTHING = "nothing"
    LOOK = "look"
    OWN_LOOK = "own look"


@dataclass(slots=True)
class Claim:
    """A hold on an account for one look; every call renews it."""

    database: Database
    account: WatchedAccount
    holder: UUID
    seconds: float

    async def take(self) -> schedule.LookState | None:
        """Claim the account, or renew the claim; None while somebody else has it."""
        tenant_id, key_id = self.account.tenant_id, self.account.upstream_key_id
        async with self.database.transaction(Access.tenant(tenant_id)) as connection:
            return await schedule.claim(connection, tenant_id, key_id, self.holder, self.seconds)

    async def keep(self) -> bool:
        """See that the claim lasts for one more call."""
        return await self.take() is not None

    def now(self) -> datetime | None:
        """Not known: a single look asks the database."""
        return None


class Refresher:
    """Has accounts looked at for callers, however many of them ask."""

    def __init__(self, database: Database, looker: Looker, *, call_timeout: float) -> None:
        self._database = database
        self._looker = looker
        self._call_timeout = call_timeout

    async def refresh(self, caller: Caller, rental_id: UUID) -> bool:
        """Look at a rental's account for a caller, unless it was looked at within the interval.

        However many ask at once, one look is made, and all wait for it. The worker that has the account is
        asked to give it up for that long.

        Returns:
            whether this was the one that made it.

        Raises:
            RentalNotFound: the tenant has no such rental.
            RentgateError: the look failed, and why.
        """
        tenant = Access.tenant(caller.tenant_id)
        async with self._database.transaction(tenant) as connection:
            rental = await repository.get(connection, caller.tenant_id, rental_id)
        key_id = rental.upstream_key_id
        began, asked_at = time.monotonic(), 0.0
        try:
            while (need := await self._need(caller, key_id, rental_id, began)) is not Need.NOTHING:
                since = began if need is Need.LOOK else None
                if await self.look(caller, key_id, rental_id, began=since):
                    return True
                if (now := time.monotonic()) - began > self._call_timeout:
                    raise UpstreamBusy("A look at the account is still under way.", retry_after=1)
                if now - asked_at > ASKED_SECONDS / 2:
                    async with self._database.transaction(tenant) as connection:
                        await schedule.ask(connection, caller.tenant_id, key_id, ASKED_SECONDS)
                    asked_at = now
                await asyncio.sleep(POLL_SECONDS)
            return False
        finally:
            if asked_at:
                async with self._database.transaction(tenant) as connection:
                    await schedule.ask_no_more(connection, caller.tenant_id, key_id)

    async def want(self, caller: Caller, upstream_key_id: UUID, rental_id: UUID, seconds: float) -> None:
        """Have a rental's account looked at at the short interval for so long, and its messages read each
        time: somebody waits for one.
        """
        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
            await schedule.want(
                connection,
                caller.tenant_id,
                upstream_key_id,
                seconds=seconds,
                interval=self._looker.intervals.busy,
            )
            await message_reads.want_messages(connection, caller.tenant_id, rental_id, seconds)

    async def look(
        self,
        caller: Caller,
        upstream_key_id: UUID,
        wanted: UUID | None = None,
        *,
        began: float | None = None,
    ) -> bool:
        """Look at an account once.

        Args:
            wanted: the rental whose messages are wanted.
            began: a reading of `time.monotonic()`; a look that was made since, or within the interval before,
                will do as well.

        Returns:
            False if that was made, or somebody else has the account.

        Raises:
            RentgateError: the look failed, and why.
        """
        watch = Watch(WatchedAccount(caller.tenant_id, upstream_key_id))
        claim = Claim(self._database, watch.account, new_id(), 2 * self._call_timeout + 5)
        state = await claim.take()
        if state is None:
            return False
        if began is not None and self._was_tried(state, began):
            next_in = max(0.0, self._looker.intervals.busy - (state.seconds_since_try or 0.0))
            await self._release(watch, claim, next_in, tried=False)
            return False
        watch.failures = state.failures
        next_in = 0.0
        try:
            await self._looker.look(watch, claim, caller=caller, wanted=wanted)
            next_in = self._looker.intervals.after(watch)
        except NotYet as turn:
            next_in = turn.seconds
        except Lost:
            raise UpstreamBusy("The look took too long; another one has begun.", retry_after=1) from None
        except Exception as crash:
            error = crash if isinstance(crash, RentgateError) else InternalError()
            next_in = self._looker.intervals.pause(error, watch.failures)
            await self._looker.note_failure(watch, claim, error)
            raise
        finally:
            await self._release(watch, claim, next_in, tried=True)
        return True

    async def _release(self, watch: Watch, claim: Claim, next_in: float, *, tried: bool) -> None:
        tenant_id, key_id = watch.account.tenant_id, watch.account.upstream_key_id
        uses = [Uses(tenant_id, key_id, *use, calls) for use, calls in watch.account.uses.items()]
        async with self._database.transaction(Access.tenant(tenant_id)) as connection:
            await schedule.release(
                connection,
                tenant_id,
                key_id,
                claim.holder,
                tried=tried,
                seen=watch.seen_at is not None,
                next_in=next_in,
            )
            await message_reads.note_messages_read(connection, watch.unwritten_reads())
            await audit.count_background_calls(connection, uses)

    def _was_tried(self, state: schedule.LookState, began: float) -> bool:
        """Whether an account was seen within the interval, or a look was tried since a moment."""
        waited = time.monotonic() - began
        return _within(state.seconds_since_try, waited) or self._was_seen(state, waited)

    def _was_seen(self, state: schedule.LookState, waited: float) -> bool:
        return _within(state.seconds_since_look, max(waited, self._looker.intervals.busy))

    async def _need(self, caller: Caller, key_id: UUID, rental_id: UUID, began: float) -> Need:
        """What a caller still needs who asked at `began`. A look that could not read the list of orders is
        enough if it read the rental's messages, or tried to; one that did not try them is not if they can't
        be read.

        Raises:
            RentgateError: a look was tried since, and failed; or the messages can't be read.
        """
        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
            state = await schedule.state(connection, caller.tenant_id, key_id)
            if state is None or not self._was_tried(state, began):
                return Need.LOOK
            messages = await message_reads.messages_state(connection, caller.tenant_id, rental_id)
        waited = time.monotonic() - began
        if state.error_code is not None and _within(state.seconds_since_try, waited):
            error = catalogue().get(state.error_code, UpstreamUnavailable)
            if not issubclass(error, UNREADABLE):
                raise error()
            enough = waited
        elif messages.error_code is None:
            return Need.NOTHING
        else:
            enough = max(waited, self._looker.intervals.busy)
        if not _within(messages.tried_ago, enough):
            return Need.OWN_LOOK
        if messages.error_code is not None:
            raise catalogue().get(messages.error_code, UpstreamUnavailable)()
        return Need.NOTHING


def _within(ago: float | None, seconds: float) -> bool:
    return ago is not None and ago < seconds
