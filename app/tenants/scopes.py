"""The scopes of API keys: what each lets its bearer do."""

from __future__ import annotations

from enum import StrEnum


class Scope(StrEnum):
    """A right that a tenant's key can hold."""

    CATALOG_READ = "catalog:read"
    RENTALS_READ = "rentals:read"
    RENTALS_WRITE = "rentals:write"
    WEBHOOKS_MANAGE = "webhooks:manage"
    AUDIT_READ = "audit:read"
    KEYS_MANAGE = "keys:manage"


ALL_SCOPES = frozenset(Scope)
