"""Delivers what is due, as jobs of the background: claims it, sends it, notes what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
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
from app.events.queueing import DELIVER
from app.events.types import EventType
from app.jobs.engine import Jobs
from app.telemetry import Metrics, traces
from app.vault.keyring import Keyring
from app.webhooks import deliveries, repository
from app.webhooks.deliveries import Claimed, Endpoint
from app.webhooks.retries import delay
from app.webhooks.sender import Answer, Sender

AT_ONCE_TO_ONE = 4
"""Attempts under way in a process to one endpoint."""

ROUND_SECONDS = 30.0
"""After so long an endpoint with ever more to deliver goes to the back of the queue."""

RENEW_SECONDS = 3.0

UNATTENDED_SECONDS, SWEPT_AT_ONCE = 1.0, 1000

log = structlog.get_logger(__name__)


class Dispatcher:
    """The deliveries of one process. Any number of processes may dispatch; the database keeps them apart."""

    def __init__(
        self, database: Database, keyring: Keyring, sender: Sender, jobs: Jobs, metrics: Metrics
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._sender = sender
        self._jobs = jobs
        self._metrics = metrics
        self._holder = new_id()
        self._served: dict[Endpoint, asyncio.Event] = {}
        self._attempted: set[UUID] = set()
        jobs.does(DELIVER, self._deliver)

    async def renew(self) -> None:
        """Say now and then that this process's attempts are alive, until cancelled."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            if self._attempted:
                with contextlib.suppress(RentgateError):
                    async with self._database.transaction(WORKER) as connection:
                        await deliveries.renew(connection, self._holder, self._attempted)

    async def sweep(self) -> None:
        """See to deliveries that are due and have no job: their process has died, or the job was lost."""
        async with self._database.transaction(WORKER) as connection:
            found = await deliveries.unattended(connection, UNATTENDED_SECONDS, SWEPT_AT_ONCE)
        for endpoint in found:
            if endpoint not in self._served:
                await self._defer(endpoint)

    async def _defer(self, endpoint: Endpoint) -> None:
        told = {"tenant_id": str(endpoint.tenant_id), "webhook_id": str(endpoint.webhook_id)}
        await self._jobs.defer(DELIVER, once=f"{DELIVER} {endpoint.webhook_id}", **told)

    async def _deliver(self, tenant_id: str, webhook_id: str) -> None:
        """Deliver what is due of an endpoint; one job of a process does so at a time, and others tell it."""
        endpoint = Endpoint(UUID(tenant_id), UUID(webhook_id))
        if (news := self._served.get(endpoint)) is not None:
            news.set()
            return
        news = self._served[endpoint] = asyncio.Event()
        try:
            is_left = await self._serve(endpoint, news)
        except RentgateError as error:  # the sweep comes back to it
            log.warning("webhooks.claim_failed", code=error.code)
            return
        finally:
            del self._served[endpoint]
        if is_left:
            await self._defer(endpoint)

    async def _serve(self, endpoint: Endpoint, news: asyncio.Event) -> bool:
        """Deliver until nothing is due any more, or others have waited for long; whether something may be
        left. Attempts that are under way are finished.
        """
        under_way: set[asyncio.Task[None]] = set()
        enough = time.monotonic() + ROUND_SECONDS
        try:
            while not self._jobs.stopping.is_set() and time.monotonic() < enough:
                news.clear()
                async with self._database.transaction(Access.tenant(endpoint.tenant_id)) as connection:
                    found = await deliveries.claim(
                        connection, self._holder, endpoint, AT_ONCE_TO_ONE - len(under_way)
                    )
                under_way |= {asyncio.ensure_future(self._attempt(claimed)) for claimed in found}
                if under_way:
                    await _first_of(under_way, news if len(under_way) < AT_ONCE_TO_ONE else None)
                    under_way = {task for task in under_way if not task.done()}
                elif not news.is_set():
                    return False
            return True
        finally:
            if under_way:
                await asyncio.wait(under_way)

    async def _attempt(self, claimed: Claimed) -> None:
        """Send one delivery and note what came of it. Whatever goes wrong here, its lease runs out and
        somebody tries again.
        """
        self._attempted.add(claimed.id)
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
        finally:
            self._attempted.discard(claimed.id)

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


async def _first_of(tasks: Iterable[asyncio.Task[None]], news: asyncio.Event | None) -> None:
    """Wait until one of the tasks has ended, or there is news."""
    if news is None:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return
    hearing = asyncio.ensure_future(news.wait())
    try:
        await asyncio.wait({*tasks, hearing}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        hearing.cancel()


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
