"""Signatures, as the official library of Standard Webhooks verifies them."""

from __future__ import annotations

import base64
import secrets

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from app.webhooks.sender import signed


def new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def test_each_of_several_secrets_verifies_and_no_other_does() -> None:
    old, new, other = new_secret(), new_secret(), new_secret()
    body = '{"type":"sms.received","data":{"text":"Ваш код 12345 ✓"}}'
    headers = signed("evt-1", body, [new, old])
    for secret in (old, new):
        assert Webhook(secret).verify(body.encode(), headers)["type"] == "sms.received"
    with pytest.raises(WebhookVerificationError):
        Webhook(other).verify(body.encode(), headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new).verify(body.replace("1", "2").encode(), headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new).verify(body.encode(), {**headers, "webhook-id": "evt-2"})
