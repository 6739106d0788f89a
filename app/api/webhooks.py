"""`/webhooks`: endpoints that are told of events, and how the telling went."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Body, Depends, Query, Request, Response
from pydantic import BaseModel, Field, StringConstraints
from sqlalchemy.ext.asyncio import AsyncConnection

from app.api.auth import Require
from app.api.fields import Moment, RequestBody, Text
from app.api.idempotency import IdempotentRoute, keep_answer
from app.api.paging import Cursor, Limit, Page, after_id, next_cursor
from app.api.responses import IDEMPOTENT, WITH_BODY, problems
from app.api.wired import Wired
from app.audit import repository as audit
from app.audit.caller import Caller
from app.database import Access
from app.errors import FieldError, InvalidRequest, NotFound
from app.events.types import EventType
from app.tenants.scopes import Scope
from app.webhooks import deliveries, repository, targets
from app.webhooks.deliveries import Row
from app.webhooks.repository import Webhook
from app.webhooks.targets import LONGEST_URL, TargetRefused

router = APIRouter(tags=["webhooks"], route_class=IdempotentRoute)
Manager = Annotated[Caller, Depends(Require(Scope.WEBHOOKS_MANAGE))]

CURSOR, DELIVERIES = "webhooks", "deliveries"
TEST_DATA = {"message": "This is a test of your webhook; nothing has happened."}

Url = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_URL)]
Description = Annotated[Text, StringConstraints(max_length=500)]
EventName = EventType | Literal["*"]
EventNames = Annotated[
    list[EventName],
    Field(min_length=1, max_length=50, description='Types of events to be told of; `["*"]` means all.'),
]


class WebhookRequest(RequestBody):
    """An endpoint to tell of events. It has to be an https URL of the public internet."""

    url: Url
    events: EventNames
    description: Description | None = None


class WebhookChange(RequestBody):
    """What to change. Enabling a webhook goes on with what waits for it."""

    url: Url | None = None
    events: EventNames | None = None
    description: Description | None = None
    status: Literal["enabled", "disabled"] | None = None


class WebhookOut(BaseModel):
    """An endpoint. `disabled`: by hand, or because it did not take its events."""

    id: UUID
    url: str
    events: list[str]
    description: str | None
    status: Literal["enabled", "disabled"]
    created_at: datetime

    @classmethod
    def of(cls, webhook: Webhook) -> WebhookOut:
        """A webhook as callers read it."""
        return cls.model_validate(webhook.shown)


class NewWebhook(WebhookOut):
    """A webhook with a secret that was just made."""

    secret: Annotated[
        str | None,
        Field(description="What deliveries are signed with (https://www.standardwebhooks.com); shown once."),
    ] = None


class WebhookList(Page[WebhookOut]):
    """A page of webhooks."""


class Delivery(BaseModel):
    """An event on its way to an endpoint: how often it was tried, and how the last attempt ended."""

    id: UUID
    event_id: Annotated[UUID, Field(description="The `webhook-id` that the endpoint sees.")]
    event_type: str
    status: Literal["pending", "delivered", "failed"]
    attempts: int
    created_at: datetime
    attempted_at: datetime | None
    next_attempt_at: datetime | None
    duration_ms: Annotated[int | None, Field(description="Of the last attempt.")]
    response_status: int | None
    response_body: Annotated[str | None, Field(description="The start of the last answer.")]
    error: Annotated[str | None, Field(description="Why there was no answer.")]

    @classmethod
    def of(cls, row: Row) -> Delivery:
        """A delivery as callers read it."""
        return cls(
            id=row.id,
            event_id=row.event_id,
            event_type=row.event_type,
            status=row.status,
            attempts=row.attempts,
            created_at=row.created_at,
            attempted_at=row.attempted_at,
            next_attempt_at=row.next_at if row.status == deliveries.PENDING else None,
            duration_ms=None if row.seconds is None else round(row.seconds * 1000),
            response_status=row.response_status,
            response_body=row.response_start,
            error=row.error,
        )


class DeliveryList(Page[Delivery]):
    """A page of deliveries."""


class RetryRequest(RequestBody):
    """From when on everything is delivered that was not."""

    since: Moment


class RetriesQueued(BaseModel):
    """How many deliveries were queued."""

    deliveries: int


@router.post(
    "/webhooks", status_code=201, summary="Make a webhook", responses=problems(*IDEMPOTENT, *WITH_BODY)
)
async def create_webhook(
    body: WebhookRequest, caller: Manager, services: Wired, request: Request, response: Response
) -> NewWebhook:
    """Have an endpoint told of events from now on. Deliveries are signed by Standard Webhooks, repeated until
    the endpoint answers 2xx within 15 seconds, and in order for each rental.
    """
    await _check(body.url, allow_private=services.settings.webhook_allow_private)
    await services.vault.make_ready(caller.tenant_id)
    async with services.database.transaction(Access.tenant(caller.tenant_id)) as connection:
        webhook, secret = await repository.add(
            connection,
            services.keyring,
            caller.tenant_id,
            url=body.url,
            events=_names(body.events),
            description=body.description,
        )
        audit.record(connection, caller, "webhook.create", target=webhook.id)
        made = NewWebhook.model_validate({**webhook.shown, "secret": secret})
        location = f"/webhooks/{webhook.id}"
        await _keep(connection, request, made, status=201, location=location)
    response.headers["Location"] = location
    return made


@router.get("/webhooks", summary="List webhooks", responses=problems())
async def list_webhooks(
    caller: Manager, services: Wired, limit: Limit = 50, cursor: Cursor = None
) -> WebhookList:
    """The tenant's webhooks, newest first."""
    before = after_id(CURSOR, cursor)
    async with services.database.transaction(Access.tenant(caller.tenant_id)) as connection:
        found = await repository.listed(connection, caller.tenant_id, limit=limit + 1, before=before)
    return WebhookList(
        items=[WebhookOut.of(webhook) for webhook in found[:limit]],
        next_cursor=next_cursor(CURSOR, found, limit, lambda webhook: webhook.id),
    )


@router.get("/webhooks/{webhook_id}", summary="Read a webhook", responses=problems(NotFound))
async def get_webhook(webhook_id: UUID, caller: Manager, services: Wired) -> WebhookOut:
    """One webhook, without its secret."""
    async with services.database.transaction(Access.tenant(caller.tenant_id)) as connection:
        return WebhookOut.of(await repository.get(connection, caller.tenant_id, webhook_id))


@router.patch("/webhooks/{webhook_id}", summary="Change a webhook", responses=problems(NotFound, *WITH_BODY))
async def update_webhook(
    webhook_id: UUID,
    caller: Manager,
    services: Wired,
    body: Annotated[WebhookChange | None, Body()] = None,
) -> WebhookOut:
    """Change where and of what an endpoint is told, or disable or enable it."""
    given = {} if body is None else body.model_dump(exclude_unset=True)
    values = {name: value for name, value in given.items() if value is not None or name == "description"}
    if body is not None and body.url is not None:
        await _check(body.url, allow_private=services.settings.webhook_allow_private)
    if body is not None and body.events is not None:
        values["events"] = _names(body.events)
    async with services.database.transaction(Access.tenant(caller.tenant_id)) as connection:
        changed = await repository.change(connection, caller.tenant_id, webhook_id, values)
        if values:
            details = {"changed": sorted(values)}
            audit.record(connection, caller, "webhook.update", target=webhook_id, details=details)
    return WebhookOut.of(changed)


@router.delete(
    "/webhooks/{webhook_id}",
    status_code=204,
    summary="Delete a webhook",
    responses=problems(NotFound, *IDEMPOTENT),
)
async def delete_webhook(webhook_id: UUID, caller: Manager, services: Wired, request: Request) -> None:
    """Tell an endpoint of nothing more, and forget its deliveries."""
    async with services.database.transaction(Access.tenant(caller.tenant_id)) as connection:
        await repository.delete(connection, caller.tenant_id, webhook_id)
        audit.record(connection, caller, "webhook.delete", target=webhook_id)
        await keep_answer(connection, request, status=204, body=None)


@router.post(
    "/webhooks/{webhook_id}/test",
    status_code=202,
    summary="Send a test event",
    responses=problems(NotFound, *IDEMPOTENT),
)
async def test_webhook(webhook_id: UUID, caller: Manager, services: Wired, request: Request) -> Delivery:
    """Send the endpoint an event of the type `webhook.test`, which is in no feed."""
    async with services.database.transaction(Access.tenant(caller.tenant_id)) as connection:
        await repository.get(connection, caller.tenant_id, webhook_id)
        row = await deliveries.add_test(connection, caller.tenant_id, webhook_id, "webhook.test", TEST_DATA)
        audit.record(connection, caller, "webhook.test", target=webhook_id)
        queued = Delivery.of(row)
        await _keep(connection, request, queued, status=202)
    return queued


@router.post(
    "/webhooks/{webhook_id}/rotate-secret",
    summary="Rotate a webhook's secret",
    responses=problems(NotFound, *IDEMPOTENT),
)
async def rotate_webhook_secret(
    webhook_id: UUID, caller: Manager, services: Wired, request: Request
) -> NewWebhook:
    """Make a new secret. For 24 hours deliveries carry a signature by each of the two."""
    await services.vault.make_ready(caller.tenant_id)
    async with services.database.transaction(Access.tenant(caller.tenant_id)) as connection:
        webhook, secret = await repository.rotate_secret(
            connection, services.keyring, caller.tenant_id, webhook_id
        )
        audit.record(connection, caller, "webhook.rotate_secret", target=webhook_id)
        made = NewWebhook.model_validate({**webhook.shown, "secret": secret})
        await _keep(connection, request, made, status=200)
    return made


@router.get("/webhooks/{webhook_id}/deliveries", summary="List deliveries", responses=problems(NotFound))
async def list_webhook_deliveries(
    webhook_id: UUID,
    caller: Manager,
    services: Wired,
    status: Annotated[Literal["pending", "delivered", "failed"] | None, Query()] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> DeliveryList:
    """What an endpoint was or will be told, newest first; kept as long as the events are."""
    before = after_id(DELIVERIES, cursor)
    async with services.database.transaction(Access.tenant(caller.tenant_id)) as connection:
        await repository.get(connection, caller.tenant_id, webhook_id)
        rows = await deliveries.listed(
            connection, caller.tenant_id, webhook_id, status=status, limit=limit + 1, before=before
        )
    return DeliveryList(
        items=[Delivery.of(row) for row in rows[:limit]],
        next_cursor=next_cursor(DELIVERIES, rows, limit, lambda row: row.id),
    )


@router.post(
    "/webhooks/{webhook_id}/deliveries/{delivery_id}/retry",
    status_code=202,
    summary="Retry a delivery",
    responses=problems(NotFound, *IDEMPOTENT),
)
async def retry_webhook_delivery(
    webhook_id: UUID, delivery_id: UUID, caller: Manager, services: Wired, request: Request
) -> Delivery:
    """Deliver an event again, at once, under the same `webhook-id`."""
    async with services.database.transaction(Access.tenant(caller.tenant_id)) as connection:
        await repository.get(connection, caller.tenant_id, webhook_id)
        row = await deliveries.retry(connection, caller.tenant_id, webhook_id, delivery_id)
        details = {"delivery_id": str(delivery_id)}
        audit.record(connection, caller, "webhook.retry", target=webhook_id, details=details)
        queued = Delivery.of(row)
        await _keep(connection, request, queued, status=202)
    return queued


@router.post(
    "/webhooks/{webhook_id}/retry",
    status_code=202,
    summary="Retry all since a time",
    responses=problems(NotFound, *IDEMPOTENT, *WITH_BODY),
)
async def retry_webhook(
    webhook_id: UUID, body: RetryRequest, caller: Manager, services: Wired, request: Request
) -> RetriesQueued:
    """Deliver everything since a time that the endpoint does not have: what failed, and what came while it
    was disabled.
    """
    async with services.database.transaction(Access.tenant(caller.tenant_id)) as connection:
        await repository.get(connection, caller.tenant_id, webhook_id)
        count = await deliveries.retry_since(connection, caller.tenant_id, webhook_id, body.since)
        details = {"since": body.since.isoformat(), "deliveries": count}
        audit.record(connection, caller, "webhook.retry", target=webhook_id, details=details)
        queued = RetriesQueued(deliveries=count)
        await _keep(connection, request, queued, status=202)
    return queued


async def _check(url: str, *, allow_private: bool) -> None:
    """See that a webhook may be sent to a URL.

    Raises:
        InvalidRequest: it may not.
    """
    try:
        await targets.check(url, allow_private=allow_private)
    except TargetRefused as error:
        raise InvalidRequest(fields=(FieldError("body.url", str(error)),)) from None


def _names(events: list[EventName]) -> list[str]:
    return sorted({str(event) for event in events})


async def _keep(connection: AsyncConnection, request: Request, body: BaseModel, **answer: Any) -> None:
    await keep_answer(connection, request, body=body.model_dump(mode="json"), **answer)
