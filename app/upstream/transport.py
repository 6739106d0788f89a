"""The one seam to the network: a GET that is sent at most once, and tells whether it was sent at all.

The account's key stands in the URL or in a header, so nothing of the HTTP library leaves this module: not its
exceptions (they hold the request), not its loggers (they write the URL).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

import httpx
import structlog

from app.errors import RentgateError, UpstreamBadResponse, UpstreamBusy, UpstreamTimeout, UpstreamUnavailable
from app.upstream.compression import Body, Refused
from app.upstream.errors import BUSY_SECONDS, CallFailed, Outcome
from app.values import ENDED_AT_ONCE, retry_after_seconds, utc_now

LONGEST_CONNECT = 5.0
LARGEST_ANSWER = 2 * 1024 * 1024
AWAY_SECONDS = 5.0

SHORTEST_RETRY_AFTER, LONGEST_RETRY_AFTER = 1.0, 300.0
"""Between which seconds an HTTP 429's `Retry-After` is honoured: an account is never lost from sight."""

log = structlog.get_logger(__name__)

for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)  # at INFO and DEBUG they log URLs


class _TooLate(Exception):
    """The moment past which nothing may be written has passed."""


class _Sending:
    """Watches one request on its way out: whether a byte of it was written, and that none is too late."""

    def __init__(self, send_by: float | None) -> None:
        self._send_by = send_by
        self.began = False

    async def __call__(self, event: str, _info: Mapping[str, Any]) -> None:
        """httpcore's trace hook; this event comes right before the first byte."""
        if event.endswith("send_request_headers.started"):
            if self._send_by is not None and time.monotonic() > self._send_by:
                raise _TooLate
            self.began = True


class Transport:
    """Makes the upstream's GETs: no retries, no redirects, no proxy, a fresh connection for each."""

    def __init__(self, url: str, timeout: float) -> None:
        """Speak to `url`; `timeout` bounds a whole call, in seconds."""
        self._url = url
        self._timeout = timeout
        connect = min(LONGEST_CONNECT, timeout)
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(timeout, connect=connect, pool=connect),
            limits=httpx.Limits(max_connections=200, max_keepalive_connections=0),
            follow_redirects=False,
            trust_env=False,
            headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "rentgate"},
        )

    async def get(self, method: str, parameters: Mapping[str, str], *, send_by: float | None = None) -> bytes:
        """The body that the upstream answered a call with.

        Args:
            method: the upstream's method.
            parameters: the others, the account's key among them.
            send_by: reading of `time.monotonic()` past which nothing may be written any more.

        Raises:
            CallFailed: not_sent or unknown; never refused, which only the body can tell.
        """
        return await self._call(method, _Sending(send_by), parameters={"method": method, **parameters})

    async def get_with_headers(self, name: str, headers: Mapping[str, str]) -> bytes:
        """The body that the URL itself answers with, asked with these headers, the account's key among them.

        Args:
            name: what the call is known by.

        Raises:
            CallFailed: as `get`.
        """
        return await self._call(name, _Sending(None), headers=headers)

    async def _call(
        self,
        method: str,
        sending: _Sending,
        *,
        parameters: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._exchange(parameters, headers, sending)
        except RentgateError as error:
            failure = error
        except _TooLate:
            failure = UpstreamBusy("The call's turn had passed before it could be sent.", retry_after=1)
        except (TimeoutError, httpx.TimeoutException):
            failure = (
                UpstreamTimeout()
                if sending.began
                else UpstreamUnavailable(
                    "The upstream could not be reached in time.", retry_after=AWAY_SECONDS
                )
            )
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError, *ENDED_AT_ONCE) as error:
            if isinstance(error, ENDED_AT_ONCE):  # which could be a mistake of ours as well
                log.warning("upstream.connection_failed_oddly", method=method, error=type(error).__name__)
            failure = UpstreamUnavailable(
                "The connection to the upstream broke."
                if sending.began
                else "No connection to the upstream could be made.",
                retry_after=AWAY_SECONDS,
            )
        # Raised out here, so that the new exception has no tie to one that knows the URL.
        raise CallFailed(Outcome.UNKNOWN if sending.began else Outcome.NOT_SENT, failure, method)

    async def _exchange(
        self, parameters: Mapping[str, str] | None, headers: Mapping[str, str] | None, sending: _Sending
    ) -> bytes:
        async with self._client.stream(
            "GET", self._url, params=parameters, headers=headers, extensions={"trace": sending}
        ) as response:
            if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
                raise UpstreamBusy("The upstream limits its calls.", retry_after=_wanted_pause(response))
            if response.status_code != httpx.codes.OK:
                raise UpstreamUnavailable(
                    f"The upstream answered with HTTP status {response.status_code}.",
                    retry_after=AWAY_SECONDS,
                )
            try:
                body = Body(response.headers.get("Content-Encoding", ""), LARGEST_ANSWER)
                async for chunk in response.aiter_raw():
                    body.take(chunk)
                return body.whole()
            except Refused as refused:
                raise UpstreamBadResponse(f"The upstream's answer is {refused}.") from None

    async def aclose(self) -> None:
        """Close what is open."""
        await self._client.aclose()


def _wanted_pause(response: httpx.Response) -> float:
    """For how many seconds the upstream wants no further call."""
    asked = retry_after_seconds(response.headers.get("Retry-After"), utc_now())
    if asked is None:
        return BUSY_SECONDS
    return min(max(asked, SHORTEST_RETRY_AFTER), LONGEST_RETRY_AFTER)
