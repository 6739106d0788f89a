"""What the gateway sends to webhooks, for the OpenAPI document: one request for each form of data."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Header, Response
from pydantic import BaseModel

from app.accounts.balances import LowBalance
from app.accounts.health_records import HealthChange
from app.api.webhooks import WebhookOut
from app.messages.schemas import Message
from app.rentals.schemas import Rental

router = APIRouter(tags=["webhooks"])

MessageId = Annotated[
    UUID, Header(alias="webhook-id", description="The event's id, the same in every repetition.")
]
SentAt = Annotated[int, Header(alias="webhook-timestamp", description="Unix seconds of this attempt.")]
Signature = Annotated[
    str,
    Header(
        alias="webhook-signature",
        max_length=500,
        description="`v1,` and a base64 HMAC-SHA256 by the webhook's secret; two of them, with a space in"
        " between, after the secret was rotated. See https://www.standardwebhooks.com.",
    ),
]

RentalEventType = Literal[
    "rental.created",
    "rental.pending",
    "rental.failed",
    "rental.review",
    "rental.recovered",
    "rental.activating",
    "rental.activated",
    "rental.activation_failed",
    "rental.deactivated",
    "rental.prolonged",
    "rental.auto_prolong_failed",
    "rental.service_added",
    "rental.expiring",
    "rental.expired",
    "rental.restored",
    "rental.deleted",
    "rental.imported",
]


class RentalEvent(BaseModel):
    """Something happened to a rental, which `data` shows as it was then."""

    type: RentalEventType
    timestamp: datetime
    data: Rental


class MessageEvent(BaseModel):
    """A message was seen for the first time."""

    type: Literal["sms.received"]
    timestamp: datetime
    data: Message


class RejectedKey(BaseModel):
    """The upstream key that is not accepted any more."""

    upstream_key_id: UUID


class RejectedKeyEvent(BaseModel):
    """The upstream does not accept an account's key any more."""

    type: Literal["upstream_key.rejected"]
    timestamp: datetime
    data: RejectedKey


class HealthEvent(BaseModel):
    """Something in an account's answers can't be read any more, or everything in them can be again."""

    type: Literal["upstream_key.degraded", "upstream_key.recovered"]
    timestamp: datetime
    data: HealthChange


class LowBalanceEvent(BaseModel):
    """An account's balance fell below its mark, or the mark was raised above it."""

    type: Literal["upstream_key.balance_low"]
    timestamp: datetime
    data: LowBalance


class DisabledWebhookEvent(BaseModel):
    """An endpoint did not take its events, and is told of no more."""

    type: Literal["webhook.disabled"]
    timestamp: datetime
    data: WebhookOut


@router.post("rental", operation_id="on_rental", status_code=204, summary="A rental changed")
async def on_rental(
    body: RentalEvent, webhook_id: MessageId, webhook_timestamp: SentAt, webhook_signature: Signature
) -> Response:
    """Answer 2xx within 15 seconds. Events of one rental come in their order, each at least once."""
    raise NotImplementedError


@router.post("sms_received", operation_id="on_message", status_code=204, summary="A message came")
async def on_message(
    body: MessageEvent, webhook_id: MessageId, webhook_timestamp: SentAt, webhook_signature: Signature
) -> Response:
    """Answer 2xx within 15 seconds. Messages of one rental come in their order, each at least once."""
    raise NotImplementedError


@router.post(
    "upstream_key_rejected",
    operation_id="on_upstream_key_rejected",
    status_code=204,
    summary="An upstream key is rejected",
)
async def on_upstream_key_rejected(
    body: RejectedKeyEvent, webhook_id: MessageId, webhook_timestamp: SentAt, webhook_signature: Signature
) -> Response:
    """Answer 2xx within 15 seconds. Verify the key, or store another secret, and it is used again."""
    raise NotImplementedError


@router.post(
    "upstream_key_health",
    operation_id="on_upstream_key_health",
    status_code=204,
    summary="An account can be read worse or well again",
)
async def on_upstream_key_health(
    body: HealthEvent, webhook_id: MessageId, webhook_timestamp: SentAt, webhook_signature: Signature
) -> Response:
    """Answer 2xx within 15 seconds. What can be read is used meanwhile; `problem` tells what can't be."""
    raise NotImplementedError


@router.post(
    "upstream_key_balance_low",
    operation_id="on_upstream_key_balance_low",
    status_code=204,
    summary="An account's balance is low",
)
async def on_upstream_key_balance_low(
    body: LowBalanceEvent, webhook_id: MessageId, webhook_timestamp: SentAt, webhook_signature: Signature
) -> Response:
    """Answer 2xx within 15 seconds. Sent once, and again only after the balance was at its mark or above."""
    raise NotImplementedError


@router.post(
    "webhook_disabled", operation_id="on_webhook_disabled", status_code=204, summary="A webhook was disabled"
)
async def on_webhook_disabled(
    body: DisabledWebhookEvent, webhook_id: MessageId, webhook_timestamp: SentAt, webhook_signature: Signature
) -> Response:
    """Answer 2xx within 15 seconds. Sent to the tenant's other endpoints."""
    raise NotImplementedError
