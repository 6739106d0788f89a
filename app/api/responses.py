"""The error answers of each operation, as the OpenAPI document lists them."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, ClassVar

from fastapi.routing import APIRoute

from app.api.problems import MEDIA_TYPE, problem
from app.errors import (
    DatabaseUnavailable,
    FieldError,
    IdempotencyKeyInUse,
    InsufficientBalance,
    InsufficientScope,
    InternalError,
    InvalidRequest,
    MalformedRequest,
    NotFound,
    NotReady,
    OperationPending,
    PriceAboveMax,
    PriceUnknown,
    PurchaseNotMade,
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

SPENDING: tuple[type[RentgateError], ...] = (
    InsufficientBalance,
    SpendLimitExceeded,
    PriceAboveMax,
    PriceUnknown,
    PurchaseNotMade,
)
"""What every request that spends can meet."""

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

UPSTREAM: tuple[type[RentgateError], ...] = (
    UpstreamRefusedError,
    UpstreamBadResponse,
    UpstreamKeyRejected,
    UpstreamUnavailable,
    UpstreamBusy,
    UpstreamTimeout,
)
"""What every request that calls the upstream can meet."""


_ERRORS = "errors"


def problems(
    *errors: type[RentgateError], also: Mapping[int | str, dict[str, Any]] | None = None
) -> dict[int | str, dict[str, Any]]:
    """The errors of a route beside those that its class knows of by itself, and its other answers."""
    return {_ERRORS: {_ERRORS: errors}, **(also or {})}


class GatewayRoute(APIRoute):
    """A route that needs a token, and so can answer with any problem that such a request can meet."""

    common: ClassVar[Mapping[str, tuple[type[RentgateError], ...]]] = {}
    """What every request of a method can meet."""

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        *,
        responses: dict[int | str, dict[str, Any]] | None = None,
        methods: set[str] | list[str] | None = None,
        **options: Any,
    ) -> None:
        named = dict(responses or {})
        if Unauthenticated.status not in named:  # it is when a router takes the route over
            errors = [*AUTHENTICATED, *named.pop(_ERRORS, {_ERRORS: ()})[_ERRORS]]
            for method in methods or ():
                errors += self.common.get(method, ())
            if "body" in inspect.signature(endpoint).parameters:
                errors += WITH_BODY
            named |= answers(*errors)
        super().__init__(path, endpoint, responses=named, methods=methods, **options)


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
