"""A request as its route sees it: who makes it, and how it reads, changes and answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncConnection

from app.api.wired import services_of
from app.audit import repository as audit
from app.audit.caller import Caller
from app.database import Access
from app.idempotency import repository as idempotency
from app.idempotency.repository import Claim
from app.wiring import Services

A = TypeVar("A", bound=BaseModel)


@dataclass(slots=True)
class Change:
    """A change under way: its transaction, who makes it, and what it is answered with."""

    connection: AsyncConnection
    caller: Caller
    body: Any = None
    resource_id: UUID | None = None

    def record(
        self, action: str, target: UUID | None = None, details: Mapping[str, Any] | None = None
    ) -> None:
        """Have the change in the audit trail, as `audit.record` does."""
        audit.record(self.connection, self.caller, action, target=target, details=details)

    def answer(self, body: A) -> A:
        """Answer with this; returns it, for the route to return."""
        self.body = body.model_dump(mode="json")
        self.resource_id = getattr(body, "id", None)
        return body


@dataclass(frozen=True, slots=True)
class Context:
    """A request as its route sees it.

    Attributes:
        caller: who makes it, and for which tenant.
        access: in whose name its transactions act.
        response: takes headers and the status of the answer.
    """

    caller: Caller
    access: Access
    request: Request
    response: Response

    @property
    def tenant_id(self) -> UUID:
        """The tenant that the request is about."""
        return self.caller.tenant_id

    @property
    def services(self) -> Services:
        """The services of the process."""
        return services_of(self.request)

    @property
    def claim(self) -> Claim | None:
        """The claim of the request's Idempotency-Key, for what it begins."""
        return claim_of(self.request)

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction that reads."""
        return self.services.database.transaction(self.access)

    @asynccontextmanager
    async def changing(self, *, within: str | None = None) -> AsyncIterator[Change]:
        """A transaction that changes something. Its answer is kept under the Idempotency-Key in the same
        transaction, so that both stand or fall; no answer means a 204.

        Args:
            within: the collection that gains a resource; `Location` is its path and the answer's id.

        Raises:
            IdempotencyKeyInUse: the claim lapsed, and another request has it now.
        """
        route: APIRoute = self.request.scope["route"]
        async with self.services.database.transaction(self.access) as connection:
            change = Change(connection, self.caller)
            yield change
            location = None if within is None else f"{within}/{change.resource_id}"
            if (claim := self.claim) is not None:
                status = route.status_code or 200
                await idempotency.remember(
                    connection, claim, status=status, body=change.body, location=location
                )
                self.request.state.answer_kept = True
        if location is not None:
            self.response.headers["Location"] = location


def transaction_of(request: Request, tenant_id: UUID) -> AbstractAsyncContextManager[AsyncConnection]:
    """A transaction for what has to be done before or after a route's own."""
    return services_of(request).database.transaction(Access.tenant(tenant_id))


def claim_of(request: Request) -> Claim | None:
    """The claim of a request's Idempotency-Key."""
    return getattr(request.state, "claim", None)
