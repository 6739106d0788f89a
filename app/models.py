"""All tables, gathered: importing this fills `metadata`, which migrations are compared with."""

from __future__ import annotations

from app.accounts.models import account_health, account_looks, money_lanes, pace_buckets, workers
from app.audit.models import audit_heads, audit_logs, audit_seals, audit_unsealed, upstream_usage
from app.database import metadata
from app.events.models import event_heads, events
from app.idempotency.models import idempotency_keys
from app.messages.models import messages
from app.operations.models import operations, spending_holds, spending_months
from app.rentals.models import rentals, upstream_orders
from app.tenants.models import api_keys, platform_keys, tenants
from app.vault.models import upstream_keys, vault_fingerprint_keys, vault_keysets, vault_rotations
from app.webhooks.models import webhook_deliveries, webhook_schedules, webhooks

__all__ = [
    "account_health",
    "account_looks",
    "api_keys",
    "audit_heads",
    "audit_logs",
    "audit_seals",
    "audit_unsealed",
    "event_heads",
    "events",
    "idempotency_keys",
    "messages",
    "metadata",
    "money_lanes",
    "operations",
    "pace_buckets",
    "platform_keys",
    "rentals",
    "spending_holds",
    "spending_months",
    "tenants",
    "upstream_keys",
    "upstream_orders",
    "upstream_usage",
    "vault_fingerprint_keys",
    "vault_keysets",
    "vault_rotations",
    "webhook_deliveries",
    "webhook_schedules",
    "webhooks",
    "workers",
]
