"""What the gateway sends to webhooks, for the OpenAPI document: one request for each form of data."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Literal, TypeVar
from uuid import UUID

from fastapi import APIRouter, Header, Response
from pydantic import BaseModel

from app.accounts.balances import LowBalance
from app.accounts.health_records import HealthChange
from app.api.webhooks import WebhookOut
from app.messages.schemas import Message
from app.rentals.schemas import Rental

M = TypeVar("M", bound=BaseModel)

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


def _sent(name: str, summary: str, then: str, *, operation_id: str = "") -> Callable[[type[M]], type[M]]:
    """Describes the request that a webhook gets with this body.

    Args:
        then: what its receiver has to know or do, beside answering.
    """

    def describe(model: type[M]) -> type[M]:
        async def receive(
            body: BaseModel, webhook_id: MessageId, webhook_timestamp: SentAt, webhook_signature: Signature
        ) -> Response:
            raise NotImplementedError

        receive.__annotations__["body"] = model
        router.post(
            name,
            operation_id=operation_id or f"on_{name}",
            status_code=204,
            summary=summary,
            description=f"Answer 2xx within 15 seconds. {then}",
        )(receive)
        return model

    return describe


@_sent("rental", "A rental changed", "Events of one rental come in their order, each at least once.")
class RentalEvent(BaseModel):
    """Something happened to a rental, which `data` shows as it was then."""

    type: RentalEventType
    timestamp: datetime
    data: Rental


@_sent(
    "sms_received",
    "A message came",
    "Messages of one rental come in their order, each at least once.",
    operation_id="on_message",
)
class MessageEvent(BaseModel):
    """A message was seen for the first time."""

    type: Literal["sms.received"]
    timestamp: datetime
    data: Message


class RejectedKey(BaseModel):
    """The upstream key that is not accepted any more."""

    upstream_key_id: UUID


@_sent(
    "upstream_key_rejected",
    "An upstream key is rejected",
    "Verify the key, or store another secret, and it is used again.",
)
class RejectedKeyEvent(BaseModel):
    """The upstream does not accept an account's key any more."""

    type: Literal["upstream_key.rejected"]
    timestamp: datetime
    data: RejectedKey


@_sent(
    "upstream_key_health",
    "An account can be read worse or well again",
    "What can be read is used meanwhile; `problem` tells what can't be.",
)
class HealthEvent(BaseModel):
    """Something in an account's answers can't be read any more, or everything in them can be again."""

    type: Literal["upstream_key.degraded", "upstream_key.recovered"]
    timestamp: datetime
    data: HealthChange


@_sent(
    "upstream_key_balance_low",
    "An account's balance is low",
    "Sent once, and again only after the balance was at its mark or above.",
)
class LowBalanceEvent(BaseModel):
    """An account's balance fell below its mark, or the mark was raised above it."""

    type: Literal["upstream_key.balance_low"]
    timestamp: datetime
    data: LowBalance


@_sent("webhook_disabled", "A webhook was disabled", "Sent to the tenant's other endpoints.")
class DisabledWebhookEvent(BaseModel):
    """An endpoint did not take its events, and is told of no more."""

    type: Literal["webhook.disabled"]
    timestamp: datetime
    data: WebhookOut
