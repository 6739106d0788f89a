"""`/webhooks`: endpoints that are told of events, and how the telling went."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Body, Depends, Query
from pydantic import BaseModel, Field, StringConstraints

from app.api.context import Context
from app.api.fields import Moment, RequestBody, Text
from app.api.guards import Require
from app.api.idempotency import IdempotentRoute
from app.api.paging import Page, Paging, paged
from app.errors import FieldError, InvalidRequest
from app.events.types import EventType
from app.schemas import View
from app.tenants.scopes import Scope
from app.webhooks import deliveries, repository, targets
from app.webhooks.deliveries import Row
from app.webhooks.targets import LONGEST_URL, TargetRefused

router = APIRouter(tags=["webhooks"], route_class=IdempotentRoute)
Manager = Annotated[Context, Depends(Require(Scope.WEBHOOKS_MANAGE))]

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


class WebhookOut(View):
    """An endpoint. `disabled`: by hand, or because it did not take its events."""

    id: UUID
    url: str
    events: list[str]
    description: str | None
    status: Literal["enabled", "disabled"]
    created_at: datetime


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
        return cls.model_validate(
            {
                **row._mapping,
                "next_attempt_at": row.next_at if row.status == deliveries.PENDING else None,
                "duration_ms": None if row.seconds is None else round(row.seconds * 1000),
                "response_body": row.response_start,
            }
        )


class DeliveryList(Page[Delivery]):
    """A page of deliveries."""


class RetryRequest(RequestBody):
    """From when on everything is delivered that was not."""

    since: Moment


class RetriesQueued(BaseModel):
    """How many deliveries were queued."""

    deliveries: int


@router.post("/webhooks", status_code=201, summary="Make a webhook")
async def create_webhook(body: WebhookRequest, context: Manager) -> NewWebhook:
    """Have an endpoint told of events from now on. Deliveries are signed by Standard Webhooks, repeated until
    the endpoint answers 2xx within 15 seconds, and in order for each rental.
    """
    await _check(context, body.url)
    await context.services.vault.make_ready(context.tenant_id)
    async with context.changing(within="/webhooks") as change:
        webhook, secret = await repository.add(
            change.connection,
            context.services.keyring,
            context.tenant_id,
            url=body.url,
            events=_names(body.events),
            description=body.description,
        )
        change.record("webhook.create", webhook.id)
        return change.answer(NewWebhook.model_validate({**webhook.shown, "secret": secret}))


@router.get("/webhooks", summary="List webhooks")
async def list_webhooks(context: Manager, paging: Annotated[Paging, paged("webhooks")]) -> WebhookList:
    """The tenant's webhooks, newest first."""
    async with context.reading() as connection:
        found = await repository.listed(
            connection, context.tenant_id, limit=paging.fetch, before=paging.before
        )
    return paging.page(WebhookList, found)


@router.get("/webhooks/{webhook_id}", summary="Read a webhook")
async def get_webhook(webhook_id: UUID, context: Manager) -> WebhookOut:
    """One webhook, without its secret."""
    async with context.reading() as connection:
        return WebhookOut.model_validate(await repository.get(connection, context.tenant_id, webhook_id))


@router.patch("/webhooks/{webhook_id}", summary="Change a webhook")
async def update_webhook(
    webhook_id: UUID, context: Manager, body: Annotated[WebhookChange | None, Body()] = None
) -> WebhookOut:
    """Change where and of what an endpoint is told, or disable or enable it."""
    wanted = body or WebhookChange()
    given = wanted.model_dump(exclude_unset=True)
    values = {name: value for name, value in given.items() if value is not None or name == "description"}
    if wanted.url is not None:
        await _check(context, wanted.url)
    if wanted.events is not None:
        values["events"] = _names(wanted.events)
    async with context.changing() as change:
        changed = await repository.change(change.connection, context.tenant_id, webhook_id, values)
        if values:
            change.record("webhook.update", webhook_id, {"changed": sorted(values)})
    return WebhookOut.model_validate(changed)


@router.delete("/webhooks/{webhook_id}", status_code=204, summary="Delete a webhook")
async def delete_webhook(webhook_id: UUID, context: Manager) -> None:
    """Tell an endpoint of nothing more, and forget its deliveries."""
    async with context.changing() as change:
        await repository.delete(change.connection, context.tenant_id, webhook_id)
        change.record("webhook.delete", webhook_id)


@router.post("/webhooks/{webhook_id}/test", status_code=202, summary="Send a test event")
async def test_webhook(webhook_id: UUID, context: Manager) -> Delivery:
    """Send the endpoint an event of the type `webhook.test`, which is in no feed."""
    async with context.changing() as change:
        await repository.get(change.connection, context.tenant_id, webhook_id)
        row = await deliveries.add_test(
            change.connection, context.tenant_id, webhook_id, "webhook.test", TEST_DATA
        )
        change.record("webhook.test", webhook_id)
        return change.answer(Delivery.of(row))


@router.post("/webhooks/{webhook_id}/rotate-secret", summary="Rotate a webhook's secret")
async def rotate_webhook_secret(webhook_id: UUID, context: Manager) -> NewWebhook:
    """Make a new secret. For 24 hours deliveries carry a signature by each of the two."""
    services = context.services
    await services.vault.make_ready(context.tenant_id)
    async with context.changing() as change:
        webhook, secret = await repository.rotate_secret(
            change.connection, services.keyring, context.tenant_id, webhook_id
        )
        change.record("webhook.rotate_secret", webhook_id)
        return change.answer(NewWebhook.model_validate({**webhook.shown, "secret": secret}))


@router.get("/webhooks/{webhook_id}/deliveries", summary="List deliveries")
async def list_webhook_deliveries(
    webhook_id: UUID,
    context: Manager,
    paging: Annotated[Paging, paged("deliveries")],
    status: Annotated[Literal["pending", "delivered", "failed"] | None, Query()] = None,
) -> DeliveryList:
    """What an endpoint was or will be told, newest first; kept as long as the events are."""
    async with context.reading() as connection:
        await repository.get(connection, context.tenant_id, webhook_id)
        rows = await deliveries.listed(
            connection,
            context.tenant_id,
            webhook_id,
            status=status,
            limit=paging.fetch,
            before=paging.before,
        )
    return paging.page(DeliveryList, rows, [Delivery.of(row) for row in rows[: paging.limit]])


@router.post(
    "/webhooks/{webhook_id}/deliveries/{delivery_id}/retry", status_code=202, summary="Retry a delivery"
)
async def retry_webhook_delivery(webhook_id: UUID, delivery_id: UUID, context: Manager) -> Delivery:
    """Deliver an event again, at once, under the same `webhook-id`."""
    async with context.changing() as change:
        await repository.get(change.connection, context.tenant_id, webhook_id)
        row = await deliveries.retry(change.connection, context.tenant_id, webhook_id, delivery_id)
        change.record("webhook.retry", webhook_id, {"delivery_id": str(delivery_id)})
        return change.answer(Delivery.of(row))


@router.post("/webhooks/{webhook_id}/retry", status_code=202, summary="Retry all since a time")
async def retry_webhook(webhook_id: UUID, body: RetryRequest, context: Manager) -> RetriesQueued:
    """Deliver everything since a time that the endpoint does not have: what failed, and what came while it
    was disabled.
    """
    async with context.changing() as change:
        await repository.get(change.connection, context.tenant_id, webhook_id)
        count = await deliveries.retry_since(change.connection, context.tenant_id, webhook_id, body.since)
        details = {"since": body.since.isoformat(), "deliveries": count}
        change.record("webhook.retry", webhook_id, details)
        return change.answer(RetriesQueued(deliveries=count))


async def _check(context: Context, url: str) -> None:
    """See that a webhook may be sent to a URL.

    Raises:
        InvalidRequest: it may not.
    """
    try:
        await targets.check(url, allow_private=context.services.settings.webhook_allow_private)
    except TargetRefused as error:
        raise InvalidRequest(fields=(FieldError("body.url", str(error)),)) from None


def _names(events: list[EventName]) -> list[str]:
    return sorted({str(event) for event in events})
