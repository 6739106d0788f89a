"""The types of events, as callers and webhooks know them."""

from __future__ import annotations

from enum import StrEnum


class EventType(StrEnum):
    """What can happen; `data` is the rental for `rental.*`, the message for `sms.received`."""

    RENTAL_CREATED = "rental.created"
    RENTAL_PENDING = "rental.pending"
    RENTAL_FAILED = "rental.failed"
    RENTAL_REVIEW = "rental.review"
    RENTAL_RECOVERED = "rental.recovered"
    RENTAL_ACTIVATING = "rental.activating"
    RENTAL_ACTIVATED = "rental.activated"
    RENTAL_ACTIVATION_FAILED = "rental.activation_failed"
    RENTAL_DEACTIVATED = "rental.deactivated"
    RENTAL_PROLONGED = "rental.prolonged"
    RENTAL_AUTO_PROLONG_FAILED = "rental.auto_prolong_failed"
    RENTAL_SERVICE_ADDED = "rental.service_added"
    RENTAL_EXPIRING = "rental.expiring"
    RENTAL_EXPIRED = "rental.expired"
    RENTAL_RESTORED = "rental.restored"
    RENTAL_DELETED = "rental.deleted"
    RENTAL_IMPORTED = "rental.imported"
    SMS_RECEIVED = "sms.received"
    UPSTREAM_KEY_REJECTED = "upstream_key.rejected"
    UPSTREAM_KEY_DEGRADED = "upstream_key.degraded"
    UPSTREAM_KEY_RECOVERED = "upstream_key.recovered"
    UPSTREAM_KEY_BALANCE_LOW = "upstream_key.balance_low"
    WEBHOOK_DISABLED = "webhook.disabled"
