"""Every error that a caller can meet, as one tree.

    RentgateError
    ├── BadRequest            400  malformed_request
    ├── Unauthenticated       401
    ├── PaymentRequired       402  insufficient_balance, spend_limit_exceeded
    ├── Forbidden             403  insufficient_scope, tenant_suspended, order_not_owned
    ├── NotFound              404  not_found, rental_not_found, archived_order_not_found, country_unknown
    ├── MethodNotAllowed      405
    ├── Conflict              409  no_numbers_available, price_above_max, ... , upstream_account_differs
    ├── CursorExpired         410
    ├── RequestTooLarge       413
    ├── UnsupportedMediaType  415
    ├── Unprocessable         422  invalid_request, service_unknown, period_invalid, idempotency_key_reused
    ├── RateLimited           429
    ├── InternalError         500
    └── UpstreamFailure
        ├── BadGateway        502  upstream_error, upstream_bad_response, upstream_key_rejected, ...
        ├── Unavailable       503  upstream_unavailable, upstream_busy, database_unavailable, ...
        └── GatewayTimeout    504  upstream_timeout

A class is one code. Its docstring tells what happened and why; `remedy` tells the caller what to do. The
problem pages (`/problems/{code}`) and the OpenAPI document are made from these two, so they can't drift.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong field: where it stands (`body.period.count`, `query.limit`) and what is wrong with it."""

    location: str
    message: str


@dataclass(frozen=True, slots=True)
class UpstreamRefusal:
    """What the upstream said: the method that was called and its message, already cleaned of keys."""

    method: str
    message: str


class RentgateError(Exception):
    """The root of all errors with an answer for the caller."""

    code: ClassVar[str] = ""
    status: ClassVar[int] = 500
    title: ClassVar[str] = ""
    remedy: ClassVar[str] = ""

    def __init__(
        self,
        detail: str | None = None,
        *,
        fields: tuple[FieldError, ...] = (),
        upstream: UpstreamRefusal | None = None,
        required: Decimal | None = None,
        retry_after: float | None = None,
        operation_id: str | None = None,
    ) -> None:
        """Describe one occurrence.

        Args:
            detail: a sentence for the caller about this very occurrence; the class's own if left out.
            fields: the wrong fields, on validation errors.
            upstream: what the upstream said, when it refused.
            required: US dollars that would have been needed, where known.
            retry_after: seconds after which a retry makes sense; None when it doesn't.
            operation_id: the operation that tells the rest of the story.
        """
        self.detail = detail or explain(type(self))
        self.fields = fields
        self.upstream = upstream
        self.required = required
        self.retry_after = retry_after
        self.operation_id = operation_id
        super().__init__(self.detail)


def explain(error: type[RentgateError]) -> str:
    """The class's own account of what happened, as one paragraph."""
    return " ".join((error.__doc__ or error.title).split())


def catalogue() -> dict[str, type[RentgateError]]:
    """All errors by code: whatever class of the tree has a code of its own."""

    def walk(error: type[RentgateError]) -> Iterator[type[RentgateError]]:
        yield error
        for child in error.__subclasses__():
            yield from walk(child)

    return {error.code: error for error in walk(RentgateError) if error.code}


# ── 4xx: the caller can mend it ───────────────────────────────────────────────────────────────────────────


class BadRequest(RentgateError):
    status = 400


class MalformedRequest(BadRequest):
    """The request could not be read: the body is not valid JSON, or the request itself is broken."""

    code, title = "malformed_request", "The request can't be read"
    remedy = "Send UTF-8 JSON with the header Content-Type: application/json."


class Unauthenticated(RentgateError):
    """The request carries no token that is valid now: none, an unknown, an expired or a revoked one."""

    code, status, title = "unauthenticated", 401, "No valid token"
    remedy = "Send the header Authorization: Bearer <token> with a key that is neither expired nor revoked."


class PaymentRequired(RentgateError):
    status = 402


class InsufficientBalance(PaymentRequired):
    """The upstream account has too little money for this call. Nothing was bought."""

    code, title = "insufficient_balance", "The upstream account's balance is too low"
    remedy = "Top up the account at the upstream, then send the request again."


class SpendLimitExceeded(PaymentRequired):
    """The price would take the tenant over its own spend limit for this calendar month (UTC)."""

    code, title = "spend_limit_exceeded", "The tenant's spend limit would be exceeded"
    remedy = "Wait for the next month, or have an administrator raise the tenant's spend_limit."


class Forbidden(RentgateError):
    status = 403


class InsufficientScope(Forbidden):
    """The key is valid, but lacks the scope that this request needs."""

    code, title = "insufficient_scope", "The key lacks a scope"
    remedy = "Use a key with the scope that the detail names, or have one made."


class TenantSuspended(Forbidden):
    """The tenant is suspended; none of its keys is accepted until it is active again."""

    code, title = "tenant_suspended", "The tenant is suspended"
    remedy = "Ask the platform's administrator to make the tenant active again."


class OrderNotOwned(Forbidden):
    """The upstream says that this order does not belong to the account."""

    code, title = "order_not_owned", "The order is not this account's"
    remedy = "Check with which upstream key the number was rented."


class NotFound(RentgateError):
    """There is nothing at this address, or nothing that this caller may know of."""

    code, status, title = "not_found", 404, "Not found"
    remedy = "Check the path and the ids in it."


class RentalNotFound(NotFound):
    """There is no such rental, or it belongs to another tenant."""

    code, title = "rental_not_found", "No such rental"
    remedy = "Check the id; GET /rentals lists the rentals there are."


class ArchivedOrderNotFound(NotFound):
    """The upstream's archive does not hold the order; it may not have expired yet."""

    code, title = "archived_order_not_found", "The order is not in the upstream's archive"
    remedy = "Restore a rental only after its end; an order needs a while to reach the archive."


class CountryUnknown(NotFound):
    """The upstream rents no numbers of this country."""

    code, title = "country_unknown", "Unknown country"
    remedy = "Take a code from GET /countries."


class MethodNotAllowed(RentgateError):
    """The path exists, but not with this method."""

    code, status, title = "method_not_allowed", 405, "Method not allowed"
    remedy = "Use a method from the Allow header."


class Conflict(RentgateError):
    status = 409


class NoNumbersAvailable(Conflict):
    """The upstream has no number left for this country, service and period. Nothing was bought."""

    code, title = "no_numbers_available", "No numbers available"
    remedy = "Try again later, or choose another country, service or operator from the offers."


class PriceAboveMax(Conflict):
    """The price is higher than the request's max_price. Nothing was bought."""

    code, title = "price_above_max", "The price is above max_price"
    remedy = "Raise max_price to what `required` says, or choose another offer."


class PriceUnknown(Conflict):
    """A price limit applies, but no price could be had to check it. Nothing was bought."""

    code, title = "price_unknown", "The price can't be known"
    remedy = "Try again when offers can be read, or send the request without max_price."


class RentalNotActive(Conflict):
    """The rental is not active, so this can't be done with it."""

    code, title = "rental_not_active", "The rental is not active"
    remedy = "Read the rental's status; an expired one may be restored."


class RentalNotExpired(Conflict):
    """The rental has not expired, so there is nothing to restore."""

    code, title = "rental_not_expired", "The rental has not expired"
    remedy = "Wait for its end, or prolong it."


class RestoreNotAvailable(Conflict):
    """The upstream has too few working days left for this number to restore it automatically."""

    code, title = "restore_not_available", "The rental can't be restored"
    remedy = "Rent another number."


class RestoreNeedsSupport(Conflict):
    """Data that restoring needs is missing at the provider; only its live chat can help."""

    code, title = "restore_needs_support", "Restoring needs the provider's support"
    remedy = "Ask the provider's live chat, with upstream_order_id and phone number of the rental."


class ProlongTooEarly(Conflict):
    """The upstream prolongs a rental only in its last days."""

    code, title = "prolong_too_early", "Too early to prolong"
    remedy = "Try again in the last 7 days before the end."


class ProlongLimitReached(Conflict):
    """The rental can't be prolonged any further."""

    code, title = "prolong_limit_reached", "The rental can't be prolonged further"
    remedy = "Rent another number, or restore this one after its end."


class OperationPending(Conflict):
    """Another operation on this rental is still open; two at a time could contradict each other."""

    code, title = "operation_pending", "Another operation is still open"
    remedy = "Wait until the rental's pending_operation is settled, then send the request again."


class IdempotencyKeyInUse(Conflict):
    """The first request with this Idempotency-Key is still running."""

    code, title = "idempotency_key_in_use", "The first request is still running"
    remedy = "Wait as long as Retry-After says, then send the same request again."


class NoUpstreamKey(Conflict):
    """The tenant has no upstream key to rent with, or not the one that was named."""

    code, title = "no_upstream_key", "No upstream key"
    remedy = "Add one with POST /tenants/{id}/upstream-keys, or make one of them the default."


class UpstreamKeyInUse(Conflict):
    """This upstream account is in use already; one account serves one tenant, once."""

    code, title = "upstream_key_in_use", "The upstream account is in use already"
    remedy = "Use another upstream account, or delete the key where it is in use first."


class UpstreamKeyHasRentals(Conflict):
    """Living rentals hang on this upstream key; without it they could be neither read nor prolonged."""

    code, title = "upstream_key_has_rentals", "The upstream key has living rentals"
    remedy = "Wait for the rentals to end, or repeat with ?force=true to give them up."


class UpstreamAccountDiffers(Conflict):
    """The new secret belongs to another upstream account, so the rentals would be lost from sight."""

    code, title = "upstream_account_differs", "The secret is another account's"
    remedy = "Check the secret; add another account as an upstream key of its own, or use force."


class CursorExpired(RentgateError):
    """The cursor points to before what is still kept."""

    code, status, title = "cursor_expired", 410, "The cursor has expired"
    remedy = "Start again without a cursor."


class RequestTooLarge(RentgateError):
    """The request's body is larger than 64 KiB."""

    code, status, title = "request_too_large", 413, "The request is too large"
    remedy = "Send a smaller body."


class UnsupportedMediaType(RentgateError):
    """The body is of a type that is not understood here."""

    code, status, title = "unsupported_media_type", 415, "Unsupported media type"
    remedy = "Send JSON with the header Content-Type: application/json."


class Unprocessable(RentgateError):
    status = 422


class InvalidRequest(Unprocessable):
    """The request is well-formed, but some of its fields are wrong; `errors` names each of them."""

    code, title = "invalid_request", "Some fields are wrong"
    remedy = "Mend the fields named in `errors`."


class ServiceUnknown(Unprocessable):
    """The country has no such service."""

    code, title = "service_unknown", "Unknown service"
    remedy = "Take a service from GET /countries/{country}/services."


class PeriodInvalid(Unprocessable):
    """Numbers are rented for 7 to 90 days."""

    code, title = "period_invalid", "The period is not possible"
    remedy = "Choose 1 to 12 weeks or 1 to 3 months."


class IdempotencyKeyReused(Unprocessable):
    """This Idempotency-Key was used before with another request."""

    code, title = "idempotency_key_reused", "The Idempotency-Key belongs to another request"
    remedy = "Use a new Idempotency-Key for each different request."


class RateLimited(RentgateError):
    """Too many requests: beyond the key's or the tenant's limit, or with wrong tokens from this address."""

    code, status, title = "rate_limited", 429, "Too many requests"
    remedy = "Wait as long as Retry-After says."


# ── 5xx: somebody else has to mend it ─────────────────────────────────────────────────────────────────────


class InternalError(RentgateError):
    """Something went wrong inside the gateway. What had been committed stays true."""

    code, status, title = "internal_error", 500, "Internal error"
    remedy = "Try again; with an Idempotency-Key that is safe. Report the request_id if it stays."


class UpstreamFailure(RentgateError):
    """The root of what the upstream, or the way to it, did not do."""


class BadGateway(UpstreamFailure):
    status = 502


class UpstreamRefusedError(BadGateway):
    """The upstream refused with a message that has no code of its own; `upstream.message` holds it."""

    code, title = "upstream_error", "The upstream refused"
    remedy = "Read upstream.message; nothing was charged for this call."


class UpstreamBadResponse(BadGateway):
    """The upstream answered with something other than the JSON it promises."""

    code, title = "upstream_bad_response", "The upstream's answer can't be read"
    remedy = "Try again later; if it stays, the upstream has changed or is broken."


class UpstreamKeyRejected(BadGateway):
    """The upstream does not accept the account's key."""

    code, title = "upstream_key_rejected", "The upstream key is rejected"
    remedy = "Store a valid key for the account (tenants/{id}/upstream-keys)."


class PurchaseNotMade(BadGateway):
    """The outcome was open at first; it is certain now that nothing was bought or changed."""

    code, title = "purchase_not_made", "The purchase was not made"
    remedy = "Send the request again, with a new Idempotency-Key."


class Unavailable(UpstreamFailure):
    status = 503


class UpstreamUnavailable(Unavailable):
    """The upstream can't be reached or is broken: no connection, a 5xx, or a proxy's page."""

    code, title = "upstream_unavailable", "The upstream is unavailable"
    remedy = "Try again after Retry-After; nothing was spent."


class UpstreamBusy(Unavailable):
    """The upstream limits its calls, the pace has no room in time, or no worker answers a refresh."""

    code, title = "upstream_busy", "The upstream has no room for this call"
    remedy = "Try again after Retry-After; nothing was spent."


class DatabaseUnavailable(Unavailable):
    """The gateway's database can't be reached."""

    code, title = "database_unavailable", "The database is unavailable"
    remedy = "Try again after Retry-After; with an Idempotency-Key that is safe."


class VaultUnavailable(Unavailable):
    """What keeps the vault's key, or the secret that an upstream key refers to, can't be reached or gives
    none, so that the upstream key can't be opened.
    """

    code, title = "vault_unavailable", "The vault's key service is unavailable"
    remedy = "Try again after Retry-After; nothing was spent."


class NotReady(Unavailable):
    """This process runs, but can't do its work yet; the detail names what is missing."""

    code, title = "not_ready", "Not ready"
    remedy = "Do what the detail says; `rentgate doctor` checks everything at once."


class GatewayTimeout(UpstreamFailure):
    status = 504


class UpstreamTimeout(GatewayTimeout):
    """The upstream did not answer in time. This call spends nothing."""

    code, title = "upstream_timeout", "The upstream did not answer in time"
    remedy = "Try again."
