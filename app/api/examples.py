"""One example for each body and each answer, as the OpenAPI document shows them; tests hold them to it."""

from __future__ import annotations

from typing import Any

_AT = "2026-11-23T09:00:00Z"
_END = "2026-11-30T09:00:00Z"
_RENTAL_ID = "01938f6e-7b2a-7c11-9d52-5f0c8a1e4b10"
_ACCOUNT_ID = "01938f6d-1f4c-7e02-8a63-2b9d7c5e1f20"
_OPERATION_ID = "01938f6e-7b2a-7c11-9d52-5f0c8a1e4b11"
_TENANT_ID = "01938f6c-0a3b-7d43-b1f2-6c8e9d0a2b30"
_KEY_ID = "01938f6c-5d6e-7f54-a2b3-7d9fae1b3c40"


def _money(amount: str) -> dict[str, str]:
    return {"amount": amount, "currency": "USD"}


_RENTAL: dict[str, Any] = {
    "id": _RENTAL_ID,
    "status": "active",
    "number_state": "inactive",
    "phone_number": "+447911123456",
    "country": "GB",
    "services": [{"code": "opt20", "name": "WhatsApp"}],
    "period": {"unit": "week", "count": 1},
    "created_at": _AT,
    "expires_at": _END,
    "prolongation": {"available": False, "max_days": 6, "until": "2027-05-11T09:00:00Z"},
    "last_online_at": None,
    "has_new_sms": False,
    "restorable": None,
    "price": _money("11.55"),
    "source": "gateway",
    "upstream_orders": [{"id": "100001", "service": "opt20", "number_state": "inactive", "expires_at": _END}],
    "upstream_order_id": "100001",
    "upstream_key_id": _ACCOUNT_ID,
    "pending_operation": None,
    "auto_prolong": None,
    "metadata": {"team": "checkout"},
    "synced_at": _AT,
}

_MESSAGE = {
    "id": "01938f70-2c3d-7e65-93c4-8eafbf2c4d50",
    "rental_id": _RENTAL_ID,
    "scope": "rented",
    "sender": "WhatsApp",
    "text": "Your code: 123-456",
    "received_at": "2026-11-23T09:20:31Z",
    "first_seen_at": "2026-11-23T09:20:34Z",
}

_EVENT = {
    "id": "01938f6e-7b2a-7c11-9d52-5f0c8a1e4b12",
    "type": "rental.created",
    "timestamp": _AT,
    "rental_id": _RENTAL_ID,
    "actor": f"api_key:{_KEY_ID}",
    "data": _RENTAL,
}

_OPERATION = {
    "id": _OPERATION_ID,
    "kind": "create",
    "state": "succeeded",
    "rental_id": _RENTAL_ID,
    "request": {"country": "GB", "services": ["opt20"], "period": {"unit": "week", "count": 1}},
    "price": _money("11.55"),
    "error": None,
    "candidates": None,
    "created_at": _AT,
    "sent_at": _AT,
    "settled_at": _AT,
}

_TENANT = {
    "id": _TENANT_ID,
    "name": "Checkout",
    "status": "active",
    "spend_limit": _money("500.00"),
    "created_at": _AT,
    "reference_prefixes": ["vault:kv/data/checkout/"],
}

_API_KEY = {
    "id": _KEY_ID,
    "name": "checkout service",
    "prefix": "rg_jWksNywc",
    "scopes": ["rentals:read", "rentals:write"],
    "expires_at": None,
    "last_used_at": _AT,
    "created_at": _AT,
}

_UPSTREAM_KEY = {
    "id": _ACCOUNT_ID,
    "label": "main account",
    "last_four": "9f3c",
    "reference": None,
    "default": True,
    "status": "active",
    "created_at": _AT,
    "last_used_at": _AT,
    "health": {"status": "ok", "since": _AT, "problem": None},
    "balance": {**_money("84.20"), "read_at": _AT},
    "low_balance_below": _money("20.00"),
}

_COUNTRY = {
    "code": "GB",
    "name": "United Kingdom",
    "upstream_code": "UK",
    "switch_type": "FAST",
    "prolongable": True,
}

_SERVICE_COUNTRY = {
    "country": "GB",
    "upstream_code": "UK",
    "name": "United Kingdom",
    "price_per_day": _money("1.65"),
    "available": 42,
}

_STOCK = {"service": "opt20", "available": 42, "operators": {"Vodafone": 30, "O2": 12}}

_OFFER = {
    "service": "opt20",
    "name": "WhatsApp",
    "price_per_day": _money("1.65"),
    "total_price": _money("11.55"),
    "available": 42,
    "operators": None,
}

_AUDIT_LOG = {
    "id": "01938f6e-7b2a-7c11-9d52-5f0c8a1e4b13",
    "created_at": _AT,
    "actor": f"api_key:{_KEY_ID}",
    "action": "operation.create",
    "target": _OPERATION_ID,
    "outcome": "succeeded",
    "address": "10.0.0.7",
    "request_id": "checkout-4711",
    "details": {"rental_id": _RENTAL_ID},
}


def _listed(item: dict[str, Any]) -> dict[str, Any]:
    return {"items": [item], "next_cursor": None}


_PLATFORM_KEY = {
    "id": "01938f6b-4c5d-7a43-90e1-5b7d8c9f1a20",
    "name": "key vault",
    "prefix": "rgp_kWxTznbd",
    "scopes": ["vault:write"],
    "last_used_at": None,
    "created_at": _AT,
}

_WEBHOOK = {
    "id": "01938f6b-6d7e-7b54-a1f2-6c8e9d0a2b40",
    "url": "https://checkout.example/hooks/rentgate",
    "events": ["sms.received"],
    "description": "checkout service",
    "status": "enabled",
    "created_at": _AT,
}

_DELIVERY = {
    "id": "01938f70-3d4e-7f76-a4d5-9fb0c03d5e60",
    "event_id": "01938f70-2c3d-7e65-93c4-8eafbf2c4d51",
    "event_type": "sms.received",
    "status": "delivered",
    "attempts": 1,
    "created_at": _AT,
    "attempted_at": _AT,
    "next_attempt_at": None,
    "duration_ms": 84,
    "response_status": 204,
    "response_body": "",
    "error": None,
}

EXAMPLES: dict[str, Any] = {
    "ApiKeyList": _listed(_API_KEY),
    "ApiKeyRequest": {"name": "checkout service", "scopes": ["rentals:read", "rentals:write"]},
    "AuditLogList": _listed(_AUDIT_LOG),
    "CountryList": _listed(_COUNTRY),
    "DefaultServiceList": _listed({"service": "opt20", "name": "WhatsApp", "price_per_day": _money("1.50")}),
    "Delivery": _DELIVERY,
    "DeliveryList": _listed(_DELIVERY),
    "ExternalUpstreamKey": {**_UPSTREAM_KEY, "external_id": "vault-4711"},
    "EventFeed": {"items": [_EVENT], "next_cursor": "ZmVlZDox", "has_more": False},
    "EventList": _listed(_EVENT),
    "Health": {"status": "ok"},
    "ImportStarted": {"accounts": 1},
    "Me": {
        "tenant": _TENANT,
        "api_key": {"id": _KEY_ID, "name": "checkout service", "prefix": "rg_jWksNywc"},
        "subject": None,
        "scopes": ["rentals:read", "rentals:write"],
        "spending": {
            "month": "2026-11",
            "limit": _money("500.00"),
            "held": _money("0.00"),
            "spent": _money("11.55"),
        },
    },
    "MessageFeed": {"items": [_MESSAGE], "next_cursor": "eyJtIjoxfQ", "has_more": False, "synced_at": _AT},
    "NewApiKey": {**_API_KEY, "token": "rg_jWksNywcQ6nXc4SQP6cyCEmDgWSsyAMn15fMz5LRJ6e4TOGkC"},
    "NewPlatformKey": {**_PLATFORM_KEY, "token": "rgp_kWxTznbdR7oYd5TRQ7dzDFnEhXTtzBNo26gNz6MSK7f5UPHlD"},
    "NewWebhook": {**_WEBHOOK, "secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"},
    "OperationList": _listed(_OPERATION),
    "Operation": _OPERATION,
    "PlatformKeyList": _listed(_PLATFORM_KEY),
    "PlatformKeyRequest": {"name": "key vault", "scopes": ["vault:write"]},
    "ProlongRequest": {"period": {"unit": "week", "count": 1}, "max_price": "12.00"},
    "Readiness": {"status": "ready", "migration": "schema_0001"},
    "Rental": _RENTAL,
    "RentalChange": {
        "metadata": {"team": "checkout"},
        "auto_prolong": {"unit": "week", "count": 1, "max_price": "5.00"},
    },
    "RentalList": _listed(_RENTAL),
    "RentalRequest": {
        "country": "GB",
        "service": "opt20",
        "period": {"unit": "week", "count": 1},
        "max_price": "12.00",
        "metadata": {"team": "checkout"},
    },
    "OperationResolution": {"outcome": "succeeded", "upstream_order_id": "100001"},
    "RestoreQuote": {
        "price": _money("49.50"),
        "days_overdue": 3,
        "prolonged_days": 30,
        "phone_number": "+447911123456",
        "service": "opt20",
        "country": "GB",
        "upstream_order_id": "100001",
    },
    "RestoreRequest": {"max_price": "50.00"},
    "RetriesQueued": {"deliveries": 3},
    "RetryRequest": {"since": _AT},
    "RotationRequest": {"overlap_seconds": 3600},
    "SecretRequest": {"api_key": "the-upstreams-new-key"},
    "Restrictions": {
        "minimum_days": 30,
        "choices": [{"days": 30, "available": 12}, {"days": 60, "available": 4}],
        "message": "PayPal is rented for 30 days at least.",
    },
    "ServiceCountryList": _listed(_SERVICE_COUNTRY),
    "ServiceOfferList": _listed(_OFFER),
    "ServiceRequest": {"service": "opt29", "days": 7, "max_price": "10.00"},
    "StockList": _listed(_STOCK),
    "TenantChange": {"spend_limit": _money("750.00")},
    "TenantList": _listed(_TENANT),
    "Tenant": _TENANT,
    "TenantRequest": {"name": "Checkout", "spend_limit": _money("500.00")},
    "UpstreamKeyChange": {"label": "main account", "default": True},
    "UpstreamKeyList": _listed(_UPSTREAM_KEY),
    "UpstreamKey": _UPSTREAM_KEY,
    "UpstreamKeyItems": {
        "items": [
            {
                "external_id": "vault-4711",
                "label": "main account",
                "reference": "vault:kv/data/checkout/smspva#api_key",
            },
            {"external_id": "vault-4712", "label": "second account", "api_key": "the-upstreams-key"},
        ]
    },
    "UpstreamKeyResults": {
        "results": [
            {
                "external_id": "vault-4711",
                "status": 201,
                "upstream_key": {
                    **_UPSTREAM_KEY,
                    "reference": "vault:kv/data/checkout/smspva#api_key",
                    "external_id": "vault-4711",
                },
                "error": None,
            },
            {
                "external_id": "vault-4712",
                "status": 409,
                "upstream_key": None,
                "error": {
                    "type": "/problems/upstream-key-in-use",
                    "title": "The upstream account is in use already",
                    "status": 409,
                    "detail": "This upstream account is in use already; one account serves one tenant, once.",
                    "instance": f"/tenants/{_TENANT_ID}/upstream-keys-by-external-id/vault-4712",
                    "code": "upstream_key_in_use",
                    "request_id": "checkout-4711",
                },
            },
        ]
    },
    "UpstreamKeyUpsert": {"label": "main account", "api_key": "the-upstreams-key"},
    "UpstreamKeyRequest": {
        "label": "main account",
        "api_key": "the-upstreams-key",
        "low_balance_below": "20.00",
    },
    "RentalEvent": {"type": "rental.activated", "timestamp": _AT, "data": _RENTAL},
    "MessageEvent": {"type": "sms.received", "timestamp": _AT, "data": _MESSAGE},
    "RejectedKeyEvent": {
        "type": "upstream_key.rejected",
        "timestamp": _AT,
        "data": {"upstream_key_id": _ACCOUNT_ID},
    },
    "HealthEvent": {
        "type": "upstream_key.degraded",
        "timestamp": _AT,
        "data": {
            "upstream_key_id": _ACCOUNT_ID,
            "health": {
                "status": "degraded",
                "since": _AT,
                "problem": {
                    "method": "orders",
                    "field": "data[].lastonline",
                    "message": "data[].lastonline of orders can't be read: it holds a text.",
                },
            },
        },
    },
    "LowBalanceEvent": {
        "type": "upstream_key.balance_low",
        "timestamp": _AT,
        "data": {
            "upstream_key_id": _ACCOUNT_ID,
            "balance": {**_money("18.45"), "read_at": _AT},
            "low_balance_below": _money("20.00"),
        },
    },
    "DisabledWebhookEvent": {
        "type": "webhook.disabled",
        "timestamp": _AT,
        "data": _WEBHOOK | {"status": "disabled"},
    },
    "WebhookChange": {"status": "enabled"},
    "WebhookList": _listed(_WEBHOOK),
    "Webhook": _WEBHOOK,
    "WebhookRequest": {"url": "https://checkout.example/hooks/rentgate", "events": ["sms.received"]},
}
"""By the name of the schema."""
