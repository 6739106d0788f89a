"""The error answers of each operation, as the OpenAPI document lists them."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from app.api.problems import MEDIA_TYPE
from app.errors import (
    BadRequest,
    DatabaseUnavailable,
    InsufficientScope,
    InvalidRequest,
    MalformedRequest,
    RateLimited,
    RentgateError,
    RequestTooLarge,
    TenantSuspended,
    Unauthenticated,
    UnsupportedMediaType,
    UpstreamBadResponse,
    UpstreamBusy,
    UpstreamKeyRejected,
    UpstreamRefusedError,
    UpstreamTimeout,
    UpstreamUnavailable,
)

PROBLEM = {"$ref": "#/components/schemas/Problem"}

AUTHENTICATED: tuple[type[RentgateError], ...] = (
    Unauthenticated,
    InsufficientScope,
    TenantSuspended,
    InvalidRequest,
    RateLimited,
    DatabaseUnavailable,
)
"""What every request with a token can meet."""

WITH_BODY: tuple[type[RentgateError], ...] = (MalformedRequest, RequestTooLarge, UnsupportedMediaType)

UPSTREAM: tuple[type[RentgateError], ...] = (
    UpstreamRefusedError,
    UpstreamBadResponse,
    UpstreamKeyRejected,
    UpstreamUnavailable,
    UpstreamBusy,
    UpstreamTimeout,
)
"""What every request that calls the upstream can meet."""


def problems(*errors: type[RentgateError]) -> dict[int | str, dict[str, Any]]:
    """The answers for these errors, and those that every request with a token can meet, by status."""
    by_status: dict[int, dict[str, type[RentgateError]]] = defaultdict(dict)
    for error in (*AUTHENTICATED, *errors):
        if error is not BadRequest:
            by_status[error.status][error.code] = error
    return {
        status: {
            "description": " · ".join(f"`{code}`: {error.title}" for code, error in sorted(found.items())),
            "content": {MEDIA_TYPE: {"schema": PROBLEM}},
        }
        for status, found in sorted(by_status.items())
    }
