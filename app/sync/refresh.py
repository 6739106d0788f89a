"""Having an account polled because a caller wants to see it now, and for longer because one waits."""

from __future__ import annotations

import time
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts import refresh_requests, schedule
from app.accounts.refresh_requests import Answer, RefreshRequest
from app.audit.caller import Caller
from app.database import Access, Database, new_id
from app.errors import UpstreamBusy, UpstreamUnavailable, catalogue
from app.events.notifications import Notifications, Subscription
from app.rentals import message_reads, views
from app.telemetry import traces

MARGIN_SECONDS = 5.0
"""How much longer than one upstream call a caller waits for the answer of the account's worker."""

ASK_AGAIN_SECONDS = 2.0
"""How often a caller asks again: the worker may have died, or a notification may have been lost."""

NO_WORKER = (
    "No worker answers. Check that one runs (`rentgate worker`, or `rentgate serve` without `--no-worker`)"
    " and that it keeps up; without `refresh` the stored messages can be read."
)


class Refresher:
    """Asks the workers for polls on behalf of callers."""

    def __init__(
        self, database: Database, notifications: Notifications, *, interval: float, call_timeout: float
    ) -> None:
        """Share the database with the workers.

        Args:
            interval: seconds within which an account is not polled twice.
            call_timeout: seconds that one upstream call may take.
        """
        self._database = database
        self._notifications = notifications
        self._interval = interval
        self._longest = call_timeout + MARGIN_SECONDS

    async def refresh(self, caller: Caller, rental_id: UUID) -> bool:
        """Have a rental's account polled for a caller, unless it was polled within the interval, and wait.

        However many ask at once, one poll is made, and it answers all who asked before it began.

        Returns:
            whether a poll was asked for.

        Raises:
            RentalNotFound: the tenant has no such rental.
            UpstreamBusy: no worker answered within the time-out of a call and MARGIN_SECONDS.
            RentgateError: the poll failed, and why.
        """
        tenant = Access.tenant(caller.tenant_id)
        request = RefreshRequest(new_id(), rental_id, caller, traces.headers().get("traceparent"))
        with self._notifications.subscription(request.id) as news:
            async with self._database.transaction(tenant) as connection:
                rental = await views.get(connection, caller.tenant_id, rental_id)
                if await self._is_fresh(connection, caller.tenant_id, rental.upstream_key_id, rental_id):
                    return False
                await refresh_requests.ask(connection, request, rental.upstream_key_id, self._longest)
            try:
                answer = await self._answer(request, rental.upstream_key_id, news)
            finally:
                async with self._database.transaction(tenant) as connection:
                    await refresh_requests.withdraw(connection, caller.tenant_id, request.id)
        if answer is None:
            raise UpstreamBusy(NO_WORKER, retry_after=MARGIN_SECONDS)
        if answer.error is not None:
            raise answer.error
        return True

    async def want(self, caller: Caller, upstream_key_id: UUID, rental_id: UUID, seconds: float) -> None:
        """Have a rental's account polled at the short interval for so long, and its messages read each time:
        somebody waits for one.
        """
        async with self._database.transaction(Access.tenant(caller.tenant_id)) as connection:
            await schedule.want(
                connection, caller.tenant_id, upstream_key_id, seconds=seconds, interval=self._interval
            )
            await message_reads.want_messages(connection, caller.tenant_id, rental_id, seconds)

    async def _answer(self, request: RefreshRequest, key_id: UUID, news: Subscription) -> Answer | None:
        """Wait for the answer to a request; None if no worker gives one in time, or the process stops."""
        tenant_id = request.caller.tenant_id
        deadline = time.monotonic() + self._longest
        while (left := deadline - time.monotonic()) > 0 and not self._notifications.closing:
            await news.wait(min(left, ASK_AGAIN_SECONDS))
            async with (
                self._notifications.some_at_a_time,
                self._database.transaction(Access.tenant(tenant_id)) as connection,
            ):
                answer = await refresh_requests.answer_of(connection, tenant_id, request.id)
                if answer is not None:
                    return answer
                await schedule.poll_soon(connection, tenant_id, key_id)
        return None

    async def _is_fresh(
        self, connection: AsyncConnection, tenant_id: UUID, key_id: UUID, rental_id: UUID
    ) -> bool:
        """Whether what is stored is the answer: the account was polled within the interval, and so was the
        rental, if its messages could not be read.

        Raises:
            RentgateError: none of its messages could be read within the interval, and why.
        """
        state = await schedule.state(connection, tenant_id, key_id)
        if state is None or state.seconds_since_look is None or state.seconds_since_look >= self._interval:
            return False
        messages = await message_reads.messages_state(connection, tenant_id, rental_id)
        if messages.error_code is None:
            return True
        if messages.tried_ago is None or messages.tried_ago >= self._interval:
            return False
        raise catalogue().get(messages.error_code, UpstreamUnavailable)()
