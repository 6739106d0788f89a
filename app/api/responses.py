"""The error answers of each operation, as the OpenAPI document lists them."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import Any

from app.api.problems import MEDIA_TYPE, problem
from app.errors import (
    DatabaseUnavailable,
    FieldError,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    InsufficientBalance,
    InsufficientScope,
    InternalError,
    InvalidRequest,
    MalformedRequest,
    NotFound,
    NotReady,
    OperationPending,
    PriceAboveMax,
    RateLimited,
    RentgateError,
    RequestTooLarge,
    SpendLimitExceeded,
    TenantSuspended,
    Unauthenticated,
    UnsupportedMediaType,
    UpstreamBadResponse,
    UpstreamBusy,
    UpstreamKeyRejected,
    UpstreamRefusal,
    UpstreamRefusedError,
    UpstreamTimeout,
    UpstreamUnavailable,
    VaultUnavailable,
)

PROBLEM = {"$ref": "#/components/schemas/Problem"}

PRICED = frozenset({InsufficientBalance, SpendLimitExceeded, PriceAboveMax})
"""Errors that tell how much is needed."""

PASSING = frozenset(
    {
        RateLimited,
        DatabaseUnavailable,
        VaultUnavailable,
        UpstreamBusy,
        UpstreamUnavailable,
        OperationPending,
        IdempotencyKeyInUse,
    }
)
"""Errors that tell when a retry makes sense."""

AUTHENTICATED: tuple[type[RentgateError], ...] = (
    Unauthenticated,
    InsufficientScope,
    TenantSuspended,
    NotFound,
    InvalidRequest,
    RateLimited,
    DatabaseUnavailable,
    VaultUnavailable,
    NotReady,
    InternalError,
)
"""What every request with a token can meet."""

WITH_BODY: tuple[type[RentgateError], ...] = (MalformedRequest, RequestTooLarge, UnsupportedMediaType)

IDEMPOTENT: tuple[type[RentgateError], ...] = (IdempotencyKeyInUse, IdempotencyKeyReused)
"""What every POST and DELETE can meet."""

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
    return answers(*AUTHENTICATED, *errors)


def answers(*errors: type[RentgateError]) -> dict[int | str, dict[str, Any]]:
    """The answers for these errors, by status, with an example of each code."""
    by_status: dict[int, dict[str, type[RentgateError]]] = defaultdict(dict)
    for error in errors:
        by_status[error.status][error.code] = error
    return {
        status: {
            "description": " · ".join(f"`{code}`: {error.title}" for code, error in sorted(found.items())),
            "content": {
                MEDIA_TYPE: {
                    "schema": PROBLEM,
                    "examples": {
                        code: {"summary": error.title, "value": _example(error)}
                        for code, error in sorted(found.items())
                    },
                }
            },
        }
        for status, found in sorted(by_status.items())
    }


def _example(error: type[RentgateError]) -> dict[str, Any]:
    raised = error(
        fields=(FieldError("body.period.count", "Input should be a valid integer"),)
        if error is InvalidRequest
        else (),
        upstream=UpstreamRefusal("create", "Something went wrong") if error is UpstreamRefusedError else None,
        required=Decimal("11.55") if error in PRICED else None,
        retry_after=5 if error in PASSING else None,
    )
    shown = problem(raised, instance="/rentals", request_id="checkout-4711")
    return shown.model_dump(mode="json", exclude_none=True)
