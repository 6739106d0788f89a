"""What can come of an upstream call that did not succeed, and the errors that its refusals become."""

from __future__ import annotations

from enum import StrEnum

from app.errors import (
    InsufficientBalance,
    RentgateError,
    UpstreamBusy,
    UpstreamRefusal,
    UpstreamRefusedError,
)
from app.telemetry.redaction import without_secrets
from app.upstream.meanings import LONGEST_READ, meaning
from app.upstream.needed_sum import needed_sum

LONGEST_MESSAGE = 300
BUSY_SECONDS = 5.0
"""After how long to come again when the upstream limits its calls: it wants 4 to 5 s between queries."""

LONGEST_ENCODED = 12
"""How many characters one character of a key may take in a text that encodes it."""


class Outcome(StrEnum):
    """What is certain of a call that did not succeed.

    not_sent: no byte of the request was written. refused: the upstream said so, in words that are known. Both
    charged nothing. unknown: everything else; the upstream may have done it, or may do it yet.
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


def refusal(method: str, message: str, *, secret: str | None = None) -> RentgateError:
    """The error that fits what the upstream said.

    Args:
        method: the upstream's method that was called; some messages mean different things by it.
        message: the upstream's text, as it came.
        secret: the key that the call was made with, to be cleaned out of what is kept of the message.
    """
    means = meaning(method, message)
    if means is UpstreamRefusedError:
        return unexplained(method, message, secret=secret)
    return means(
        upstream=UpstreamRefusal(method, cleaned(message, secret)),
        required=needed_sum(message) if means is InsufficientBalance else None,
        retry_after=BUSY_SECONDS if means is UpstreamBusy else None,
    )


def unexplained(method: str, message: str, *, secret: str | None = None) -> UpstreamRefusedError:
    """The error of a refusal whose meaning is not known, or not certain; arguments as for `refusal`."""
    said = UpstreamRefusal(method, cleaned(message, secret))
    return UpstreamRefusedError(f"The upstream refused: {said.message or 'without a reason'}", upstream=said)


def cleaned(message: str, secret: str | None = None) -> str:
    """A message of the upstream that can be shown: no secret, no control characters, not endless."""
    printable = "".join(char if char.isprintable() else " " for char in message[:LONGEST_READ])
    clean = without_secrets(printable, secret)
    if secret and len(message) > LONGEST_READ:  # the cut may have left the beginning of a key
        clean = clean[: -LONGEST_ENCODED * len(secret)]
    return " ".join(clean.split())[:LONGEST_MESSAGE]
