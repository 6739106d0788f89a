"""The error tree: each code once, explained, with a way out, and complete by what callers were promised."""

from __future__ import annotations

import pytest

from app.errors import RentgateError, catalogue, explain

PROMISED = {
    400: {"malformed_request"},
    401: {"unauthenticated"},
    402: {"insufficient_balance", "spend_limit_exceeded"},
    403: {"insufficient_scope", "tenant_suspended", "order_not_owned"},
    404: {"not_found", "rental_not_found", "archived_order_not_found", "country_unknown"},
    405: {"method_not_allowed"},
    409: {
        "no_numbers_available",
        "price_above_max",
        "price_unknown",
        "rental_not_active",
        "rental_not_expired",
        "restore_not_available",
        "restore_needs_support",
        "prolong_too_early",
        "prolong_limit_reached",
        "operation_pending",
        "idempotency_key_in_use",
        "no_upstream_key",
        "upstream_key_in_use",
        "upstream_key_has_rentals",
        "upstream_account_differs",
    },
    410: {"cursor_expired"},
    413: {"request_too_large"},
    415: {"unsupported_media_type"},
    422: {"invalid_request", "service_unknown", "period_invalid", "idempotency_key_reused"},
    429: {"rate_limited"},
    500: {"internal_error"},
    502: {"upstream_error", "upstream_bad_response", "upstream_key_rejected", "purchase_not_made"},
    503: {
        "upstream_unavailable",
        "upstream_busy",
        "database_unavailable",
        "vault_unavailable",
        "not_ready",
    },
    504: {"upstream_timeout"},
}


def test_every_promised_code_has_its_status_and_there_are_no_others() -> None:
    found: dict[int, set[str]] = {}
    for code, error in catalogue().items():
        found.setdefault(error.status, set()).add(code)
    assert found == PROMISED


@pytest.mark.parametrize("error", catalogue().values(), ids=catalogue().keys())
def test_each_error_says_what_happened_and_what_to_do(error: type[RentgateError]) -> None:
    assert error.title
    assert error.remedy.endswith(".")
    assert len(explain(error)) > len(error.title) / 2
    assert "RentgateError" not in explain(error)
    assert error().detail == explain(error)


def test_no_two_classes_share_a_code() -> None:
    def walk(error: type[RentgateError]) -> list[str]:
        own = [error.code] if "code" in vars(error) and error.code else []
        return own + [code for child in error.__subclasses__() for code in walk(child)]

    codes = walk(RentgateError)
    assert len(codes) == len(set(codes))
