"""Requests of callers for a poll of an account now; the worker that has the account answers them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.models import refresh_requests
from app.accounts.schedule import poll_soon
from app.audit.caller import Caller
from app.database import NOW
from app.database.lease import until
from app.errors import NotFound, RentgateError, UpstreamRefusal, UpstreamUnavailable, catalogue
from app.events.notifications import notify
from app.vault.models import upstream_keys
from app.vault.stored import NO_SUCH_KEY


@dataclass(frozen=True, slots=True)
class RefreshRequest:
    """A caller's request for a poll.

    Attributes:
        rental_id: whose messages the caller wants.
        caller: in whose name the calls are made.
        traceparent: of the span within which it was asked for.
    """

    id: UUID
    rental_id: UUID
    caller: Caller
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """How the poll for a request ended; with no error, the rental is as the upstream shows it."""

    error: RentgateError | None


async def ask(
    connection: AsyncConnection, request: RefreshRequest, upstream_key_id: UUID, seconds: float
) -> None:
    """Ask an account's worker for a poll at once; after so many seconds nobody waits for it any more.

    Raises:
        NotFound: the account's key was deleted, so that no worker polls it.
    """
    caller, key = request.caller, upstream_keys.c
    living = sa.select(key.id).where(
        key.tenant_id == caller.tenant_id, key.id == upstream_key_id, key.deleted_at.is_(None)
    )
    if await connection.scalar(living) is None:
        raise NotFound(NO_SUCH_KEY)
    await connection.execute(
        refresh_requests.insert().values(
            tenant_id=caller.tenant_id,
            id=request.id,
            upstream_key_id=upstream_key_id,
            rental_id=request.rental_id,
            actor=caller.actor,
            address=caller.address,
            request_id=caller.request_id,
            traceparent=request.traceparent,
            waits_until=until(seconds),
        )
    )
    await poll_soon(connection, caller.tenant_id, upstream_key_id)


async def pending(
    connection: AsyncConnection, tenant_id: UUID, upstream_key_id: UUID
) -> list[RefreshRequest]:
    """The requests for an account that wait for an answer, the oldest first."""
    row = refresh_requests.c
    query = (
        sa.select(row.id, row.rental_id, row.actor, row.address, row.request_id, row.traceparent)
        .where(row.tenant_id == tenant_id, row.upstream_key_id == upstream_key_id, *_IS_PENDING)
        .order_by(row.id)
    )
    return [
        RefreshRequest(r.id, r.rental_id, Caller(tenant_id, r.actor, r.address, r.request_id), r.traceparent)
        for r in await connection.execute(query)
    ]


async def answer(
    connection: AsyncConnection, tenant_id: UUID, answers: Mapping[UUID, RentgateError | None]
) -> None:
    """Answer requests, by their ids, and wake who waits for them."""
    for request_id, error in answers.items():
        await connection.execute(
            refresh_requests.update()
            .where(refresh_requests.c.tenant_id == tenant_id, refresh_requests.c.id == request_id)
            .values(answered_at=NOW, error=None if error is None else _stored(error))
        )
    notify(connection, *answers)


async def answer_of(connection: AsyncConnection, tenant_id: UUID, request_id: UUID) -> Answer | None:
    """The answer to a request; None while there is none."""
    query = sa.select(refresh_requests.c.error).where(
        refresh_requests.c.tenant_id == tenant_id,
        refresh_requests.c.id == request_id,
        refresh_requests.c.answered_at.is_not(None),
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else Answer(None if row.error is None else _restored(row.error))


async def withdraw(connection: AsyncConnection, tenant_id: UUID, request_id: UUID) -> None:
    """Delete a request: its caller has the answer, or waits no longer."""
    await connection.execute(
        refresh_requests.delete().where(
            refresh_requests.c.tenant_id == tenant_id, refresh_requests.c.id == request_id
        )
    )


async def delete_old(connection: AsyncConnection) -> None:
    """Delete the requests whose callers ended without doing so."""
    await connection.execute(refresh_requests.delete().where(refresh_requests.c.waits_until < NOW))


def is_requested(table: sa.Table, upstream_key_id: sa.Column[UUID]) -> sa.ColumnElement[bool]:
    """Whether a caller waits for a poll of an account, in a query of a table whose column names the key."""
    pending_ones = sa.select(refresh_requests.c.id).where(
        refresh_requests.c.tenant_id == table.c.tenant_id,
        refresh_requests.c.upstream_key_id == upstream_key_id,
        *_IS_PENDING,
    )
    return sa.exists(pending_ones.correlate(table))


def _stored(error: RentgateError) -> dict[str, Any]:
    refusal = error.upstream
    return {
        "code": error.code,
        "detail": error.detail,
        "retry_after": error.retry_after,
        "upstream": None if refusal is None else {"method": refusal.method, "message": refusal.message},
    }


def _restored(stored: dict[str, Any]) -> RentgateError:
    kind = catalogue().get(stored["code"], UpstreamUnavailable)
    refusal = stored["upstream"]
    return kind(
        stored["detail"],
        retry_after=stored["retry_after"],
        upstream=None if refusal is None else UpstreamRefusal(**refusal),
    )


_IS_PENDING = (refresh_requests.c.answered_at.is_(None), refresh_requests.c.waits_until > NOW)
