"""Delivers what is due, in the background: claims it, sends it, notes what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit import repository as audit
from app.audit.caller import background
from app.database import WORKER, Access, Database, new_id
from app.errors import RentgateError
from app.events import repository as events
from app.events.notifications import QUEUED, Notifications, Subscription
from app.events.types import EventType
from app.telemetry import Metrics, traces
from app.vault.keyring import Keyring
from app.webhooks import claims, deliveries, repository
from app.webhooks.claims import Claimed
from app.webhooks.retries import delay
from app.webhooks.sender import Answer, Sender

AT_ONCE, AT_ONCE_TO_ONE = 600, 4
"""Attempts under way in a process, and in all processes to one endpoint. While a process has more than half
of its attempts under way, it begins further ones only to endpoints that have none: a hundred endpoints that
let each attempt run into its timeout leave room for those that answer.
"""

ENDPOINTS_AT_ONCE = 50
"""Endpoints of a claim, whose rows it locks for a moment."""

IDLE_SECONDS = 5.0
"""How often a process looks for due deliveries that nothing told it of: those of a process that has died."""

FAILED_SECONDS = 1.0
RENEW_SECONDS = 3.0

log = structlog.get_logger(__name__)


class Dispatcher:
    """The deliveries of one process. Any number of processes may dispatch; the database keeps them apart."""

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        sender: Sender,
        notifications: Notifications,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._sender = sender
        self._notifications = notifications
        self._metrics = metrics
        self._holder = new_id()
        self._under_way: dict[UUID, asyncio.Task[None]] = {}
        """Attempts, by the ids of their deliveries."""

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver what is due until `stop` is set; attempts that are under way are finished."""
        renewing = asyncio.ensure_future(self._renew())
        stopping = asyncio.ensure_future(stop.wait())
        try:
            with self._notifications.subscription(QUEUED) as news:
                stopping.add_done_callback(lambda _: news.wake())
                while not stop.is_set():
                    await news.wait(await self._claim(news))
            if self._under_way:
                await asyncio.wait(self._under_way.values())
        finally:
            renewing.cancel()
            stopping.cancel()

    async def _claim(self, news: Subscription) -> float:
        """Claim what is due and begin to deliver it; seconds after which to claim again, if no news comes
        before. An attempt that ends is news: it leaves room for another.
        """
        free = AT_ONCE - len(self._under_way)
        most = AT_ONCE_TO_ONE if free > AT_ONCE / 2 else 1
        if not free:
            return IDLE_SECONDS
        try:
            async with self._database.transaction(WORKER) as connection:
                claim = await claims.claim(
                    connection, self._holder, endpoints=min(ENDPOINTS_AT_ONCE, free // most), most=most
                )
        except RentgateError as error:
            log.warning("webhooks.claim_failed", code=error.code)
            return FAILED_SECONDS
        except Exception:
            log.exception("webhooks.claim_crashed")
            return FAILED_SECONDS
        for claimed in claim.deliveries:
            self._under_way[claimed.id] = attempt = asyncio.ensure_future(self._attempt(claimed))
            attempt.add_done_callback(partial(self._end, claimed.id, news))
        return IDLE_SECONDS if claim.next_in is None else min(claim.next_in, IDLE_SECONDS)

    def _end(self, delivery_id: UUID, news: Subscription, attempt: asyncio.Task[None]) -> None:
        if self._under_way.get(delivery_id) is attempt:
            del self._under_way[delivery_id]
        news.wake()

    async def _renew(self) -> None:
        """Renew the leases of this process's attempts, until cancelled."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            if self._under_way:
                with contextlib.suppress(RentgateError):
                    async with self._database.transaction(WORKER) as connection:
                        await claims.renew(connection, self._holder, self._under_way)

    async def _attempt(self, claimed: Claimed) -> None:
        """Send one delivery and note what came of it. Whatever goes wrong here, its lease runs out and
        somebody tries again.
        """
        try:
            await self._keyring.make_ready(self._database, claimed.tenant_id)
            async with self._database.transaction(Access.tenant(claimed.tenant_id)) as connection:
                row = await deliveries.to_send(connection, claimed)
                secrets = await repository.signing_secrets(
                    connection, self._keyring, claimed.tenant_id, claimed.webhook_id
                )
            if row is None or not secrets:
                return
            answer = await self._send(claimed, row, secrets)
            self._metrics.webhook(_outcome(answer), answer.seconds)
            if answer.taken and row.age is not None:
                self._metrics.webhook_delay(row.age + answer.seconds)
            next_in = None if answer.unwanted else delay(row.attempts + 1, answer.retry_after)
            async with self._database.transaction(Access.tenant(claimed.tenant_id)) as connection:
                noted = await deliveries.note(connection, claimed, self._holder, answer, next_in=next_in)
                if noted and not answer.taken and next_in is None and row.test_body is None:
                    await _disable(connection, claimed)
        except RentgateError as error:
            log.warning("webhook.attempt_failed", delivery_id=str(claimed.id), code=error.code)
        except Exception:
            log.exception("webhook.attempt_crashed", delivery_id=str(claimed.id))

    async def _send(self, claimed: Claimed, row: Any, secrets: Sequence[str]) -> Answer:
        told = {
            "rentgate.webhook_id": str(claimed.webhook_id),
            "rentgate.event_id": str(row.event_id),
            "rentgate.event_type": row.event_type,
            "rentgate.webhook.attempt": row.attempts + 1,
            "server.address": urlsplit(row.url).hostname,
        }
        with traces.span("webhook", told, kind=traces.CLIENT, link=row.traceparent) as span:
            answer = await self._sender.send(row.url, str(row.event_id), _body(row), secrets)
            span.note({"http.response.status_code": answer.status})
            if not answer.taken:
                span.fail(_outcome(answer))
            return answer


def _body(row: Any) -> str:
    """What is sent: an event without its id, which is in a header."""
    timestamp: datetime = row.timestamp or row.created_at
    data = row.data if row.test_body is None else row.test_body
    told = {"type": row.event_type, "timestamp": timestamp.astimezone(UTC).isoformat(), "data": data}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"))


async def _disable(connection: AsyncConnection, claimed: Claimed) -> None:
    """Give an endpoint up that was given every chance, or wants no more."""
    caller = background(claimed.tenant_id)
    disabled = await repository.disable(connection, claimed.tenant_id, claimed.webhook_id)
    if disabled is not None:
        events.emit(connection, caller, EventType.WEBHOOK_DISABLED, disabled.shown)
        audit.record(connection, caller, "webhook.disable", target=claimed.webhook_id)


def _outcome(answer: Answer) -> str:
    if answer.taken:
        return deliveries.DELIVERED
    return "refused" if answer.status is not None else "unreachable"
