"""The scopes of API keys and of platform keys: what each lets its bearer do."""

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


class PlatformScope(StrEnum):
    """A right that a platform key can hold, over all tenants."""

    TENANTS_MANAGE = "tenants:manage"
    VAULT_WRITE = "vault:write"
    AUDIT_READ = "audit:read"


MEANINGS = {
    Scope.CATALOG_READ: "countries and offers",
    Scope.RENTALS_READ: "rentals, SMS, quotes, operations and events",
    Scope.RENTALS_WRITE: "everything that spends or changes, and importing",
    Scope.WEBHOOKS_MANAGE: "webhooks",
    Scope.AUDIT_READ: "the audit trail",
    Scope.KEYS_MANAGE: "the tenant's API keys and upstream keys",
}
"""What each scope is for."""
