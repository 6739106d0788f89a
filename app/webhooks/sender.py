"""Sends one webhook: signed by Standard Webhooks, to the address that was checked, without redirects."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import httpx
import structlog
from standardwebhooks import Webhook as Signer

from app import __version__
from app.telemetry import traces
from app.values import ENDED_AT_ONCE, retry_after_seconds, utc_now
from app.webhooks import targets
from app.webhooks.targets import TargetRefused

TIMEOUT_SECONDS = 15.0
LARGEST_ANSWER = 64 * 1024
SHOWN_CHARACTERS = 500

log = structlog.get_logger(__name__)

_UNPRINTABLE = re.compile(r"[^\x20-\x7e\n\t\u00a0-\ud7ff\ue000-\ufffd]")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an attempt. Without a status there was no answer, and `error` tells why.

    Attributes:
        start: the first characters of the answer's body.
        retry_after: seconds that the endpoint asked for.
    """

    seconds: float
    status: int | None = None
    start: str | None = None
    error: str | None = None
    retry_after: float | None = None

    @property
    def taken(self) -> bool:
        """Whether the endpoint has the event."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def unwanted(self) -> bool:
        """Whether the endpoint says that it wants no more of them, ever."""
        return self.status == httpx.codes.GONE


class Sender:
    """Makes the POSTs; one client a process."""

    def __init__(self, *, allow_private: bool) -> None:
        """Send to the public internet only, unless private addresses and http are allowed."""
        self._allow_private = allow_private
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(TIMEOUT_SECONDS),
            # A connection is one host's, whose certificate was checked; the pool knows only addresses.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            follow_redirects=False,
            trust_env=False,
            verify=ssl.create_default_context(),
        )

    async def send(self, url: str, event_id: str, body: str, secrets: Sequence[str]) -> Answer:
        """Deliver a body once, signed with each of the secrets (`whsec_…`); never raises."""
        started = time.monotonic()
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return await self._exchange(url, signed(event_id, body, secrets), body, started)
        except TargetRefused as error:
            told = str(error)
        except (TimeoutError, httpx.TimeoutException):
            told = f"There was no answer within {TIMEOUT_SECONDS:.0f} seconds."
        except httpx.ConnectError as error:
            told = "The certificate was not accepted." if _is_tls(error) else "No connection could be made."
        except (httpx.HTTPError, *ENDED_AT_ONCE) as error:
            if isinstance(error, ENDED_AT_ONCE):  # which could be a mistake of ours as well
                log.warning("webhook.connection_failed_oddly", error=type(error).__name__)
            told = "The connection broke."
        except (OSError, UnicodeError, httpx.InvalidURL):
            told = "The host's name could not be resolved."
        except Exception:
            log.exception("webhook.answer_not_understood")
            told = "The answer was not understood."
        return Answer(time.monotonic() - started, error=told)

    async def _exchange(self, url: str, headers: dict[str, str], body: str, started: float) -> Answer:
        target = targets.parse(url, allow_private=self._allow_private)
        address = await targets.resolve(target, allow_private=self._allow_private)
        parts = urlsplit(url)
        pinned = f"[{address}]" if address.version == 6 else str(address)
        async with self._client.stream(
            "POST",
            urlunsplit((parts.scheme, f"{pinned}:{target.port}", parts.path or "/", parts.query, "")),
            content=body.encode(),
            headers={**headers, "Host": parts.netloc},
            extensions={"sni_hostname": target.host},  # the certificate has to be the name's
        ) as response:
            begun = await _start_of(response)
        return Answer(
            time.monotonic() - started,
            response.status_code,
            _UNPRINTABLE.sub("�", begun.decode("utf-8", "replace"))[:SHOWN_CHARACTERS],
            retry_after=retry_after_seconds(response.headers.get("Retry-After"), utc_now())
            if not response.is_success
            else None,
        )

    async def aclose(self) -> None:
        """Close what is open."""
        await self._client.aclose()


def signed(event_id: str, body: str, secrets: Sequence[str]) -> dict[str, str]:
    """The headers of a delivery, by https://www.standardwebhooks.com: one signature for each secret."""
    now = utc_now()
    return {
        "Content-Type": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": f"rentgate/{__version__}",
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(Signer(secret).sign(event_id, now, body) for secret in secrets),
        **traces.headers(),
    }


async def _start_of(response: httpx.Response) -> bytes:
    """The beginning of an answer's body, as it came; the rest is not read. The status is what counts: a body
    that breaks off is as long as it is.
    """
    body = bytearray()
    with contextlib.suppress(httpx.HTTPError):
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) >= LARGEST_ANSWER:
                break
    return bytes(body[:LARGEST_ANSWER])


def _is_tls(error: httpx.ConnectError) -> bool:
    return "CERTIFICATE" in str(error).upper() or "SSL" in str(error).upper()
