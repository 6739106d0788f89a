"""What can come of an upstream call that did not succeed, and the one place that reads its refusals."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum

from app.errors import (
    ArchivedOrderNotFound,
    CountryUnknown,
    InsufficientBalance,
    NoNumbersAvailable,
    OrderNotOwned,
    PeriodInvalid,
    ProlongLimitReached,
    ProlongTooEarly,
    RentalNotActive,
    RentalNotExpired,
    RentgateError,
    RestoreNeedsSupport,
    RestoreNotAvailable,
    ServiceUnknown,
    UpstreamBusy,
    UpstreamKeyRejected,
    UpstreamRefusal,
    UpstreamRefusedError,
)
from app.telemetry.redaction import without_secrets

LONGEST_MESSAGE = 300
BUSY_SECONDS = 5.0
"""After how long to come again when the upstream limits its calls: it wants 4 to 5 s between queries."""


class Outcome(StrEnum):
    """What is certain of a call that did not succeed.

    not_sent: no byte of the request was written. refused: the upstream said so, readably. Both charged
    nothing. unknown: everything else; the upstream may have done it, or may do it yet.
    """

    NOT_SENT = "not_sent"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class CallFailed(Exception):
    """A call that did not succeed: what is certain of it, and the error that fits it."""

    def __init__(self, outcome: Outcome, error: RentgateError, method: str) -> None:
        self.outcome = outcome
        self.error = error
        self.method = method
        super().__init__(f"{method}: {outcome.value} ({error.code})")


RESTORING = frozenset({"restore_user", "restore_user_precalc"})

_MEANINGS: tuple[tuple[str, type[RentgateError]], ...] = (
    ("noavaildays", RestoreNotAvailable),
    ("notowner", OrderNotOwned),
    ("the user had not this order", OrderNotOwned),
    ("noremotedata", ArchivedOrderNotFound),
    ("noordercountry", RestoreNeedsSupport),
    ("noservicedata", RestoreNeedsSupport),
    ("datediffinvert", RentalNotExpired),
    ("nobalance", InsufficientBalance),
    ("balance is not enough", InsufficientBalance),
    ("insufficient balance", InsufficientBalance),
    ("no numbers available", NoNumbersAvailable),
    ("out of stock", NoNumbersAvailable),
    ("invalid apikey", UpstreamKeyRejected),
    ("incorrect apikey", UpstreamKeyRejected),
    ("incorrect country", CountryUnknown),
    ("incorrect duration count", PeriodInvalid),
    ("incorrect dtype or dcount", PeriodInvalid),
    ("you can prolong number only if before expiring date left less", ProlongTooEarly),
    ("too many requests", UpstreamBusy),
)
"""How a message begins, in lower case and single spaces, and what it means. The upstream's page documents
those of restoring; the others were seen in the wild."""

PROLONGING = frozenset({"prolong", "prolong_max"})

_ORDER_UNKNOWN = ("order not found", "incorrect order")

_AMOUNT = re.compile(r"(?<![\d.,])(\d{1,9}|\d{1,3}(?:,\d{3}){1,2})(?:[.,](\d{1,20}))?\D{0,12}$")
"""A sum at the end, perhaps with commas between thousands."""


def refusal(method: str, message: str, *, secret: str | None = None) -> RentgateError:
    """The error that fits what the upstream said.

    Args:
        method: the upstream's method that was called; some messages mean different things by it.
        message: the upstream's `msg`, as it came.
        secret: the key that the call was made with, to be cleaned out of what is kept of the message.
    """
    said = UpstreamRefusal(method, cleaned(message, secret))
    meaning = _meaning(method, " ".join(re.findall(r"\w+", message.casefold())))
    if meaning is UpstreamRefusedError:
        return UpstreamRefusedError(
            f"The upstream refused: {said.message or 'without a reason'}", upstream=said
        )
    required = _required(message) if message.strip().casefold().startswith("nobalance") else None
    retry_after = BUSY_SECONDS if meaning is UpstreamBusy else None
    return meaning(upstream=said, required=required, retry_after=retry_after)


def cleaned(message: str, secret: str | None = None) -> str:
    """A message of the upstream that can be shown: no secret, no control characters, not endless."""
    printable = "".join(char if char.isprintable() else " " for char in message)
    return " ".join(without_secrets(printable, secret).split())[:LONGEST_MESSAGE]


def _meaning(method: str, normalised: str) -> type[RentgateError]:
    if normalised.startswith("service not found"):
        return RestoreNeedsSupport if method in RESTORING else ServiceUnknown
    if normalised.startswith(_ORDER_UNKNOWN):
        return ArchivedOrderNotFound if method in RESTORING else RentalNotActive
    for beginning, meaning in _MEANINGS:
        if normalised.startswith(beginning):
            return meaning
    # No text for it was ever seen, but the lists carry such limits (`canprolongmax`, `canprolonguntil`).
    if method in PROLONGING and not {"limit", "maximum", "max"}.isdisjoint(normalised.split()):
        return ProlongLimitReached
    return UpstreamRefusedError


def _required(message: str) -> Decimal | None:
    """The sum that NOBALANCE ends with: what is needed today. What can't be told apart is not told."""
    found = _AMOUNT.search(message.strip())
    if found is None:
        return None
    whole, part = found.groups()
    if part is not None and len(part) == 3 and "," not in whole and found[0].startswith(f"{whole},"):
        return None  # of "1,234" nobody knows what the comma is for
    written = Decimal(f"{whole.replace(',', '')}.{part or 0}")
    return written.quantize(Decimal("0.0001"), ROUND_HALF_UP)
