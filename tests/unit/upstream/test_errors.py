"""The one map from the upstream's messages to our errors."""

from __future__ import annotations

from decimal import Decimal

import pytest

from app.upstream.errors import LONGEST_MESSAGE, refusal


@pytest.mark.parametrize(
    ("method", "message", "code"),
    [
        ("restore_user", "NOAVAILDAYS", "restore_not_available"),
        ("restore_user_precalc", "NOTOWNER", "order_not_owned"),
        ("restore_user", "the user had not this order", "order_not_owned"),
        ("restore_user", "NOREMOTEDATA", "archived_order_not_found"),
        ("restore_user", "NOORDERCOUNTRY", "restore_needs_support"),
        ("restore_user", "NOSERVICEDATA", "restore_needs_support"),
        ("restore_user", "Service not found", "restore_needs_support"),
        ("create", "Service not found", "service_unknown"),
        ("restore_user", "DATEDIFFINVERT", "rental_not_expired"),
        ("restore_user", "NOBALANCE 12.50", "insufficient_balance"),
        ("create", "Balance is not enough", "insufficient_balance"),
        ("create", "Insufficient balance", "insufficient_balance"),
        ("create", "No numbers available", "no_numbers_available"),
        ("create", "out of stock", "no_numbers_available"),
        ("orders", "Invalid apikey", "upstream_key_rejected"),
        ("orders", "Incorrect  APIKEY!", "upstream_key_rejected"),
        ("getdata", "Incorrect country", "country_unknown"),
        ("create", "Incorrect duration count. Min 7 days. Max 90 days.", "period_invalid"),
        ("getdata", "Incorrect dtype or dcount", "period_invalid"),
        ("sms", "order not found", "rental_not_active"),
        ("sms", "Incorrect order", "rental_not_active"),
        ("activate", "incorrect order id", "rental_not_active"),
        ("restore_user", "order not found", "archived_order_not_found"),
        (
            "prolong",
            "You can prolong number only if before expiring date left less 7 days",
            "prolong_too_early",
        ),
        ("orders", "TOO MANY REQUESTS", "upstream_busy"),
        ("orders", "too many requests, slow down", "upstream_busy"),
        ("orders", "Incorrect method", "upstream_error"),
        ("add_service_to_order", "Incorrect pnumber", "upstream_error"),
        ("create", "", "upstream_error"),
        ("create", "Etwas ganz anderes", "upstream_error"),
    ],
)
def test_each_message_has_its_error(method: str, message: str, code: str) -> None:
    error = refusal(method, message)
    assert error.code == code
    assert error.upstream is not None
    assert error.upstream.method == method


@pytest.mark.parametrize(
    ("message", "required"),
    [
        ("NOBALANCE 12.50", Decimal("12.50")),
        ("NOBALANCE: you need 7,5 USD", Decimal("7.5")),
        ("NOBALANCE", None),
        ("NOBALANCE 12.340000000000002", Decimal("12.34")),
        ("NOBALANCE 1,234.50", Decimal("1234.50")),
        ("NOBALANCE 1,234", None),
        ("NOBALANCE 42", Decimal(42)),
        ("Balance is not enough. Top up within 24 hours", None),
    ],
)
def test_what_is_needed_is_read_from_the_end_of_nobalance(message: str, required: Decimal | None) -> None:
    assert refusal("restore_user", message).required == required


def test_busy_says_when_to_come_again() -> None:
    assert refusal("orders", "TOO MANY REQUESTS").retry_after


KEY = "Abc123secretKEY+/="


@pytest.mark.parametrize(
    "message",
    [
        f"key {KEY} is wrong",
        "key Abc123secretKEY%2B%2F%3D is wrong",
        f"see rent.php?apikey={KEY}&method=x",
        f"KEY {KEY.upper()}",
    ],
)
def test_the_key_is_cleaned_out_of_an_unknown_message(message: str) -> None:
    error = refusal("create", message, secret=KEY)
    assert error.upstream is not None
    for text in (error.detail, error.upstream.message, str(error)):
        assert "secretkey" not in text.lower()


def test_what_looks_like_a_key_goes_too_and_endless_texts_end() -> None:
    error = refusal("create", "x" * 5000 + " 0123456789abcdef0123456789abcdef\x07")
    assert error.upstream is not None
    assert len(error.upstream.message) <= LONGEST_MESSAGE
    assert "0123456789abcdef" not in refusal("create", "bad 0123456789abcdef0123456789abcdef").detail
