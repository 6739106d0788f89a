"""What is left on an account: the one call that goes to the provider's other host, with the key in a header.

`GET https://api.smspva.com/activation/balance` with the header `apikey: KEY` answers
`{"statusCode": 200, "data": {"balance": "10.5"}}`, the balance as text or as a number, and errors
`{"statusCode": …, "error": {"type", "description"}}` (the provider's own client and its API pages).
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from app.errors import (
    RentgateError,
    UpstreamBadResponse,
    UpstreamBusy,
    UpstreamKeyRejected,
    UpstreamRefusal,
    UpstreamRefusedError,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from app.upstream.client import Observe, ignore
from app.upstream.envelope import parsed
from app.upstream.errors import BUSY_SECONDS, CallFailed, Outcome, cleaned
from app.upstream.rows import one_row_of
from app.upstream.scalars import SIGNED_AMOUNT, Unreadable
from app.upstream.set_aside import Findings
from app.upstream.transport import AWAY_SECONDS, Transport

METHOD = "balance"
"""What the call is named beside the methods of rent.php, which has none for it."""


class BalanceClient:
    """Asks for balances through a transport to their URL."""

    def __init__(self, transport: Transport, *, observe: Observe = ignore, inspect: bool = False) -> None:
        """Ask through `transport`; `observe` and `inspect` are as those of an UpstreamClient."""
        self._transport = transport
        self._observe = observe
        self._inspect = inspect

    async def balance(self, api_key: str) -> Decimal:
        """What is left on the account, in US dollars with four decimals; below 0 if it owes.

        Raises:
            CallFailed: it could not be read.
        """
        body = await self._transport.get_with_headers(METHOD, {"apikey": api_key})
        findings = Findings(METHOD, inspect=self._inspect)
        try:
            return read_balance(body, api_key, findings)
        except RentgateError as error:
            failure = error
        finally:
            self._observe(findings)
        outcome = Outcome.UNKNOWN if isinstance(failure, UpstreamBadResponse) else Outcome.REFUSED
        raise CallFailed(outcome, failure, METHOD)

    async def reach(self) -> str:
        """Ask without a key: what the host says to that.

        Raises:
            RentgateError: the host can't be reached.
        """
        try:
            await self._transport.get_with_headers(METHOD, {})
        except CallFailed as failure:
            if failure.outcome is Outcome.NOT_SENT or isinstance(failure.error, UpstreamTimeout):
                raise failure.error from None
            return failure.error.detail
        return "It answers."


def read_balance(body: bytes, api_key: str | None = None, findings: Findings | None = None) -> Decimal:
    """The balance that an answer tells, rounded half up to four decimals.

    Args:
        api_key: what the call was made with, to be cleaned out of what is kept of a refusal.
        findings: take up what can't be read.

    Raises:
        UpstreamBadResponse: it is not the promised JSON, or tells no amount that the database holds.
        RentgateError: the answer is a refusal, by its own status.
    """
    found = findings or Findings(METHOD)
    try:
        answer = parsed(body)
        status, error = _status(answer.get("statusCode", 200)), answer.get("error")
        found.expect("statusCode", "200, or the status of an error", answer.get("statusCode"))
        if status == 200 and not error:
            return one_row_of(answer.get("data"), found).require("balance", SIGNED_AMOUNT)
    except Unreadable as unreadable:
        found.put_aside_answer()
        failure: RentgateError = UpstreamBadResponse(f"The upstream's answer can't be read: {unreadable}.")
    else:
        failure = _refusal(status, error, api_key)
    raise failure


def _status(value: Any) -> int:
    if isinstance(value, bool) or not re.fullmatch(r"[1-5][0-9]{2}", str(value)[:4]):
        raise Unreadable("statusCode is no status")
    return int(str(value))


def _refusal(status: int, error: Any, api_key: str | None) -> RentgateError:
    """The error that fits a status in an answer; the error's own words are kept, cleaned."""
    words = [error.get("type"), error.get("description")] if isinstance(error, dict) else [error]
    text = ": ".join(word for word in words if isinstance(word, str))
    said = UpstreamRefusal(METHOD, cleaned(text, api_key))
    if status in (401, 403):
        return UpstreamKeyRejected(upstream=said)
    if status == 429:
        return UpstreamBusy("The upstream limits its calls.", upstream=said, retry_after=BUSY_SECONDS)
    if status >= 500:
        detail = f"The upstream answered with status {status}."
        return UpstreamUnavailable(detail, upstream=said, retry_after=AWAY_SECONDS)
    return UpstreamRefusedError(f"The upstream refused: {said.message or 'without a reason'}", upstream=said)
